//! Less variance by what was known of users before (CUPED).
//!
//! Source: Deng, Xu, Kohavi and Walker, "Improving the sensitivity of online controlled experiments by
//! utilizing pre-experiment data", WSDM 2013. What was known must be from before the user was assigned:
//! otherwise the effect itself is subtracted.

use super::metric_sums::{Effect, MetricSums};
use crate::sequential::Arms;

/// The factor θ of what was known before: the covariance by the variance, over the users of both arms
/// together; 0 if nothing was known.
pub fn theta(arms: Arms<MetricSums>) -> f64 {
    let all = arms.candidate.merge(arms.control);
    if all.squares_before == 0.0 {
        0.0
    } else {
        all.products / all.squares_before
    }
}

/// The share of the variance that is left: 1 − ρ².
pub fn kept_variance(arms: Arms<MetricSums>) -> f64 {
    let all = arms.candidate.merge(arms.control);
    if all.squares_before == 0.0 || all.squares == 0.0 {
        return 1.0;
    }
    1.0 - all.products.powi(2) / (all.squares * all.squares_before)
}

/// The effect on the metric minus θ times what was known before.
pub fn effect(arms: Arms<MetricSums>) -> Option<Effect> {
    let theta = theta(arms);
    let before = arms.candidate.merge(arms.control).mean_before;
    arms.map(|sums| adjusted(sums, theta, before)).effect()
}

fn adjusted(sums: MetricSums, theta: f64, before: f64) -> MetricSums {
    MetricSums {
        mean: sums.mean - theta * (sums.mean_before - before),
        squares: sums.squares - 2.0 * theta * sums.products + theta * theta * sums.squares_before,
        ..sums
    }
}
