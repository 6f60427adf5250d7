//! One load test, decided in full before it begins.

use std::time::Duration;

use crate::mix::Mix;
use crate::schedule::Arrivals;
use crate::target::Target;

/// What to send, where, when, and for how long.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server.
    pub target: Target,
    /// What to send.
    pub mix: Mix,
    /// When to send it.
    pub pattern: Pattern,
    /// How long to measure; with stepped rates, each step.
    pub duration: Option<Duration>,
    /// How many requests to measure, whichever ends first.
    pub requests: Option<u64>,
    /// How long to send before measuring; nothing in a replay, whose times begin at once.
    pub warmup: Duration,
    /// How long the client waits for an answer.
    pub timeout: Duration,
    /// Answers that take longer, from the intended send time, do not count as goodput.
    pub deadline: Option<Duration>,
    /// Threads that send.
    pub threads: usize,
    /// HTTP/2 connections that gRPC calls share; HTTP/1.1 connections opened beforehand in an open
    /// loop.
    pub connections: usize,
    /// Most requests in flight in an open loop; requests above it are not sent, but counted as dropped.
    pub max_outstanding: usize,
    /// The seed, which makes the choice of requests and the gaps between them repeatable.
    pub seed: u64,
}

/// What decides when the next request is sent.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// The server: each client sends its next request when it has the last answer.
    Closed {
        /// Clients at once.
        concurrency: usize,
    },
    /// The clock: requests are sent when they are due, even if earlier ones are still unanswered.
    Open(Arrivals),
}

/// A part of the load that is reported on its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Phase {
    pub(crate) start: Duration,
    pub(crate) end: Option<Duration>,
    /// Requests per second, where the load has one rate.
    pub(crate) rate: Option<f64>,
}

impl Plan {
    /// The parts that are reported, in order. A closed loop and a replay have one.
    pub(crate) fn phases(&self) -> Vec<Phase> {
        match &self.pattern {
            Pattern::Open(Arrivals::Rates { rates, .. }) => (0..)
                .zip(rates)
                .map(|(at, rate)| self.phase(at, Some(*rate)))
                .collect(),
            _ => vec![self.phase(0, None)],
        }
    }

    fn phase(&self, at: u32, rate: Option<f64>) -> Phase {
        let length = self.duration.unwrap_or_default();
        let start = self.warmup + length * at;
        Phase {
            start,
            end: self.duration.map(|length| start + length),
            rate,
        }
    }

    /// The part that a moment belongs to, `None` before the first and after the last.
    pub(crate) fn phase_at(&self, elapsed: Duration) -> Option<usize> {
        let measured = elapsed.checked_sub(self.warmup)?;
        let Some(duration) = self.duration else {
            return Some(0);
        };
        let steps = match &self.pattern {
            Pattern::Open(Arrivals::Rates { rates, .. }) => rates.len(),
            _ => 1,
        };
        // Nanoseconds, as floating-point seconds could put a request into the wrong part. A
        // duration of zero has no parts.
        let at = measured.as_nanos().checked_div(duration.as_nanos())?;
        usize::try_from(at).ok().filter(|at| *at < steps)
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.pattern, Pattern::Closed { .. })
    }

    /// One thread's share of a number that all threads share.
    pub(crate) fn share(&self, whole: u64, thread: usize) -> u64 {
        let (threads, thread) = (self.threads as u64, thread as u64);
        whole / threads + u64::from(thread < whole % threads)
    }
}
