//! A check and what it has seen.

use serde::{Deserialize, Serialize};

use super::check::{Check, CheckKind};
use super::measured::Measured;
use super::trace::CheckPoint;
use super::verdict::{Outcome, Verdict};
use crate::sequential::evidence::{p_value, threshold};
use crate::sequential::{
    Arms, Bins, Counts, DistributionTest, Interval, LimitTest, MeanDifference, QuantileTest,
    ShareTest, WindowSums, difference_interval, proportion_interval, psi,
};

/// A check of a running rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckState {
    /// What it compares.
    pub check: Check,
    /// Its probability of a false alarm.
    pub alpha: f64,
    /// What it said when it failed: a check that has failed once has failed.
    pub failed: Option<Verdict>,
    /// Whether somebody has seen that it failed and resumed.
    pub is_overridden: bool,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Test {
    Share(ShareTest),
    Quantile(QuantileTest),
    Distribution(DistributionTest),
    Mean(MeanDifference),
    Limit(LimitTest),
    External(Option<(bool, String)>),
}

/// Evidence is shown up to here: no alpha is as small.
const MAX_LOG_E: f64 = 1e9;
/// The number of requests at which intervals in reports are narrow.
const N_OPT: f64 = 2000.0;

impl CheckState {
    /// A check that has seen nothing.
    pub(super) fn new(check: Check, alpha: f64) -> Self {
        let test = match &check.kind {
            CheckKind::Share {
                min_effect, unit, ..
            } => Test::Share(ShareTest::new(*unit, *min_effect)),
            CheckKind::Quantile {
                quantile,
                growth,
                min_effect,
                unit,
            } => Test::Quantile(QuantileTest::new(*quantile, *min_effect, *growth, *unit)),
            CheckKind::Distribution {
                bins,
                classes,
                min_effect,
            } => {
                let kind = if *classes {
                    Bins::Classes
                } else {
                    Bins::Ordered
                };
                Test::Distribution(DistributionTest::new(kind, *bins, *min_effect))
            }
            CheckKind::Mean { .. } => Test::Mean(MeanDifference::default()),
            CheckKind::Limit { limit } => Test::Limit(LimitTest::new(*limit)),
            CheckKind::External => Test::External(None),
        };
        Self {
            check,
            alpha,
            failed: None,
            is_overridden: false,
            test,
        }
    }

    /// Adds what was measured in a window. Measurements of another kind are ignored: the check then
    /// says that it has no data.
    pub(super) fn add(&mut self, measured: &Measured) {
        let is_reversed = self.check.kind.higher_is_better();
        match (&mut self.test, measured) {
            (Test::Share(test), Measured::Share(counts)) => {
                test.add(if is_reversed {
                    counts.map(reversed)
                } else {
                    *counts
                });
            }
            (Test::Quantile(test), Measured::Histogram(bins)) => {
                test.add(Arms::new(&bins.candidate, &bins.control));
            }
            (Test::Distribution(test), Measured::Histogram(bins)) => {
                test.add(Arms::new(&bins.candidate, &bins.control));
            }
            (Test::Mean(test), Measured::Sums(sums)) => {
                test.add(if is_reversed {
                    sums.map(negated)
                } else {
                    *sums
                });
            }
            (Test::Limit(test), Measured::Pairs(counts)) => test.add(*counts),
            (Test::External(said), Measured::External { failed, message }) => {
                *said = Some((*failed, message.clone()));
            }
            _ => {}
        }
    }

    /// Forgets what waits to be compared: the weights change.
    pub(super) fn drop_pending(&mut self) {
        match &mut self.test {
            Test::Share(test) => test.drop_pending(),
            Test::Quantile(test) => test.drop_pending(),
            Test::Distribution(test) => test.drop_pending(),
            Test::Mean(_) | Test::Limit(_) | Test::External(_) => {}
        }
    }

    /// What it says now, without the numbers.
    pub fn outcome(&self) -> Outcome {
        if self.failed.is_some() || self.log_e() >= threshold(self.alpha) {
            return Outcome::Failed;
        }
        let is_external = matches!(self.test, Test::External(Some(_)));
        if self.compared().candidate == 0 && !is_external {
            return Outcome::NoData;
        }
        Outcome::NotFailed
    }

