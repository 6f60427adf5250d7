//! The chi-squared test of homogeneity.

use statrs::function::gamma::checked_gamma_ur;

/// The result of [`chi_squared`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChiSquared {
    /// Pearson's statistic, without a correction for continuity.
    pub statistic: f64,
    /// One less than the bins with values.
    pub degrees_of_freedom: u64,
    /// The chance of this statistic, or a greater one, where both have the same distribution.
    pub p_value: f64,
    /// The least count that was expected in a bin. Below about 5 the p-value is too rough.
    pub least_expected: f64,
}

/// Pearson's chi-squared test of whether two rows of counts have the same distribution. Both are
/// samples: the reference is not taken for exact. `None` if a side has no values, the lengths
/// differ, or there is one bin alone.
pub fn chi_squared(reference: &[u64], window: &[u64]) -> Option<ChiSquared> {
    if reference.len() != window.len() {
        return None;
    }
    let rows_r: f64 = reference.iter().map(|&count| count as f64).sum();
    let rows_w: f64 = window.iter().map(|&count| count as f64).sum();
    if rows_r == 0.0 || rows_w == 0.0 {
        return None;
    }
    let (mut statistic, mut bins, mut least_expected) = (0.0, 0_u64, f64::INFINITY);
    for (&r, &w) in reference
        .iter()
        .zip(window)
        .filter(|&(&r, &w)| r > 0 || w > 0)
    {
        let both = (r as f64 + w as f64) / (rows_r + rows_w);
        let (expected_r, expected_w) = (both * rows_r, both * rows_w);
        statistic += (r as f64 - expected_r).powi(2) / expected_r;
        statistic += (w as f64 - expected_w).powi(2) / expected_w;
        least_expected = least_expected.min(expected_r).min(expected_w);
        bins += 1;
    }
    let degrees_of_freedom = bins.checked_sub(1).filter(|&degrees| degrees > 0)?;
    let p_value = survival(statistic, degrees_of_freedom);
    Some(ChiSquared {
        statistic,
        degrees_of_freedom,
        p_value,
        least_expected,
    })
}

/// The chance that a chi-squared variable is greater.
pub(crate) fn survival(statistic: f64, degrees_of_freedom: u64) -> f64 {
    if statistic <= 0.0 {
        return 1.0;
    }
    let chance = checked_gamma_ur(degrees_of_freedom as f64 / 2.0, statistic / 2.0);
    // Fails for infinity alone.
    chance.unwrap_or(0.0).clamp(0.0, 1.0)
}
