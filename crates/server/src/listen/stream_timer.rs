//! A bound on how long a client may leave the answer of one HTTP/2 stream unread.
//!
//! A client may read other answers of the same connection meanwhile, so the connection tells nothing.
//! hyper does not ask a body for more while the client makes no room, so a body cannot end it either.
//! But each stream is a task of its own, and a task that ends resets its stream, and no other.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::Executor;
use tokio::time::{Instant, Sleep};
use tracing::debug;

use super::metrics::ConnectionMetrics;

thread_local! {
    /// The answer of the stream whose task is being polled on this thread.
    static ANSWER: Cell<AnswerProgress> = const { Cell::new(AnswerProgress { parts: 0, is_waiting: false }) };
}

/// How far the answer of a stream is sent.
#[derive(Clone, Copy, Default)]
struct AnswerProgress {
    /// Parts that were handed over to be sent.
    parts: u32,
    /// Whether the last one waits for the client to make room.
    is_waiting: bool,
}

/// Notes that the stream whose task is being polled hands over a part of its answer.
pub(super) fn hand_over_part() {
    let parts = ANSWER.get().parts.wrapping_add(1);
    ANSWER.set(AnswerProgress {
        parts,
        is_waiting: true,
    });
}

/// Notes that what was handed over is sent.
pub(super) fn part_is_sent() {
    let progress = ANSWER.get();
    ANSWER.set(AnswerProgress {
        is_waiting: false,
        ..progress
    });
}

/// Runs the streams of HTTP/2 connections as tasks, each of which ends if its client leaves its
/// answer unread.
#[derive(Clone)]
pub(super) struct StreamExecutor {
    timeout: Duration,
    metrics: ConnectionMetrics,
}

impl StreamExecutor {
    pub(super) fn new(timeout: Duration, metrics: ConnectionMetrics) -> Self {
        Self { timeout, metrics }
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for StreamExecutor {
    fn execute(&self, stream: F) {
        let Self { timeout, metrics } = self.clone();
        tokio::spawn(async move {
            let mut stream = pin!(stream);
            let mut timer = StreamTimer::new(timeout);
            let ended = poll_fn(|context| timer.poll(stream.as_mut(), context)).await;
            if ended == Ended::Unread {
                debug!("the answer of a stream is not read: it is reset");
                metrics.stream_timed_out();
            }
        });
    }
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// By itself.
    Whole,
    /// Its client read nothing of its answer for too long.
    Unread,
}

struct StreamTimer {
    timeout: Duration,
    progress: AnswerProgress,
    /// Set while a part waits, and how many there were when it was set.
    waiting: Option<(Pin<Box<Sleep>>, u32)>,
}

impl StreamTimer {
    fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            progress: AnswerProgress::default(),
            waiting: None,
        }
    }

    fn poll(
        &mut self,
        stream: Pin<&mut impl Future<Output = ()>>,
        context: &mut Context<'_>,
    ) -> Poll<Ended> {
        ANSWER.set(self.progress);
        let polled = stream.poll(context);
        self.progress = ANSWER.take();
        if polled.is_ready() {
            return Poll::Ready(Ended::Whole);
        }
        let AnswerProgress { parts, is_waiting } = self.progress;
        if !is_waiting {
            self.waiting = None;
            return Poll::Pending;
        }
        let (sleep, timed) = self
            .waiting
            .get_or_insert_with(|| (Box::pin(tokio::time::sleep(self.timeout)), parts));
        if *timed != parts {
            *timed = parts;
            sleep.as_mut().reset(Instant::now() + self.timeout);
        }
        ready!(sleep.as_mut().poll(context));
        Poll::Ready(Ended::Unread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    /// Runs a stream that hands over a part after each of these times, and then waits for ever.
    async fn run(seconds: &[u64], is_sent: bool) -> Option<Ended> {
        let stream = async {
            for seconds in seconds {
                tokio::time::sleep(Duration::from_secs(*seconds)).await;
                hand_over_part();
            }
            if is_sent {
                part_is_sent();
            }
            std::future::pending().await
        };
        let mut stream = pin!(stream);
        let mut timer = StreamTimer::new(TIMEOUT);
        let ended = poll_fn(|context| timer.poll(stream.as_mut(), context));
        tokio::time::timeout(Duration::from_secs(3600), ended)
            .await
            .ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_whose_answer_nobody_reads_ends() {
        let begin = Instant::now();
        assert_eq!(run(&[0, 25, 25], false).await, Some(Ended::Unread));
        assert_eq!(begin.elapsed().as_secs(), 80);
        // The second part came too late.
        let begin = Instant::now();
        assert_eq!(run(&[0, 31], false).await, Some(Ended::Unread));
        assert_eq!(begin.elapsed().as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_whose_answer_is_read_may_rest() {
        assert_eq!(run(&[0, 25], true).await, None);
        assert_eq!(run(&[], false).await, None);
    }
}
