//! Leaving a server out that fails, until it has shown that it works again.
//!
//! ```text
//!            failures in a row              the time is over: one request tries
//!   Normal ───────────────────► Ejected ──────────────────────────────► Trying
//!     ▲                            ▲                                      │ │
//!     │                            └────── it fails, for twice as long ───┘ │
//!     └──────────────────────────────────── it succeeds ────────────────────┘
//! ```
//!
//! Pure: whoever uses it says what time it is. Requests that began before a change of state do not
//! count after it.

use std::time::{Duration, Instant};

use tidegate_gateway::CallEnd;

use crate::config::EjectionPolicy;

/// Whether a server is left out.
#[derive(Debug)]
pub(crate) struct Ejection {
    policy: EjectionPolicy,
    phase: Phase,
    /// Counts the changes of state.
    generation: u64,
    /// Failures in a row.
    failures: u32,
    /// How long the last ejection was.
    last: Option<Duration>,
    /// When the last ejection ended.
    readmitted: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Normal,
    Ejected { until: Instant },
    Trying,
}

/// A request to the server that has begun.
#[derive(Debug)]
#[must_use = "a request that never ends can keep the server out"]
pub(crate) struct EjectionTicket {
    generation: u64,
}

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EjectionChange {
    Ejected { failures: u32, lasts: Duration },
    Readmitted,
}

impl Ejection {
    pub(crate) fn new(policy: EjectionPolicy) -> Self {
        Self {
            policy,
            phase: Phase::Normal,
            generation: 0,
            failures: 0,
            last: None,
            readmitted: None,
        }
    }

    /// Whether it should get a request now.
    pub(crate) fn accepts(&self, now: Instant) -> bool {
        match self.phase {
            Phase::Normal => true,
            Phase::Ejected { until } => now >= until,
            Phase::Trying => false,
        }
    }

    /// Whether it is left out, or on trial.
    pub(crate) fn is_out(&self) -> bool {
        self.phase != Phase::Normal
    }

    /// A request goes to it, whether or not it [accepts](Self::accepts) one: where too many servers
    /// are out, all of them are used.
    pub(crate) fn begin(&mut self, now: Instant) -> EjectionTicket {
        if let Phase::Ejected { until } = self.phase
            && now >= until
        {
            self.phase = Phase::Trying;
            self.generation += 1;
        }
        EjectionTicket {
            generation: self.generation,
        }
    }

    pub(crate) fn end(
        &mut self,
        ticket: EjectionTicket,
        end: CallEnd,
        now: Instant,
    ) -> Option<EjectionChange> {
        if ticket.generation != self.generation {
            return None;
        }
        match (self.phase, end) {
            (Phase::Normal, CallEnd::Succeeded) => {
                self.failures = 0;
                None
            }
            (Phase::Normal, CallEnd::Failed) => {
                self.failures += 1;
                (self.failures >= self.policy.failures).then(|| self.eject(now))
            }
            (Phase::Trying, CallEnd::Succeeded | CallEnd::Excused) => {
                self.phase = Phase::Normal;
                self.generation += 1;
                self.failures = 0;
                self.readmitted = Some(now);
                Some(EjectionChange::Readmitted)
            }
            (Phase::Trying, CallEnd::Failed) => Some(self.eject(now)),
            (Phase::Trying, CallEnd::Unknown) => {
                // The next request tries.
                self.phase = Phase::Ejected { until: now };
                None
            }
            (Phase::Normal, CallEnd::Excused | CallEnd::Unknown) | (Phase::Ejected { .. }, _) => {
                None
            }
        }
    }

    fn eject(&mut self, now: Instant) -> EjectionChange {
        let lasts = match self.last.filter(|last| !self.has_recovered(*last, now)) {
            None => self.policy.first,
            Some(last) => (last * 2).min(self.policy.longest),
        };
        self.last = Some(lasts);
        self.phase = Phase::Ejected { until: now + lasts };
        self.generation += 1;
        EjectionChange::Ejected {
            failures: self.failures,
            lasts,
        }
    }

    /// Whether it worked for longer than it was out the last time.
    fn has_recovered(&self, last: Duration, now: Instant) -> bool {
        let worked = self
            .readmitted
            .map(|since| now.saturating_duration_since(since));
        self.phase == Phase::Normal && worked.is_some_and(|worked| worked > last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: EjectionPolicy = EjectionPolicy {
        failures: 3,
        first: Duration::from_secs(5),
        longest: Duration::from_secs(15),
    };

    struct Bench {
        ejection: Ejection,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                ejection: Ejection::new(POLICY),
                now: Instant::now(),
            }
        }

        fn pass(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
        }

        fn call(&mut self, end: CallEnd) -> Option<EjectionChange> {
            let ticket = self.ejection.begin(self.now);
            self.ejection.end(ticket, end, self.now)
        }

        fn fail(&mut self, times: usize) -> Option<u64> {
            let mut change = None;
            for _ in 0..times {
                change = self.call(CallEnd::Failed);
            }
            match change? {
                EjectionChange::Ejected { lasts, .. } => Some(lasts.as_secs()),
                EjectionChange::Readmitted => None,
            }
        }
    }

    #[test]
    fn failures_in_a_row_eject_and_a_success_between_them_does_not() {
        let mut bench = Bench::new();
        assert_eq!(bench.fail(2), None);
        bench.call(CallEnd::Succeeded);
        assert_eq!(bench.fail(2), None);
        assert_eq!(bench.fail(1), Some(5));
        assert!(!bench.ejection.accepts(bench.now));
    }

    #[test]
    fn one_request_tries_after_the_time_which_doubles_up_to_a_limit() {
        let mut bench = Bench::new();
        bench.fail(3);
        for lasts in [10, 15, 15] {
            bench.pass(15);
            assert!(bench.ejection.accepts(bench.now));
            let ticket = bench.ejection.begin(bench.now);
            assert!(
                !bench.ejection.accepts(bench.now),
                "one tries, no second one"
            );
            let change = bench.ejection.end(ticket, CallEnd::Failed, bench.now);
            let lasts = Duration::from_secs(lasts);
            assert!(
                matches!(change, Some(EjectionChange::Ejected { lasts: found, .. }) if found == lasts)
            );
        }
        bench.pass(15);
        assert_eq!(
            bench.call(CallEnd::Succeeded),
            Some(EjectionChange::Readmitted)
        );
        // It fails again soon, so it is out for as long as before; after a long good time it is not.
        assert_eq!(bench.fail(3), Some(15));
        bench.pass(15);
        bench.call(CallEnd::Succeeded);
        bench.pass(60);
        assert_eq!(bench.fail(3), Some(5));
    }

    #[test]
    fn late_failures_do_not_put_the_end_off_and_an_abandoned_trial_lets_the_next_one_try() {
        let mut bench = Bench::new();
        let late = bench.ejection.begin(bench.now);
        bench.fail(3);
        bench.pass(4);
        assert_eq!(bench.ejection.end(late, CallEnd::Failed, bench.now), None);
        bench.pass(1);
        assert!(bench.ejection.accepts(bench.now));
        bench.call(CallEnd::Unknown);
        assert!(bench.ejection.accepts(bench.now));
        assert!(bench.ejection.is_out());
    }
}
