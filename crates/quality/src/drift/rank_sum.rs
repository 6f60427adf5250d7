//! The rank-sum test on counts in bins that have an order.

use std::f64::consts::SQRT_2;

use statrs::function::erf::erfc;

/// The result of [`rank_sum`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RankSum {
    /// The chance that a value of the window is greater than one of the reference; a half of it
    /// where they are equal. 0.5 if nothing changed.
    pub superiority: f64,
    /// How many standard errors that is away from 0.5.
    pub z: f64,
    /// The two-sided p-value.
    pub p_value: f64,
}

/// The test of Wilcoxon, Mann and Whitney on values in bins, with the correction for ties and
/// without one for continuity: finds small shifts sooner than tests that know no order. `None` if a
/// side has no values, the lengths differ, or all values are in one bin.
pub fn rank_sum(reference: &[u64], window: &[u64]) -> Option<RankSum> {
    if reference.len() != window.len() {
        return None;
    }
    let rows_r: f64 = reference.iter().map(|&count| count as f64).sum();
    let rows_w: f64 = window.iter().map(|&count| count as f64).sum();
    if rows_r == 0.0 || rows_w == 0.0 {
        return None;
    }
    let (mut below, mut u, mut ties) = (0.0, 0.0, 0.0);
    let rows = rows_r + rows_w;
    for (&r, &w) in reference.iter().zip(window) {
        let (r, w) = (r as f64, w as f64);
        u += w * (below + r / 2.0);
        below += r;
        let share = (r + w) / rows;
        ties += share.powi(3);
    }
    // (n^3 - sum t^3) / (n (n - 1)), divided by n to stay in range.
    let spread = (1.0 - ties) * rows * rows / (rows - 1.0);
    let variance = rows_r * rows_w / 12.0 * spread;
    if variance <= 0.0 || !variance.is_finite() {
        return None;
    }
    let z = (u - rows_r * rows_w / 2.0) / variance.sqrt();
    let p_value = erfc(z.abs() / SQRT_2).clamp(0.0, 1.0);
    Some(RankSum {
        superiority: u / (rows_r * rows_w),
        z,
        p_value,
    })
}
