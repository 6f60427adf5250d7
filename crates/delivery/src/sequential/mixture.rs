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
    let z = s / (v + rho).sqrt();
    0.5 * (4.0 * rho / (v + rho)).ln() + half_square_and_log_cdf(z)
}

/// Below this, the normal distribution function is taken from its asymptotic series, whose third term is
/// below 1e-5 of it there.
const FAR_BELOW: f64 = -20.0;

/// z²/2 + ln Φ(z). Far below zero both are large and cancel out, so they are not computed one by one: what is
/// left is −ln(−z√2π) + ln(1 − 1/z² + 3/z⁴) (Abramowitz and Stegun, 26.2.12).
fn half_square_and_log_cdf(z: f64) -> f64 {
    if z >= FAR_BELOW {
        return z * z / 2.0 + Normal::standard().cdf(z).ln();
    }
    let inverse = 1.0 / (z * z);
    let tail = (3.0 * inverse - 1.0) * inverse;
    tail.ln_1p() - (-z * (2.0 * std::f64::consts::PI).sqrt()).ln()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_speaks_against_a_difference_never_becomes_evidence_for_it() {
        let mut before = f64::INFINITY;
        for exponent in -20..=60 {
            // From 100 standard deviations above zero to a million below.
            let z = 100.0 - 1.3_f64.powi(exponent);
            let log_e = one_sided_normal_log_e(z * 2_f64.sqrt(), 1.0, 1.0);
            assert!(
                log_e.is_finite() && log_e <= before,
                "at z {z}: {log_e} after {before}"
            );
            before = log_e;
        }
        assert!(before < -10.0);
    }

    #[test]
    fn the_series_continues_the_distribution_function() {
        let [near, far] = [FAR_BELOW, FAR_BELOW - 1e-9].map(half_square_and_log_cdf);
        assert!((near - far).abs() < 1e-6, "{near} {far}");
    }
}
