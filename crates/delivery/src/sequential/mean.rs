//! Whether a mean of the candidate is larger than that of the control.

use serde::{Deserialize, Serialize};

use super::arms::Arms;
use super::mixture::{normal_bound, normal_rho, one_sided_normal_log_e};
use super::proportion::Interval;

/// How many values of a window, and their sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowSums {
    /// How many values.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
}

/// The difference of two means: the candidate's minus the control's, from windows.
///
/// Each window with values of both arms is one observation, the difference of its means, weighted by
/// n₁n₀/(n₁+n₀). So what changes for both arms cancels out, and values within a window may depend on
/// each other. The weighted sum is compared with a mixture of normal distributions: the mSPRT of
/// Johari, Koomen, Pekelis and Walsh ("Always valid inference", 2022), with the sum of squares in place
/// of a known variance. It is right asymptotically (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas,
/// "Time-uniform central limit theory", 2024), so it says nothing before [`MIN_WINDOWS`]. Clip values
/// with a heavy tail, or test the share above a limit instead.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeanDifference {
    windows: u64,
    weight: f64,
    /// The sum of weighted differences.
    sum: f64,
    /// The sum of the squares of weighted differences, each from the estimate before it.
    squares: f64,
    /// The mixture's prior, which is fixed when there are enough windows.
    rho: Option<f64>,
    /// Values that wait for others to be compared with.
    pending: Arms<WindowSums>,
    counts: Arms<u64>,
}

/// Windows that are needed before anything is said.
pub const MIN_WINDOWS: u64 = 50;

impl MeanDifference {
    /// Adds a window. Windows in which one version had no values are joined with the next ones.
    pub fn add(&mut self, window: Arms<WindowSums>) {
        join(&mut self.pending.candidate, window.candidate);
        join(&mut self.pending.control, window.control);
        let counts = self.pending.map(|sums| sums.count);
        if counts.exposure().is_none() {
            return;
        }
        let window = std::mem::take(&mut self.pending);
        let means = window.map(|sums| sums.sum / sums.count as f64);
        let difference = means.candidate - means.control;
        let weight = counts.candidate as f64 * counts.control as f64 / counts.total() as f64;
        // The first difference stands for the estimate before it: zero would count a constant
        // difference as variance.
        let before = self.estimate().unwrap_or(difference);
        self.squares += (weight * (difference - before)).powi(2);
        self.sum += weight * difference;
        self.weight += weight;
        self.windows += 1;
        self.counts.add(counts);
        if self.windows == MIN_WINDOWS {
            // Tightest at ten times as many windows like these.
            self.rho = Some(normal_rho(10.0 * self.variance(), 0.05));
        }
    }

    /// The difference; `None` before there was a window.
    pub fn estimate(&self) -> Option<f64> {
        (self.windows > 0).then(|| self.sum / self.weight)
    }

    /// How many values were compared.
    pub fn counts(&self) -> Arms<u64> {
        self.counts
    }

    /// Where the difference lies, at all times together with probability 1 − `alpha`.
    pub fn interval(&self, alpha: f64) -> Option<Interval> {
        let half = normal_bound(self.variance(), alpha, self.rho?) / self.weight;
        let estimate = self.sum / self.weight;
        Some(Interval {
            low: estimate - half,
            high: estimate + half,
        })
    }

    /// The log e-value against "the difference is at most `min_effect`": 0 while there are too few
    /// windows.
    pub fn log_e(&self, min_effect: f64) -> f64 {
        let excess = self.sum - min_effect * self.weight;
        self.rho.map_or(0.0, |rho| {
            one_sided_normal_log_e(excess, self.variance(), rho)
        })
    }

    /// Windows that are all equal would have none.
    fn variance(&self) -> f64 {
        self.squares.max(f64::MIN_POSITIVE)
    }
}

fn join(sums: &mut WindowSums, more: WindowSums) {
    sums.count += more.count;
    sums.sum += more.sum;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of 500 tests ever reject at 0.05 within 1000 windows, with a common drift and a
    /// difference of `effect` standard deviations.
    fn rejections(effect: f64) -> usize {
        let rejects = |seed: &u64| {
            let mut random = fastrand::Rng::with_seed(*seed);
            let mut test = MeanDifference::default();
            (0..1000).any(|index| {
                let drift = 50.0 * (f64::from(index) / 100.0).sin();
                let mut draw = |count: u64, mean: f64| {
                    let noise: f64 = (0..count)
                        .map(|_| (random.f64() - 0.5) * 12_f64.sqrt())
                        .sum();
                    WindowSums {
                        count,
                        sum: count as f64 * (mean + drift) + noise,
                    }
                };
                let candidate = draw(5, effect);
                test.add(Arms::new(candidate, draw(95, 0.0)));
                test.log_e(0.0) >= 20_f64.ln()
            })
        };
        (0..500).filter(rejects).count()
    }

    #[test]
    fn equal_means_are_rejected_seldom_and_a_difference_is_found() {
        let false_alarms = rejections(0.0);
        assert!(false_alarms <= 25, "{false_alarms}");
        assert!(rejections(0.2) > 475);
    }
}
