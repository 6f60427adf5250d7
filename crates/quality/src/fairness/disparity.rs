//! How far groups are apart.

use serde::Serialize;

use super::groups::Group;
use crate::accuracy::{Confidence, Estimate};
use crate::moments::finite;

/// A rate that groups are compared by.
#[derive(Clone, Copy)]
pub(super) enum Rate {
    Selection,
    TruePositive,
    FalsePositive,
    Precision,
}

/// How far apart the group with the highest rate is from the one with the lowest.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Disparity {
    /// The group with the highest rate.
    pub highest: String,
    /// The group with the lowest rate.
    pub lowest: String,
    /// The highest rate less the lowest: 0 if they are equal.
    pub difference: Estimate,
    /// The lowest rate divided by the highest: 1 if they are equal. `None` if both are 0.
    pub ratio: Option<Estimate>,
    /// How many groups were compared.
    pub groups: usize,
}

/// Disparities between groups, as fairlearn defines them. `None` if fewer than two groups have
/// enough rows.
///
/// Intervals hold for all pairs of groups at once (Bonferroni), since the two that are furthest
/// apart are picked: the highest of many is far from the lowest by chance alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Disparities {
    /// Of selection rates.
    pub demographic_parity: Option<Disparity>,
    /// Of true positive rates.
    pub equal_opportunity: Option<Disparity>,
    /// Of false positive rates.
    pub false_positive_parity: Option<Disparity>,
    /// Of precisions.
    pub predictive_parity: Option<Disparity>,
    /// The greater of the differences of true positive rates and of false positive rates.
    pub equalized_odds_difference: Option<Estimate>,
    /// The lower of the ratios of true positive rates and of false positive rates.
    pub equalized_odds_ratio: Option<Estimate>,
}

impl Disparities {
    pub(super) fn between(groups: &[Group], least_rows: u64, confidence: Confidence) -> Self {
        let of = |rate: Rate| Disparity::of(groups, rate, least_rows, confidence);
        let (opportunity, false_positives) = (of(Rate::TruePositive), of(Rate::FalsePositive));
        let both = opportunity.as_ref().zip(false_positives.as_ref());
        let difference = both.map(|(one, other)| {
            let [one, other] = [one.difference, other.difference];
            if one.value >= other.value { one } else { other }
        });
        let ratio = both.and_then(|(one, other)| {
            let (one, other) = (one.ratio?, other.ratio?);
            Some(if one.value <= other.value { one } else { other })
        });
        Self {
            demographic_parity: of(Rate::Selection),
            equal_opportunity: opportunity,
            false_positive_parity: false_positives,
            predictive_parity: of(Rate::Precision),
            equalized_odds_difference: difference,
            equalized_odds_ratio: ratio,
        }
    }
}

impl Disparity {
    fn of(groups: &[Group], rate: Rate, least_rows: u64, confidence: Confidence) -> Option<Self> {
        let counted = groups.iter().map(|group| (group, group.counts(rate)));
        let enough: Vec<(&Group, [u64; 2])> = counted
            .filter(|(_, counts)| counts[1] >= least_rows.max(1))
            .collect();
        if enough.len() < 2 {
            return None;
        }
        let by_share = |one: &&(&Group, [u64; 2]), other: &&(&Group, [u64; 2])| {
            share(one.1).total_cmp(&share(other.1))
        };
        let (highest, lowest) = (
            enough.iter().max_by(by_share)?,
            enough.iter().min_by(by_share)?,
        );
        let pairs = (enough.len() * (enough.len() - 1) / 2) as f64;
        let joint = Confidence::new(1.0 - (1.0 - f64::from(confidence)) / pairs)?;
        Some(Self {
            highest: highest.0.name.clone(),
            lowest: lowest.0.name.clone(),
            difference: difference(highest.1, lowest.1, joint)?,
            ratio: ratio(lowest.1, highest.1, joint),
            groups: enough.len(),
        })
    }
}

fn share([hits, n]: [u64; 2]) -> f64 {
    hits as f64 / n as f64
}

/// The difference of two shares, with the interval of Newcombe ("Interval estimation for the
/// difference between independent proportions", 1998, method 10), which comes from those of Wilson.
fn difference(one: [u64; 2], other: [u64; 2], confidence: Confidence) -> Option<Estimate> {
    let (first, second) = (
        Estimate::share(one[0], one[1], confidence)?,
        Estimate::share(other[0], other[1], confidence)?,
    );
    let value = first.value - second.value;
    let down = (first.value - first.low).hypot(second.high - second.value);
    let up = (first.high - first.value).hypot(second.value - second.low);
    Some(Estimate {
        value,
        low: value - down,
        high: value + up,
        n: one[1].saturating_add(other[1]),
    })
}

/// The ratio of two shares, with the interval of Walter ("The distribution of Levin's measure of
/// attributable risk", 1975): that of the logarithm, with one half added to the counts so that none
/// is 0.
fn ratio(one: [u64; 2], other: [u64; 2], confidence: Confidence) -> Option<Estimate> {
    let value = finite(share(one) / share(other))?;
    let [hits_1, n_1, hits_2, n_2] = [one[0], one[1], other[0], other[1]].map(|n| n as f64 + 0.5);
    let middle = (hits_1 / n_1 / (hits_2 / n_2)).ln();
    let variance = 1.0 / hits_1 - 1.0 / n_1 + 1.0 / hits_2 - 1.0 / n_2;
    let half = confidence.z() * variance.sqrt();
    let (low, high) = (
        (middle - half).exp().min(value),
        (middle + half).exp().max(value),
    );
    Some(Estimate {
        value,
        low,
        high,
        n: one[1].saturating_add(other[1]),
    })
}
