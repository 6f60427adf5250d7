//! The activity of a connection, so that idle ones can be ended, and those whose client is waited for
//! in vain.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use tidegate_serving::MemoryShare;
use tokio::time::Instant;

use super::client_body::UnreadBody;

/// The requests of a connection, and when one of them last made progress.
///
/// Relaxed everywhere: a connection is served by one thread; others only end requests.
pub(super) struct Activity {
    /// The client's address.
    pub(super) client: IpAddr,
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
    /// Whether the connection ends; only then it matters when a part of a body comes.
    is_ending: AtomicBool,
    /// What the requests of its client may take.
    client_memory: Arc<MemoryShare>,
}

impl Activity {
    pub(super) fn new(client: IpAddr, client_memory: Arc<MemoryShare>) -> Self {
        Self {
            client,
            client_memory,
            is_ending: AtomicBool::new(false),
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

    pub(super) fn client_memory(&self) -> &Arc<MemoryShare> {
        &self.client_memory
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

    /// Notes that a part of a body has come.
    pub(super) fn body_moves(&self) {
        if self.is_ending.load(Ordering::Relaxed) {
            self.touch();
        }
    }

    pub(super) fn body_ends(&self) {
        self.bodies.fetch_sub(1, Ordering::Relaxed);
    }

    /// Keeps what was not read of a body until its request is answered. Streams of HTTP/2 end one by
    /// one: there the rest is read beside the answer.
    pub(super) fn set_unread(&self, unread: UnreadBody) {
        if self.is_http2.load(Ordering::Relaxed) {
            unread.drain_beside_answer();
            return;
        }
        *self.unread.lock() = Some(unread);
        self.has_unread.store(true, Ordering::Relaxed);
    }

    pub(super) fn take_unread(&self) -> Option<UnreadBody> {
        // A flag beside the lock: nearly all requests leave nothing unread, and take no lock.
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

    /// Waits until a connection of HTTP/2 has been without a request for so long. hyper itself ends
    /// those of HTTP/1, which set no timer here.
    pub(super) async fn idle_http2(&self, limit: Duration) {
        let mut idle = pin!(self.idle(limit));
        poll_fn(|context| {
            if self.is_http2.load(Ordering::Relaxed) {
                idle.as_mut().poll(context)
            } else {
                Poll::Pending
            }
        })
        .await
    }

    async fn idle(&self, limit: Duration) {
        // A long run is no inactivity: the client waits for its answer.
        while self.has_requests() || self.inactive_for() < limit {
            self.sleep_until_inactive(limit).await;
        }
    }

    /// Waits until a connection that is to end has made no progress for so long, while nothing but
    /// its client is waited for: for the rest of a body, for room for an answer, or, over HTTP/2, for
    /// the confirmation that its last request has come (RFC 9113, section 6.8).
    pub(super) async fn abandoned(&self, limit: Duration) {
        self.is_ending.store(true, Ordering::Relaxed);
        self.touch();
        while !self.waits_for_client() || self.inactive_for() < limit {
            self.sleep_until_inactive(limit).await;
        }
    }

    fn waits_for_client(&self) -> bool {
        let requests = self.requests.load(Ordering::Relaxed);
        let bodies = self.bodies.load(Ordering::Relaxed);
        if self.is_http2.load(Ordering::Relaxed) {
            // Each request waits for its client in one of two ways: for its body, or until its
            // answer is taken. One that does neither is in work here.
            return requests <= bodies + self.answers.load(Ordering::Relaxed);
        }
        // The connection itself times what it writes, and reads no more than one request.
        bodies > 0 && requests <= bodies
    }

    fn inactive_for(&self) -> Duration {
        let last = Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
        self.opened.elapsed().saturating_sub(last)
    }

    /// Sleeps until the connection has been inactive for so long if nothing happens meanwhile.
    async fn sleep_until_inactive(&self, limit: Duration) {
        let rest = limit.saturating_sub(self.inactive_for());
        // It may have been inactive for longer while a request runs.
        let wait = if rest.is_zero() { limit } else { rest };
        tokio::time::sleep(wait.max(Duration::from_millis(10))).await;
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
    use tidegate_serving::MemoryBudget;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(300);
    const HOUR: Duration = Duration::from_secs(3600);

    fn http2() -> Arc<Activity> {
        let client = IpAddr::from([127, 0, 0, 1]);
        let activity = Arc::new(Activity::new(client, MemoryBudget::new(1).share(1)));
        activity.begin(true);
        activity
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_requests_becomes_idle() {
        let activity = http2();
        let opened = Instant::now();
        activity.idle_http2(LIMIT).await;
        assert_eq!(opened.elapsed().as_secs(), 300);
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_run_does_not_make_a_connection_idle() {
        let activity = http2();
        let request = ActiveRequest::new(activity.clone());
        let waited = tokio::time::timeout(HOUR, activity.idle_http2(LIMIT));
        assert!(waited.await.is_err());
        let ended = Instant::now();
        drop(request);
        activity.idle_http2(LIMIT).await;
        assert_eq!(ended.elapsed().as_secs(), 300);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_ends_waits_for_what_runs_and_not_for_its_client() {
        let activity = http2();
        let running = ActiveRequest::new(activity.clone());
        let mut unread = ActiveRequest::new(activity.clone());
        unread.set_waiting(true);
        let waited = tokio::time::timeout(HOUR, activity.abandoned(LIMIT));
        assert!(waited.await.is_err());
        drop(running);
        let ended = Instant::now();
        activity.abandoned(LIMIT).await;
        assert_eq!(ended.elapsed().as_secs(), 300);
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_body_is_not_waited_for_at_the_end() {
        for is_http2 in [false, true] {
            let activity = http2();
            activity.begin(is_http2);
            let _request = ActiveRequest::new(activity.clone());
            activity.body_begins();
            let begin = Instant::now();
            activity.abandoned(LIMIT).await;
            assert_eq!(begin.elapsed().as_secs(), 300);
        }
    }
}
