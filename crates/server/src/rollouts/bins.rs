//! The bins of scores, chosen by what the version before has given.

/// Scores that differ by no more than this part of their size are the same: engines add up in different
/// orders.
const TOLERANCE: f64 = 1e-3;
const LEAST_TOLERANCE: f64 = 1e-6;

/// The upper ends of up to so many bins, all but the last, that hold about equal parts of the scores.
///
/// An end lies between two different scores, in the middle: those of trees and rules are few, and rounding
/// must not move them into another bin. Where a bin would hold nothing but the smallest or the largest
/// score, there is another one for what lies beyond.
pub(super) fn bin_ends(mut scores: Vec<f64>, bins: usize) -> Vec<f64> {
    scores.retain(|score| score.is_finite());
    scores.sort_by(f64::total_cmp);
    let count = scores.len();
    let (Some(smallest), Some(largest)) = (scores.first().copied(), scores.last().copied()) else {
        return Vec::new();
    };
    let quantiles = (1..bins).map(|bin| scores[(count * bin / bins).max(1) - 1]);
    let quantiles: Vec<f64> = quantiles.collect();
    let mut ends = Vec::with_capacity(bins);
    if quantiles.first() == Some(&smallest) {
        // Finite, as it is persisted.
        ends.push((smallest - tolerance(smallest)).max(f64::MIN));
    }
    for quantile in quantiles {
        let next = scores.partition_point(|score| *score <= quantile);
        ends.push(match scores.get(next) {
            Some(next) => f64::midpoint(quantile, *next),
            None => (largest + tolerance(largest)).min(f64::MAX),
        });
    }
    ends.dedup();
    if ends.len() >= bins {
        ends.remove(bins / 2);
    }
    ends
}

fn tolerance(score: f64) -> f64 {
    (score.abs() * TOLERANCE).max(LEAST_TOLERANCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bin(ends: &[f64], score: f64) -> usize {
        ends.partition_point(|end| *end < score)
    }

    #[test]
    fn bins_hold_equal_parts_of_the_scores() {
        let scores = (0..100).map(f64::from).rev().collect();
        assert_eq!(bin_ends(scores, 4), [24.5, 49.5, 74.5]);
    }

    #[test]
    fn equal_scores_have_bins_beside_them() {
        let ends = bin_ends(vec![1.0; 100], 10);
        let own = bin(&ends, 1.0);
        assert_eq!(bin(&ends, 1.000_000_1), own, "rounding");
        assert_eq!(bin(&ends, 0.999_999_9), own);
        assert_ne!(bin(&ends, 2.0), own);
        assert_ne!(bin(&ends, 0.0), own);
        assert_ne!(bin(&ends, 0.0), bin(&ends, 2.0));
    }

    #[test]
    fn few_different_scores_are_told_apart() {
        let scores: Vec<f64> = (0..100).map(|at| f64::from(at % 3) / 2.0).collect();
        let ends = bin_ends(scores, 10);
        let bins: Vec<usize> = [-1.0, 0.0, 0.5, 1.0, 2.0]
            .map(|score| bin(&ends, score))
            .to_vec();
        assert!(bins.is_sorted_by(|one, other| one < other), "{bins:?}");
        assert_eq!(bin(&ends, 0.5), bin(&ends, 0.500_001));
    }

    #[test]
    fn ends_are_finite() {
        let ends = bin_ends(vec![f64::MAX, f64::MIN, f64::INFINITY, f64::NAN], 3);
        assert!(ends.iter().all(|end| end.is_finite()), "{ends:?}");
    }

    #[test]
    fn there_are_never_more_bins_than_asked_for() {
        for heavy in 1..30 {
            let scores: Vec<f64> = (0..100).map(|at| f64::from(at.max(heavy))).collect();
            for bins in 2..20 {
                let ends = bin_ends(scores.clone(), bins);
                assert!(ends.len() < bins && ends.is_sorted());
            }
        }
    }
}
