//! Distances of numbers from their counts in bins.

use super::places;
use crate::moments::finite;
use crate::profile::{NumberBins, Profile};

/// The greatest distance between the cumulative distributions at an edge of a bin: never above the
/// statistic of Kolmogorov and Smirnov, and below it by less than what is in one bin.
pub(super) fn kolmogorov_smirnov(reference: &Profile, window: &Profile) -> Option<f64> {
    let steps = cumulative(reference)?.into_iter().zip(cumulative(window)?);
    finite(steps.map(|(r, w)| (r - w).abs()).fold(0.0, f64::max))
}

/// The Wasserstein distance of order one, with the values of a bin spread evenly over it, and those
/// out of range between the range and the most extreme of them: off by at most the width of a bin.
/// `None` also if a value is infinite, which has no distance.
pub(super) fn wasserstein(bins: &NumberBins, reference: &Profile, window: &Profile) -> Option<f64> {
    let all_finite = |profile: &Profile| {
        let counts = places::ascending(profile)
            .into_iter()
            .fold(0, u64::saturating_add);
        counts == profile.moments().count()
    };
    if !all_finite(reference) || !all_finite(window) {
        return None;
    }
    let least = reference
        .least()
        .into_iter()
        .chain(window.least())
        .fold(f64::INFINITY, f64::min);
    let greatest = reference
        .greatest()
        .into_iter()
        .chain(window.greatest())
        .fold(least, f64::max);
    let range = (bins.least()?, bins.greatest()?);
    let mut edges = vec![least.min(range.0), range.0];
    edges.extend(bins.upper());
    edges.push(greatest.max(range.1));
    let differences = cumulative(reference)?.into_iter().zip(cumulative(window)?);
    let differences: Vec<f64> = differences.map(|(r, w)| r - w).collect();
    let mut before = 0.0;
    let mut area = 0.0;
    for (pair, &after) in edges.windows(2).zip(&differences) {
        area += mean_distance(before, after) * (pair[1] - pair[0]);
        before = after;
    }
    finite(area)
}

/// The mean of the absolute value of a line from `one` to `other`.
fn mean_distance(one: f64, other: f64) -> f64 {
    if one * other >= 0.0 {
        return (one.abs() + other.abs()) / 2.0;
    }
    (one * one + other * other) / (2.0 * (one - other).abs())
}

/// The share of numbers up to the end of each place, in ascending order.
fn cumulative(profile: &Profile) -> Option<Vec<f64>> {
    let counts = places::ascending(profile);
    let all: f64 = counts.iter().map(|&count| count as f64).sum();
    if all == 0.0 {
        return None;
    }
    let mut below = 0.0;
    let shares = counts.iter().map(|&count| {
        below += count as f64;
        below / all
    });
    Some(shares.collect())
}
