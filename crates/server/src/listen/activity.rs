//! The activity of a connection, so that idle ones can be ended.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::client_body::UnreadBody;
use super::connection::Timeouts;

/// The requests of a connection, and when one of them last made progress.
///
/// Relaxed everywhere: a connection is served by one thread; others only end requests.
pub(super) struct Activity {
    /// Requests that are being answered, up to the last byte of their answers.
    requests: AtomicUsize,
    /// Answers of which a part waits for the client to make room.
    answers: AtomicUsize,
    /// Bodies of requests that have not arrived, and that somebody still wants.
    bodies: AtomicUsize,
    /// What nobody has read of the body of the request that is being answered, over HTTP/1.
    has_unread: AtomicBool,
    unread: Mutex<Option<UnreadBody>>,
    is_http2: AtomicBool,
    opened: Instant,
    /// When a request came or ended, or a part of an answer was taken, in milliseconds after
    /// `opened`.
    last_ms: AtomicU64,
}

/// Why a connection is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inactive {
    /// No request has come for a long time.
    Idle,
    /// Answers wait, and the client takes nothing of them.
    Stalled,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            requests: AtomicUsize::new(0),
            answers: AtomicUsize::new(0),
            bodies: AtomicUsize::new(0),
            has_unread: AtomicBool::new(false),
            unread: Mutex::new(None),
            is_http2: AtomicBool::new(false),
            opened: Instant::now(),
            last_ms: AtomicU64::new(0),
        }
    }

    /// Notes which version of HTTP the client speaks.
    pub(super) fn begin(&self, is_http2: bool) {
        self.is_http2.store(is_http2, Ordering::Relaxed);
    }

    pub(super) fn has_requests(&self) -> bool {
        self.requests.load(Ordering::Relaxed) > 0
    }

    pub(super) fn is_receiving(&self) -> bool {
        self.bodies.load(Ordering::Relaxed) > 0
    }

    pub(super) fn body_begins(&self) {
        self.bodies.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn body_ends(&self) {
        self.bodies.fetch_sub(1, Ordering::Relaxed);
    }

    /// Keeps what was not read of a body until its request is answered. Streams of HTTP/2 end one by
    /// one: there it does not matter.
    pub(super) fn set_unread(&self, unread: UnreadBody) {
        if !self.is_http2.load(Ordering::Relaxed) {
            *self.unread.lock() = Some(unread);
            self.has_unread.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn take_unread(&self) -> Option<UnreadBody> {
        if !self.has_unread.load(Ordering::Relaxed) {
            return None;
        }
        self.has_unread.store(false, Ordering::Relaxed);
        self.unread.lock().take()
    }

    fn touch(&self) {
        let elapsed = self.opened.elapsed().as_millis();
        let elapsed = u64::try_from(elapsed).unwrap_or(u64::MAX);
        self.last_ms.store(elapsed, Ordering::Relaxed);
    }

    /// Waits until a connection of HTTP/2 is to be ended. hyper itself ends those of HTTP/1, which
    /// set no timer here.
    pub(super) async fn inactive_http2(&self, timeouts: Timeouts) -> Inactive {
        let mut inactive = pin!(self.inactive(timeouts));
        poll_fn(|context| {
            if self.is_http2.load(Ordering::Relaxed) {
                inactive.as_mut().poll(context)
            } else {
                Poll::Pending
            }
        })
        .await
    }

    async fn inactive(&self, timeouts: Timeouts) -> Inactive {
        loop {
            let (limit, reason) = if self.answers.load(Ordering::Relaxed) > 0 {
                (timeouts.write, Inactive::Stalled)
            } else {
                (timeouts.http2_idle, Inactive::Idle)
            };
            let last = Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
            let end = self.opened + last + limit;
            let now = Instant::now();
            // A long run is no inactivity: the client waits for its answer.
            let is_running = reason == Inactive::Idle && self.has_requests();
            if now >= end && !is_running {
                return reason;
            }
            // An answer may begin at any moment, whose limit is the shorter one.
            let wait = if is_running {
                timeouts.write
            } else {
                end.saturating_duration_since(now).min(timeouts.write)
            };
            // The end may have passed while a request runs: without a minimum, the loop would spin.
            tokio::time::sleep(wait.max(Duration::from_millis(10))).await;
        }
    }
}

/// A request that is being answered, in the count of its connection.
pub(super) struct ActiveRequest {
    activity: Arc<Activity>,
    /// Whether a part of its answer waits for the client.
    is_waiting: bool,
}

impl ActiveRequest {
    pub(super) fn new(activity: Arc<Activity>) -> Self {
        activity.requests.fetch_add(1, Ordering::Relaxed);
        activity.touch();
        Self {
            activity,
            is_waiting: false,
        }
    }

    pub(super) fn is_http2(&self) -> bool {
        self.activity.is_http2.load(Ordering::Relaxed)
    }

    /// Notes that a part of the answer waits for the client, or no longer does.
    pub(super) fn set_waiting(&mut self, is_waiting: bool) {
        if self.is_waiting == is_waiting {
            return;
        }
        self.is_waiting = is_waiting;
        self.activity.touch();
        if is_waiting {
            self.activity.answers.fetch_add(1, Ordering::Relaxed);
        } else {
            self.activity.answers.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.set_waiting(false);
        self.activity.requests.fetch_sub(1, Ordering::Relaxed);
        self.activity.touch();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUTS: Timeouts = Timeouts {
        handshake: Duration::from_secs(1),
        write: Duration::from_secs(30),
        http2_idle: Duration::from_secs(300),
    };

    fn http2() -> Arc<Activity> {
        let activity = Arc::new(Activity::new());
        activity.begin(true);
        activity
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_requests_becomes_idle() {
        let activity = http2();
        let opened = Instant::now();
        assert_eq!(activity.inactive_http2(TIMEOUTS).await, Inactive::Idle);
        assert_eq!(opened.elapsed().as_secs(), 300);
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_run_does_not_make_a_connection_idle() {
        let activity = http2();
        let request = ActiveRequest::new(activity.clone());
        let waited =
            tokio::time::timeout(Duration::from_secs(3600), activity.inactive_http2(TIMEOUTS));
        assert!(waited.await.is_err());
        let ended = Instant::now();
        drop(request);
        assert_eq!(activity.inactive_http2(TIMEOUTS).await, Inactive::Idle);
        assert_eq!(ended.elapsed().as_secs(), 300);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_reads_stalls_its_connection() {
        let activity = http2();
        let mut answer = ActiveRequest::new(activity.clone());
        answer.set_waiting(true);
        let waited =
            tokio::time::timeout(Duration::from_secs(25), activity.inactive_http2(TIMEOUTS));
        assert!(waited.await.is_err());
        answer.set_waiting(false);
        answer.set_waiting(true);
        let taken = Instant::now();
        assert_eq!(activity.inactive_http2(TIMEOUTS).await, Inactive::Stalled);
        assert_eq!(taken.elapsed().as_secs(), 30);
    }
}
