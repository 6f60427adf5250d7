//! Confidence sequences of the difference of two proportions.

use super::arms::Arms;
use super::proportion::{Interval, proportion_interval};
use super::window::Counts;

/// Where the candidate's proportion minus the control's lies, at all times together with probability
/// 1 − `alpha`: the intervals of both at `alpha`/2, subtracted. It holds for any exposure, also one
/// that changes, and is wider than it could be, as both intervals must hold.
pub fn difference_interval(counts: Arms<Counts>, alpha: f64, n_opt: f64) -> Interval {
    let interval =
        |counts: Counts| proportion_interval(counts.events, counts.requests, alpha / 2.0, n_opt);
    let arms = counts.map(interval);
    Interval {
        low: arms.candidate.low - arms.control.high,
        high: arms.candidate.high - arms.control.low,
    }
}
