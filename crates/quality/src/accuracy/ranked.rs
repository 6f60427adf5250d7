//! How well scores separate two classes.

use super::estimate::{Confidence, Estimate};
use crate::moments::finite;

/// How many positives and negatives have a score, or are in a bin of scores.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Group {
    pub(crate) positives: f64,
    pub(crate) negatives: f64,
}

/// The area under the ROC curve: the chance that a positive has a higher score than a negative,
/// with a half where they are equal. `None` if there is one class alone, or a score is NaN.
pub fn roc_auc(scores: &[f64], positive: &[bool], confidence: Confidence) -> Option<Estimate> {
    area(&groups(scores, positive)?, confidence)
}

/// The average precision: the area under the curve of precision over recall, in steps without
/// interpolation. `None` if there are no positives, or a score is NaN. It has no interval.
pub fn average_precision(scores: &[f64], positive: &[bool]) -> Option<f64> {
    precision(&groups(scores, positive)?)
}

/// Ascending groups of equal scores.
fn groups(scores: &[f64], positive: &[bool]) -> Option<Vec<Group>> {
    if scores.len() != positive.len() || scores.iter().any(|score| score.is_nan()) {
        return None;
    }
    let mut pairs: Vec<(f64, bool)> = scores
        .iter()
        .copied()
        .zip(positive.iter().copied())
        .collect();
    pairs.sort_by(|one, other| one.0.total_cmp(&other.0));
    let equal = pairs.chunk_by(|one, other| one.0 == other.0);
    Some(equal.map(group).collect())
}

fn group(pairs: &[(f64, bool)]) -> Group {
    let positives = pairs.iter().filter(|pair| pair.1).count();
    Group {
        positives: positives as f64,
        negatives: (pairs.len() - positives) as f64,
    }
}

/// The area from ascending groups, with the standard error of DeLong, DeLong and Clarke-Pearson
/// ("Comparing the areas under two or more correlated receiver operating characteristic curves",
/// 1988).
pub(crate) fn area(groups: &[Group], confidence: Confidence) -> Option<Estimate> {
    let positives: f64 = groups.iter().map(|group| group.positives).sum();
    let negatives: f64 = groups.iter().map(|group| group.negatives).sum();
    if positives == 0.0 || negatives == 0.0 {
        return None;
    }
    // For a positive, the share of negatives that are below it; for a negative, the share of
    // positives that are above it. Both have the area as their mean.
    let (mut below, mut above) = (0.0, positives);
    let (mut wins, mut of_positives, mut of_negatives) = (0.0, 0.0, 0.0);
    for group in groups {
        above -= group.positives;
        let beaten = (below + group.negatives / 2.0) / negatives;
        let lost = (above + group.positives / 2.0) / positives;
        wins += group.positives * beaten;
        of_positives += group.positives * beaten * beaten;
        of_negatives += group.negatives * lost * lost;
        below += group.negatives;
    }
    let area = wins / positives;
    let spread = |squares: f64, n: f64| {
        if n > 1.0 {
            (squares - n * area * area).max(0.0) / (n - 1.0) / n
        } else {
            f64::INFINITY
        }
    };
    let error = (spread(of_positives, positives) + spread(of_negatives, negatives)).sqrt();
    let n = (positives + negatives) as u64;
    if error.is_infinite() {
        // One positive, or one negative: nothing is known about how others would vary.
        return Some(Estimate {
            value: area,
            low: 0.0,
            high: 1.0,
            n,
        });
    }
    Estimate::normal(area, error, n, confidence, [0.0, 1.0])
}

/// The average precision from ascending groups.
pub(crate) fn precision(groups: &[Group]) -> Option<f64> {
    let positives: f64 = groups.iter().map(|group| group.positives).sum();
    let (mut hits, mut answered, mut sum) = (0.0, 0.0, 0.0);
    for group in groups
        .iter()
        .rev()
        .filter(|group| group.positives + group.negatives > 0.0)
    {
        hits += group.positives;
        answered += group.positives + group.negatives;
        sum += group.positives * hits / answered;
    }
    if positives == 0.0 {
        None
    } else {
        finite(sum / positives)
    }
}
