//! Quantiles of histograms: their confidence sequence, and whether two are equal.
//!
//! Source: Howard and Ramdas, "Sequential estimation of quantiles with applications to A/B testing and
//! best-arm identification", Bernoulli 28(3), 2022: theorem 1 with the beta-binomial mixture, and
//! theorem 5.

use super::arms::Arms;
use super::evidence::p_value;
use super::mixture::BetaBinomial;

/// How the observations of one arm compare with "the quantile is here", for each bin.
struct Profile {
    /// Observations below a bin, and up to and including it.
    cumulative: Vec<(f64, f64)>,
    total: f64,
    mixture: BetaBinomial,
    /// The number of observations below the quantile for which the e-value is smallest.
    best: f64,
}

impl Profile {
    fn new(histogram: &[u64], p: f64, n_opt: f64) -> Self {
        let mut below = 0.0;
        let mut cumulative = Vec::with_capacity(histogram.len());
        for count in histogram {
            let upto = below + *count as f64;
            cumulative.push((below, upto));
            below = upto;
        }
        let mixture = BetaBinomial::new(p, n_opt, 0.05);
        let best = least(&mixture, below);
        Self {
            cumulative,
            total: below,
            mixture,
            best,
        }
    }

    /// The log e-value against "the quantile is in this bin". Anything between the observations below
    /// the bin and those up to it can lie below the quantile.
    fn log_e(&self, bin: usize) -> f64 {
        let (below, upto) = self.cumulative[bin];
        self.mixture.log_e(self.best.clamp(below, upto), self.total)
    }
}

/// Where the convex log e-value is smallest, over the number of successes in `trials`.
fn least(mixture: &BetaBinomial, trials: f64) -> f64 {
    let (mut low, mut high) = (0.0, trials);
    for _ in 0..100 {
        let third = (high - low) / 3.0;
        if mixture.log_e(low + third, trials) < mixture.log_e(high - third, trials) {
            high -= third;
        } else {
            low += third;
        }
    }
    f64::midpoint(low, high)
}

/// The p-value of "both have the same `p`-quantile", valid at all times. Both histograms have the same
/// bins, in order; `n_opt` is the number of observations of an arm at which it shall be most sensitive.
/// All arms need at least one observation, else the value is 1.
pub fn quantile_p_value(histograms: Arms<&[u64]>, p: f64, n_opt: f64) -> f64 {
    let profiles = histograms.map(|histogram| Profile::new(histogram, p, n_opt));
    if profiles.candidate.total == 0.0 || profiles.control.total == 0.0 {
        return 1.0;
    }
    let bins = profiles
        .candidate
        .cumulative
        .len()
        .min(profiles.control.cumulative.len());
    let sums = (0..bins).map(|bin| profiles.candidate.log_e(bin) + profiles.control.log_e(bin));
    p_value(sums.fold(f64::INFINITY, f64::min))
}

/// The first and the last bin in which the `p`-quantile can be, at all times together with probability
/// 1 − `alpha`; `None` for an empty histogram.
pub fn quantile_interval(
    histogram: &[u64],
    p: f64,
    alpha: f64,
    n_opt: f64,
) -> Option<(usize, usize)> {
    let profile = Profile::new(histogram, p, n_opt);
    if profile.total == 0.0 {
        return None;
    }
    let threshold = (1.0 / alpha).ln();
    let mut accepted = (0..histogram.len()).filter(|bin| profile.log_e(*bin) <= threshold);
    let first = accepted.next()?;
    Some((first, accepted.next_back().unwrap_or(first)))
}
