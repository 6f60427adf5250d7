//! Whether versions got the shares of users that they should have got.
//!
//! If they did not, users were lost on the way in one arm, and no comparison of the others can be
//! trusted.

use statrs::distribution::{ChiSquared, ContinuousCDF};

use crate::sequential::mixture::ln_gamma_ratio;

/// The p-value of Pearson's chi-squared test of counts against shares that are 1 together. To be
/// looked at once, at the end. It is 1 if there are fewer than two arms or no users.
pub fn chi_squared_p_value(counts: &[u64], shares: &[f64]) -> f64 {
    let total: u64 = counts.iter().sum();
    let pairs = counts.iter().zip(shares);
    let statistic: f64 = pairs
        .map(|(count, share)| {
            let expected = share * total as f64;
            (*count as f64 - expected).powi(2) / expected
        })
        .sum();
    match ChiSquared::new(counts.len() as f64 - 1.0) {
        Ok(distribution) if total > 0 => distribution.sf(statistic),
        _ => 1.0,
    }
}

/// The log e-value against those shares, which may be looked at all the time: a Dirichlet mixture over
/// the multinomial likelihood (Lindon and Malek, "Anytime-valid inference for multinomial count data",
/// 2022). A larger `concentration` finds smaller deviations with more users; 10 000 is for those of a few
/// percent.
pub fn log_e(counts: &[u64], shares: &[f64], concentration: f64) -> f64 {
    let total: u64 = counts.iter().sum();
    let mut log_e = -ln_gamma_ratio(concentration, total as f64);
    for (count, share) in counts.iter().zip(shares) {
        let count = *count as f64;
        log_e += ln_gamma_ratio(concentration * share, count) - count * share.ln();
    }
    log_e
}
