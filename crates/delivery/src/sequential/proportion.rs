//! Confidence sequences of one proportion.

use serde::{Deserialize, Serialize};

use super::mixture::BetaBinomial;

/// A lower and an upper bound.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The lower bound.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
}

/// Where a proportion lies, at all times together with probability 1 − `alpha`: those proportions that
/// the beta-binomial mixture does not reject (see [`mixture`](super::mixture)). `n_opt` is the number of
/// trials at which the interval shall be narrow.
///
/// ```
/// use tidegate_delivery::sequential::proportion_interval;
///
/// let interval = proportion_interval(10, 100, 0.05, 100.0);
/// assert!(interval.low < 0.1 && interval.high > 0.1);
/// ```
pub fn proportion_interval(successes: u64, trials: u64, alpha: f64, n_opt: f64) -> Interval {
    let all = Interval {
        low: 0.0,
        high: 1.0,
    };
    if trials == 0 {
        return all;
    }
    let (successes, trials) = (successes as f64, trials as f64);
    let threshold = (1.0 / alpha).ln();
    let is_rejected =
        |p: f64| BetaBinomial::new(p, n_opt, 0.05).log_e(successes, trials) > threshold;
    let found = successes / trials;
    let low = if successes == 0.0 {
        0.0
    } else {
        bisect(0.0, found, is_rejected)
    };
    let high = if successes == trials {
        1.0
    } else {
        bisect(1.0, found, is_rejected)
    };
    Interval { low, high }
}

/// The border between what is rejected (near `outside`) and what is not (near `inside`).
fn bisect(mut outside: f64, mut inside: f64, is_rejected: impl Fn(f64) -> bool) -> f64 {
    // 52 halvings use up the digits of a double.
    for _ in 0..52 {
        let middle = f64::midpoint(outside, inside);
        if middle == outside || middle == inside {
            break;
        }
        if is_rejected(middle) {
            outside = middle;
        } else {
            inside = middle;
        }
    }
    outside
}