    /// What it says now, with the numbers. Intervals make it dearer than [`Self::outcome`].
    pub fn verdict(&self, at_ms: u64) -> Verdict {
        if let Some(failed) = &self.failed {
            return failed.clone();
        }
        let log_e = self.log_e();
        let (effect, interval) = self.effect();
        Verdict {
            check: self.check.name.clone(),
            outcome: self.outcome(),
            at_ms,
            log_e,
            p_value: p_value(log_e),
            alpha: self.alpha,
            effect,
            interval,
            compared: self.compared(),
            events: self.events(),
            message: self.message(),
        }
    }

    /// What it says now, for a plot.
    pub(super) fn point(&self) -> CheckPoint {
        let (effect, interval) = self.effect();
        let log_e = self.log_e();
        CheckPoint {
            log_e,
            effect,
            interval,
        }
    }

    /// Finite, as it is persisted.
    fn log_e(&self) -> f64 {
        let log_e = self.test_log_e();
        if log_e.is_nan() {
            return 0.0;
        }
        log_e.clamp(-MAX_LOG_E, MAX_LOG_E)
    }

    fn test_log_e(&self) -> f64 {
        match &self.test {
            Test::Share(test) => test.log_e(),
            Test::Quantile(test) => test.log_e(),
            Test::Distribution(test) => test.log_e(),
            Test::Mean(test) => test.log_e(self.check.kind.min_effect()),
            Test::Limit(test) => test.log_e(),
            // A person's limit, not a probability: it fails at any alpha.
            Test::External(Some((true, _))) => f64::MAX,
            Test::External(_) => 0.0,
        }
    }

    fn compared(&self) -> Arms<u64> {
        match &self.test {
            Test::Share(test) => test.total().requests(),
            Test::Quantile(test) => test.total().requests(),
            Test::Distribution(test) => test.total().map(|bins| bins.iter().sum()),
            Test::Mean(test) => test.counts(),
            Test::Limit(test) => Arms::new(test.total().requests, test.total().requests),
            Test::External(_) => Arms::default(),
        }
    }

    fn events(&self) -> Arms<u64> {
        match &self.test {
            Test::Share(test) => test.total().map(|counts| counts.events),
            Test::Quantile(test) => test.total().map(|counts| counts.events),
            Test::Limit(test) => Arms::new(test.total().events, 0),
            Test::Distribution(_) | Test::Mean(_) | Test::External(_) => Arms::default(),
        }
    }

    /// The size of the difference, and where it lies.
    fn effect(&self) -> (Option<f64>, Option<Interval>) {
        match &self.test {
            Test::Share(test) => {
                let interval = difference_interval(test.total(), self.alpha, N_OPT);
                (test.effect(), test.effect().map(|_| interval))
            }
            Test::Quantile(test) => {
                let shares = test.total().map(Counts::share);
                (
                    shares
                        .candidate
                        .zip(shares.control)
                        .map(|(one, other)| one - other),
                    None,
                )
            }
            Test::Distribution(test) => {
                (self.compared().exposure().map(|_| psi(test.total())), None)
            }
            Test::Mean(test) => (test.estimate(), test.interval(self.alpha)),
            Test::Limit(test) => {
                let Counts { events, requests } = test.total();
                let interval = proportion_interval(events, requests, self.alpha, N_OPT);
                (test.total().share(), test.total().share().map(|_| interval))
            }
            Test::External(_) => (None, None),
        }
    }

    fn message(&self) -> String {
        match &self.test {
            Test::External(Some((_, message))) => message.clone(),
            _ => String::new(),
        }
    }
}

impl CheckKind {
    const fn higher_is_better(&self) -> bool {
        match self {
            Self::Share {
                higher_is_better, ..
            }
            | Self::Mean {
                higher_is_better, ..
            } => *higher_is_better,
            _ => false,
        }
    }

    const fn min_effect(&self) -> f64 {
        match self {
            Self::Share { min_effect, .. }
            | Self::Quantile { min_effect, .. }
            | Self::Distribution { min_effect, .. }
            | Self::Mean { min_effect, .. } => *min_effect,
            Self::Limit { .. } | Self::External => 0.0,
        }
    }
}

/// The requests without the event, where the event is what is wanted.
const fn reversed(counts: Counts) -> Counts {
    Counts::new(counts.others(), counts.requests)
}

fn negated(sums: WindowSums) -> WindowSums {
    WindowSums {
        count: sums.count,
        sum: -sums.sum,
    }
}
