//! How long a client may take to send a body, or a message.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tidegate_serving::{ErrorCode, InferError};
use tokio::time::{Instant, Sleep};

use crate::ServerConfig;
use crate::lifecycle::Lifecycle;

/// Over so long the rate of a body is averaged: shorter pauses of a network do no harm.
const RATE_WINDOW: Duration = Duration::from_secs(10);
/// A body of which less has arrived may come as slowly as it likes, within the time for bodies: it
/// holds little.
const SMALL_BYTES: usize = 64 << 10;
/// Longest part of a wait that is counted at once.
const MAX_STEP: Duration = Duration::from_secs(1);

/// What is asked of a client that sends.
#[derive(Clone, Copy)]
pub(crate) struct UploadLimits {
    timeout: Duration,
    min_bytes_per_s: usize,
}

impl UploadLimits {
    pub(crate) fn of(config: &ServerConfig) -> Self {
        Self {
            timeout: Duration::from_millis(config.body_timeout_ms),
            min_bytes_per_s: config.min_body_bytes_per_s,
        }
    }
}

/// Times a body while its next part is awaited. It begins with the first wait: most bodies need none.
///
/// Only time in which somebody waits counts. It is counted in steps, each of which begins when it is
/// asked for: a server that does not ask, because it is busy with earlier messages, does not blame
/// the client.
pub(crate) struct UploadTimer {
    limits: UploadLimits,
    step: Duration,
    sleep: Pin<Box<Sleep>>,
    /// Ends once a server that is stopping has waited long enough.
    stopped: Option<BoxFuture<'static, ()>>,
    waited: Duration,
    /// When the rate was last looked at, in time waited, and what had arrived by then.
    looked: (Duration, usize),
}

impl UploadTimer {
    /// Begins to wait when so many bytes have arrived.
    pub(crate) fn start(
        limits: UploadLimits,
        lifecycle: Option<&Lifecycle>,
        received_bytes: usize,
    ) -> Self {
        let shortest = Duration::from_millis(1);
        let step = (limits.timeout / 16).clamp(shortest, MAX_STEP);
        Self {
            limits,
            step,
            sleep: Box::pin(tokio::time::sleep(step)),
            stopped: lifecycle.map(Lifecycle::stopping_for_long),
            waited: Duration::ZERO,
            looked: (Duration::ZERO, received_bytes),
        }
    }

    /// Ready once the client is too late, or too slow.
    pub(crate) fn poll_late(
        &mut self,
        received_bytes: usize,
        context: &mut Context<'_>,
    ) -> Poll<InferError> {
        if let Some(stopped) = &mut self.stopped
            && stopped.as_mut().poll(context).is_ready()
        {
            let message = "the server is stopping, and the body has not arrived";
            return Poll::Ready(InferError::new(ErrorCode::ShuttingDown, message));
        }
        loop {
            ready!(self.sleep.as_mut().poll(context));
            self.waited += self.step;
            self.sleep.as_mut().reset(Instant::now() + self.step);
            if let Some(error) = self.lateness(received_bytes) {
                return Poll::Ready(error);
            }
        }
    }

    fn lateness(&mut self, received_bytes: usize) -> Option<InferError> {
        if self.waited >= self.limits.timeout {
            let message = format!(
                "the body did not arrive within {} ms (server.body_timeout_ms)",
                self.limits.timeout.as_millis()
            );
            return Some(InferError::new(ErrorCode::BodyTimeout, message));
        }
        let (waited, before) = self.looked;
        let window = self.waited - waited;
        if window < RATE_WINDOW {
            return None;
        }
        self.looked = (self.waited, received_bytes);
        let least = self.limits.min_bytes_per_s as f64 * window.as_secs_f64();
        if received_bytes <= SMALL_BYTES || (received_bytes - before) as f64 >= least {
            return None;
        }
        let message = format!(
            "the body came with {} bytes in {} s, less than {} bytes a second \
             (server.min_body_bytes_per_s)",
            received_bytes - before,
            window.as_secs(),
            self.limits.min_bytes_per_s
        );
        Some(InferError::new(ErrorCode::BodyTimeout, message))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const LIMITS: UploadLimits = UploadLimits {
        timeout: Duration::from_secs(60),
        min_bytes_per_s: 1000,
    };

    /// After how many seconds a client is given up that sends so many bytes, and then so many a
    /// second.
    async fn given_up_after(first: usize, each_second: usize) -> u64 {
        let start = Instant::now();
        let mut timer = UploadTimer::start(LIMITS, None, first);
        loop {
            let received = first + each_second * start.elapsed().as_secs() as usize;
            let late = poll_fn(|context| timer.poll_late(received, context));
            if tokio::time::timeout(Duration::from_millis(500), late)
                .await
                .is_ok()
            {
                return start.elapsed().as_secs();
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_too_slowly_is_given_up() {
        assert_eq!(given_up_after(1 << 20, 0).await, 10);
        assert_eq!(given_up_after(1 << 20, 900).await, 10);
        assert_eq!(given_up_after(1 << 20, 1200).await, 60);
    }

    #[tokio::test(start_paused = true)]
    async fn a_small_body_may_come_slowly() {
        assert_eq!(given_up_after(0, 1).await, 60);
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_nobody_asks_does_not_count() {
        let mut timer = UploadTimer::start(LIMITS, None, 0);
        for _ in 0..5 {
            let late = poll_fn(|context| Poll::Ready(timer.poll_late(0, context)));
            assert!(late.await.is_pending());
            tokio::time::advance(Duration::from_secs(3600)).await;
        }
    }
}
