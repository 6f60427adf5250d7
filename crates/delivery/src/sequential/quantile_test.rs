//! Whether a quantile of the candidate, such as the p99 of its latency, is larger than the control's.

use serde::{Deserialize, Serialize};

use super::arms::Arms;
use super::share_test::{ShareTest, Unit};
use super::window::Counts;

/// A test of "a quantile of the candidate is at most `1 + min_effect` times the control's".
///
/// The values are counted in bins, each `growth` times as wide as the one before. What lies above the
/// control's quantile, as it was estimated from the windows before, is an event; for the candidate,
/// what lies above `1 + min_effect` times that. Then a [`ShareTest`] compares their shares. So it
/// asks whether the candidate exceeds a limit more often than the control at the same time, which
/// daily cycles and bursts do not disturb. [`quantile_p_value`](super::quantile_p_value) is the test
/// for independent samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuantileTest {
    quantile: f64,
    /// How many bins the candidate's limit lies above the control's.
    tolerance_bins: usize,
    /// What the control had in windows before; older ones count less.
    control: Vec<f64>,
    test: ShareTest,
}

/// Values above the quantile that are needed for the first estimate.
const MIN_ABOVE: f64 = 5.0;
/// Values above the quantile that the estimate rests on; once there are twice as many, all are halved.
const KEPT_ABOVE: f64 = 500.0;

impl QuantileTest {
    /// A test that has seen nothing yet. `quantile` is between 0 and 1, `min_effect` at least 0,
    /// `growth` above 1.
    pub fn new(quantile: f64, min_effect: f64, growth: f64, unit: Unit) -> Self {
        // Half a bin below, so that rounding never makes the test stricter than was asked for.
        let bins = (min_effect.ln_1p() / growth.ln() - 1e-9).ceil();
        Self {
            quantile,
            tolerance_bins: bins.max(0.0) as usize,
            control: Vec::new(),
            test: ShareTest::new(unit, 0.0),
        }
    }

    /// Adds a window: histograms of the same bins.
    pub fn add(&mut self, window: Arms<&[u64]>) {
        if let Some(limit) = self.limit() {
            self.test.add(Arms::new(
                above(window.candidate, limit + self.tolerance_bins),
                above(window.control, limit),
            ));
        }
        self.learn(window.control);
    }

    /// See [`ShareTest::drop_pending`].
    pub fn drop_pending(&mut self) {
        self.test.drop_pending();
    }

    /// The log of the e-value.
    pub fn log_e(&self) -> f64 {
        self.test.log_e()
    }

    /// Requests, and those above the limits of their time.
    pub fn total(&self) -> Arms<Counts> {
        self.test.total()
    }

    /// The bin of the control's quantile.
    fn limit(&self) -> Option<usize> {
        let total: f64 = self.control.iter().sum();
        let wanted = total * (1.0 - self.quantile);
        if wanted < MIN_ABOVE {
            return None;
        }
        let mut above = total;
        let is_within = |count: &f64| {
            above -= count;
            above <= wanted
        };
        self.control.iter().position(is_within)
    }

    fn learn(&mut self, control: &[u64]) {
        self.control
            .resize(control.len().max(self.control.len()), 0.0);
        for (known, count) in self.control.iter_mut().zip(control) {
            *known += *count as f64;
        }
        let total: f64 = self.control.iter().sum();
        if total * (1.0 - self.quantile) > 2.0 * KEPT_ABOVE {
            self.control.iter_mut().for_each(|count| *count /= 2.0);
        }
    }
}

/// All of a histogram, and what lies above a bin.
fn above(histogram: &[u64], bin: usize) -> Counts {
    let events = histogram.iter().skip(bin + 1).sum();
    Counts::new(events, histogram.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bins of 5 % growth.
    const GROWTH: f64 = 1.05;

    fn bin(value: f64) -> usize {
        ((value.ln() / GROWTH.ln()) as usize).min(399)
    }

    /// How many of 200 tests of the p95 ever reject at 0.05, where all latencies go up and down
    /// together, and the candidate's are `factor` times as long.
    fn rejections(min_effect: f64, factor: f64) -> usize {
        let rejects = |seed: &u64| {
            let mut random = fastrand::Rng::with_seed(*seed);
            let mut test = QuantileTest::new(0.95, min_effect, GROWTH, Unit::Request);
            (0..300).any(|window| {
                let load = 1.0 + f64::from(window % 60) / 30.0;
                let mut arms = Arms::new(vec![0; 400], vec![0; 400]);
                for _ in 0..100 {
                    // A Pareto tail with exponent 2.
                    let value = 10.0 * load / random.f64().max(1e-9).sqrt();
                    if random.f64() < 0.2 {
                        arms.candidate[bin(value * factor)] += 1;
                    } else {
                        arms.control[bin(value)] += 1;
                    }
                }
                test.add(Arms::new(&arms.candidate, &arms.control));
                test.log_e() >= 20_f64.ln()
            })
        };
        (0..200).filter(rejects).count()
    }

    #[test]
    fn equal_latencies_are_rejected_seldom_whatever_the_load_does() {
        assert!(rejections(0.0, 1.0) <= 10);
    }

    #[test]
    fn a_slowdown_below_min_effect_is_accepted_and_a_larger_one_found() {
        assert!(rejections(0.2, 1.2) <= 10);
        assert!(rejections(0.0, 1.4) > 190);
        assert!(rejections(0.1, 1.8) > 190);
    }
}
