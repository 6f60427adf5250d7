//! The counts of a profile in one row.

use crate::profile::Profile;

/// Counts in all places that a value can have: those beside the bins come last. What is missing,
/// out of range, of the wrong type or new has places of its own, so no distance loses sight of it.
pub(crate) fn all(profile: &Profile) -> Vec<u64> {
    let mut counts = profile.bins().to_vec();
    counts.extend([
        profile.below(),
        profile.above(),
        profile.other(),
        profile.missing(),
        profile.nan(),
        profile.wrong_type(),
    ]);
    counts
}

/// Counts of numbers in ascending order, from below the range to above it.
pub(super) fn ascending(profile: &Profile) -> Vec<u64> {
    let mut counts = vec![profile.below()];
    counts.extend(profile.bins());
    counts.push(profile.above());
    counts
}

/// Two rows of counts with the rarest bins put together, so that in each at least `LEAST_EXPECTED`
/// are expected of either side; what is rarer than that even together is left out.
pub(super) fn pool_rare(reference: &[u64], window: &[u64]) -> (Vec<u64>, Vec<u64>) {
    let rows_r: f64 = reference.iter().map(|&count| count as f64).sum();
    let rows_w: f64 = window.iter().map(|&count| count as f64).sum();
    let least_share = rows_r.min(rows_w) / (rows_r + rows_w);
    let expected = |(r, w): (u64, u64)| (r as f64 + w as f64) * least_share;
    let mut pooled = (Vec::new(), Vec::new());
    let mut rare = (0_u64, 0_u64);
    for (&r, &w) in reference.iter().zip(window) {
        if expected((r, w)) >= LEAST_EXPECTED {
            pooled.0.push(r);
            pooled.1.push(w);
        } else {
            rare = (rare.0.saturating_add(r), rare.1.saturating_add(w));
        }
    }
    if expected(rare) >= LEAST_EXPECTED {
        pooled.0.push(rare.0);
        pooled.1.push(rare.1);
    }
    pooled
}

/// Cochran's rule for when chi-squared may be trusted ("The chi-squared test of goodness of fit",
/// 1952).
const LEAST_EXPECTED: f64 = 5.0;
