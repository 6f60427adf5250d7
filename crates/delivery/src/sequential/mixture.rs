//! Mixtures: bets on all alternatives at once, weighted by a prior.
//!
//! Source: Howard, Ramdas, McAuliffe, Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence
//! sequences", Annals of Statistics 49(2), 2021. `s` is the sum of deviations from the hypothesis, `v`
//! its intrinsic time (variance), `v_opt` the time at which the bound is tightest.

use statrs::distribution::{ContinuousCDF, Normal};
use statrs::function::gamma::ln_gamma;

/// The prior's variance that makes the two-sided normal mixture tightest at `v_opt`.
pub fn normal_rho(v_opt: f64, alpha_opt: f64) -> f64 {
    let log = 2.0 * (1.0 / alpha_opt).ln();
    v_opt / (log + log.ln_1p())
}

/// The log e-value of the two-sided normal mixture (Robbins 1970).
pub fn normal_log_e(s: f64, v: f64, rho: f64) -> f64 {
    0.5 * (rho / (v + rho)).ln() + s * s / (2.0 * (v + rho))
}

/// The log e-value of the one-sided normal mixture, which bets on positive sums only.
pub fn one_sided_normal_log_e(s: f64, v: f64, rho: f64) -> f64 {
    let deviation = (v + rho).sqrt();
    // Far below zero the logarithm of 0 says that the capital is lost.
    let below = Normal::standard().cdf(s / deviation).max(f64::MIN_POSITIVE);
    0.5 * (4.0 * rho / (v + rho)).ln() + s * s / (2.0 * (v + rho)) + below.ln()
}

/// The deviation that stays uncrossed with probability 1 − alpha, at all times.
pub fn normal_bound(v: f64, alpha: f64, rho: f64) -> f64 {
    ((v + rho) * ((v / rho).ln_1p() + 2.0 * (1.0 / alpha).ln())).sqrt()
}

/// The beta-binomial mixture for a success probability `p`, tightest after `n_opt` trials.
#[derive(Clone, Copy, Debug)]
pub struct BetaBinomial {
    p: f64,
    /// The prior's counts of successes and failures.
    prior: (f64, f64),
    normalizer: f64,
}

impl BetaBinomial {
    /// The mixture against `p`, which is between 0 and 1.
    pub fn new(p: f64, n_opt: f64, alpha_opt: f64) -> Self {
        let variance = p * (1.0 - p);
        let rho = normal_rho(n_opt * variance, alpha_opt);
        let r = (rho - variance).max(1e-3 * variance);
        let prior = (r / (1.0 - p), r / p);
        let normalizer = ln_beta(prior.0, prior.1);
        Self {
            p,
            prior,
            normalizer,
        }
    }

    /// The log e-value after so many successes in so many trials.
    pub fn log_e(&self, successes: f64, trials: f64) -> f64 {
        let failures = trials - successes;
        let (a, b) = self.prior;
        ln_beta(a + successes, b + failures)
            - self.normalizer
            - successes * self.p.ln()
            - failures * (1.0 - self.p).ln()
    }
}

/// The log of the beta function.
pub fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}

/// The log of Γ(a + n)/Γ(a).
pub fn ln_gamma_ratio(a: f64, n: f64) -> f64 {
    ln_gamma(a + n) - ln_gamma(a)
}
