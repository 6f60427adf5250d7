//! A circuit breaker: refuses calls while most of them would fail.
//!
//! ```text
//!            too many failed or slow                 the time is over: one call tries
//!   Closed ─────────────────────────► Open ─────────────────────────► HalfOpen
//!     ▲                                ▲                                │   │
//!     │                                └──── it fails, or is slow ──────┘   │
//!     └───────────────────────────────────── it succeeds ───────────────────┘
//! ```
//!
//! It is pure: whoever uses it says what time it is. Invariants:
//! - Calls that began before a change of state say nothing about the state after it: late failures
//!   neither keep it open for longer, nor close it.
//! - While it is half open, one call is under way. If that one is given up, the next one tries.

use std::time::{Duration, Instant};

use crate::SlidingWindow;

/// Kinds of calls in the window: all, failed, slow.
const ALL: usize = 0;
const FAILED: usize = 1;
const SLOW: usize = 2;

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BreakerPolicy {
    /// The time that is looked at.
    pub window: Duration,
    /// The least calls in that time for a decision.
    pub min_calls: u64,
    /// The share of failed calls that opens it, above 0; `None` if failures do not.
    pub failure_share: Option<f64>,
    /// A call that takes longer is slow; `None` if no call is.
    pub slow_call: Option<Duration>,
    /// The share of slow calls that opens it, above 0.
    pub slow_share: f64,
    /// How long it stays open before a call tries.
    pub open: Duration,
}

/// Whether calls are let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// All are.
    Closed,
    /// One is.
    HalfOpen,
    /// None is.
    Open,
}

impl BreakerState {
    /// The name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

/// A change of state, with the numbers that led to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerChange {
    /// The state before.
    pub from: BreakerState,
    /// The state now.
    pub to: BreakerState,
    /// Calls in the window.
    pub calls: u64,
    /// How many of them failed.
    pub failed: u64,
    /// How many of them were slow.
    pub slow: u64,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallEnd {
    /// With an answer.
    Succeeded,
    /// Without one, and what was called is to blame.
    Failed,
    /// Without one, but what was called answers a call that is known to be good: this one was wrong. It
    /// closes a breaker that is half open, and does not count otherwise.
    Excused,
    /// In a way that says nothing of what was called, such as a caller that went away.
    Unknown,
}

/// A call that was let through. It must be given back to [`Breaker::end`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a call that never ends can keep the breaker half open"]
pub struct BreakerTicket {
    generation: u64,
}

/// A call that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerRefusal {
    /// When the next call may try; zero while one is trying.
    pub retry_in: Duration,
}

/// See the module's description.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use tidegate_gateway::{Breaker, BreakerPolicy, BreakerState, CallEnd};
///
/// let now = Instant::now();
/// let mut breaker = Breaker::new(BreakerPolicy { min_calls: 1, ..BreakerPolicy::default() });
/// let (ticket, _) = breaker.begin(now).expect("it is closed");
/// breaker.end(ticket, CallEnd::Failed, Duration::ZERO, now);
/// assert_eq!(breaker.state(), BreakerState::Open);
/// assert!(breaker.begin(now).is_err());
/// assert!(breaker.begin(now + Duration::from_secs(60)).is_ok());
/// ```
#[derive(Clone, Debug)]
pub struct Breaker {
    policy: BreakerPolicy,
    phase: Phase,
    /// Counts the changes of state.
    generation: u64,
    window: SlidingWindow<3>,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Closed,
    Open { until: Instant },
    HalfOpen { is_trying: bool },
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(10),
            min_calls: 20,
            failure_share: Some(0.5),
            slow_call: None,
            slow_share: 0.8,
            open: Duration::from_secs(5),
        }
    }
}

impl Breaker {
    /// A closed breaker.
    pub fn new(policy: BreakerPolicy) -> Self {
        Self {
            window: SlidingWindow::new(policy.window),
            policy,
            phase: Phase::Closed,
            generation: 0,
        }
    }

    /// The state. It leaves [`BreakerState::Open`] with the next call only.
    pub fn state(&self) -> BreakerState {
        match self.phase {
            Phase::Closed => BreakerState::Closed,
            Phase::Open { .. } => BreakerState::Open,
            Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Lets a call through.
    ///
    /// # Errors
    /// If it is open, or half open while another call tries.
    pub fn begin(
        &mut self,
        now: Instant,
    ) -> Result<(BreakerTicket, Option<BreakerChange>), BreakerRefusal> {
        let change = match self.phase {
            Phase::Closed => None,
            Phase::Open { until } if now < until => {
                let retry_in = until - now;
                return Err(BreakerRefusal { retry_in });
            }
            Phase::Open { .. } => Some(self.change(Phase::HalfOpen { is_trying: true }, now)),
            Phase::HalfOpen { is_trying: true } => {
                // The trial can end at any moment.
                let retry_in = Duration::ZERO;
                return Err(BreakerRefusal { retry_in });
            }
            Phase::HalfOpen { is_trying: false } => {
                self.phase = Phase::HalfOpen { is_trying: true };
                None
            }
        };
        let generation = self.generation;
        Ok((BreakerTicket { generation }, change))
    }

    /// Counts a call that has ended and took so long.
    pub fn end(
        &mut self,
        ticket: BreakerTicket,
        end: CallEnd,
        took: Duration,
        now: Instant,
    ) -> Option<BreakerChange> {
        if ticket.generation != self.generation {
            return None;
        }
        let is_slow = self.policy.slow_call.is_some_and(|slow| took > slow);
        match (self.phase, end) {
            (Phase::HalfOpen { .. }, CallEnd::Unknown) => {
                self.phase = Phase::HalfOpen { is_trying: false };
                None
            }
            (Phase::HalfOpen { .. }, CallEnd::Succeeded | CallEnd::Excused) if !is_slow => {
                let change = self.change(Phase::Closed, now);
                self.window.clear();
                Some(change)
            }
            (Phase::HalfOpen { .. }, _) => Some(self.open(now)),
            (Phase::Closed, CallEnd::Succeeded | CallEnd::Failed) => {
                self.count(end == CallEnd::Failed, is_slow, now);
                self.has_too_many(now).then(|| self.open(now))
            }
            (Phase::Closed, CallEnd::Excused | CallEnd::Unknown) | (Phase::Open { .. }, _) => None,
        }
    }

    fn count(&mut self, has_failed: bool, is_slow: bool, now: Instant) {
        self.window.add(ALL, now);
        if has_failed {
            self.window.add(FAILED, now);
        }
        if is_slow {
            self.window.add(SLOW, now);
        }
    }

    fn has_too_many(&mut self, now: Instant) -> bool {
        let [calls, failed, slow] = self.window.totals(now);
        let reaches = |count: u64, share: f64| count > 0 && count as f64 >= share * calls as f64;
        calls >= self.policy.min_calls.max(1)
            && (self
                .policy
                .failure_share
                .is_some_and(|share| reaches(failed, share))
                || reaches(slow, self.policy.slow_share))
    }

    fn open(&mut self, now: Instant) -> BreakerChange {
        let until = now + self.policy.open;
        self.change(Phase::Open { until }, now)
    }

    fn change(&mut self, phase: Phase, now: Instant) -> BreakerChange {
        let from = self.state();
        let [calls, failed, slow] = self.window.totals(now);
        self.phase = phase;
        self.generation += 1;
        let to = self.state();
        BreakerChange {
            from,
            to,
            calls,
            failed,
            slow,
        }
    }
}

#[cfg(test)]
mod tests;
