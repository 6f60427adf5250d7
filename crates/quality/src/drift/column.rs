//! Whether a column of a window has the distribution of its reference.

use serde::{Deserialize, Serialize};

use super::dispersion::Dispersion;
use super::{Scores, chi_squared, exact_share, places, rank_sum, total_variation};
use crate::profile::{Bins, Kind, Profile};

/// A way in which a column can change, with a test of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The shares of the bins among values in them: chi-squared.
    Bins,
    /// Numbers became greater or smaller: rank-sum.
    Order,
    /// The share that is missing or NaN.
    Missing,
    /// The share of texts in a column of numbers.
    WrongType,
    /// The share of numbers below or above all those of the reference.
    OutOfRange,
    /// The share of categories without a bin.
    Other,
}

/// The test of one part.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PartTest {
    /// What was tested.
    pub part: Part,
    /// The chance of so much of a difference without drift.
    pub p_value: f64,
    /// How large the difference is, from 0 to 1: of a part that is a share of the rows, by how much
    /// it changed; of bins, the total variation; of the order, the chance that a value of the
    /// window is greater than one of the reference, less the chance of the opposite.
    pub effect: f64,
    /// By how many standard errors it rose, or fell if negative: about standard normal without
    /// drift. A [`Cusum`](crate::change::Cusum) of it over windows finds small lasting changes that
    /// no single window shows. `None` for bins, which have no direction.
    pub z: Option<f64>,
}

/// How a column differs from its reference, and how likely that is without drift.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ColumnDrift {
    /// Rows of the reference.
    pub rows_reference: u64,
    /// Rows of the window.
    pub rows_window: u64,
    /// Distances.
    pub scores: Scores,
    /// The tests of the parts that have values.
    pub tests: Vec<PartTest>,
}

impl ColumnDrift {
    /// Compares a window with its reference. Both must be profiles of `bins`; `None` if they are
    /// not, or if one has no rows. `dispersion` says how much windows differ that have not drifted;
    /// without it rows count as independent.
    pub fn compare(
        bins: &Bins,
        reference: &Profile,
        window: &Profile,
        dispersion: Option<&Dispersion>,
    ) -> Option<Self> {
        if !reference.is_of(bins) || !window.is_of(bins) {
            return None;
        }
        let scores = Scores::compare(bins, reference, window)?;
        let mut tests = Vec::new();
        for &part in parts(bins.kind()) {
            tests.extend(test(part, reference, window, dispersion));
        }
        Some(Self {
            rows_reference: reference.rows(),
            rows_window: window.rows(),
            scores,
            tests,
        })
    }

    /// The chance of so much of a difference without drift: the least p-value of the parts with at
    /// least this effect, multiplied by the number of all parts (Bonferroni). 1 if none has.
    pub fn p_value(&self, least_effect: f64) -> f64 {
        let least = self.surest(least_effect).map_or(1.0, |test| test.p_value);
        (least * self.tests.len() as f64).min(1.0)
    }

    /// Of the parts with at least this effect, the one that changed most surely; of those that are
    /// equally sure, the one with the greatest effect.
    pub fn surest(&self, least_effect: f64) -> Option<&PartTest> {
        let large = self.tests.iter().filter(|test| test.effect >= least_effect);
        large.min_by(|one, other| {
            let surer = one.p_value.total_cmp(&other.p_value);
            surer.then_with(|| other.effect.total_cmp(&one.effect))
        })
    }
}

/// The parts that a column of this kind has.
pub(super) fn parts(kind: Kind) -> &'static [Part] {
    match kind {
        Kind::Number => &[
            Part::Bins,
            Part::Order,
            Part::Missing,
            Part::WrongType,
            Part::OutOfRange,
        ],
        Kind::Category => &[Part::Bins, Part::Missing, Part::Other],
    }
}

/// How many values a part has, for those parts that are a share of all rows.
pub(super) fn hits(part: Part, profile: &Profile) -> Option<u64> {
    match part {
        Part::Bins | Part::Order => None,
        Part::Missing => Some(profile.missing().saturating_add(profile.nan())),
        Part::WrongType => Some(profile.wrong_type()),
        Part::OutOfRange => Some(profile.below().saturating_add(profile.above())),
        Part::Other => Some(profile.other()),
    }
}

/// `None` where there is nothing to test. That depends only on what both sides have together, which
/// says nothing about a difference between them; so the others need not be corrected for it.
fn test(
    part: Part,
    reference: &Profile,
    window: &Profile,
    dispersion: Option<&Dispersion>,
) -> Option<PartTest> {
    match part {
        Part::Bins => test_bins(reference.bins(), window.bins(), dispersion),
        Part::Order => test_order(reference, window, dispersion),
        Part::Missing | Part::WrongType | Part::OutOfRange | Part::Other => {
            let hits = [hits(part, reference)?, hits(part, window)?];
            let rows = [reference.rows(), window.rows()];
            let factor = dispersion.map(|dispersion| dispersion.factor(part, window.rows()));
            let mut test = test_share(part, hits, rows, dispersion.zip(factor))?;
            if part == Part::OutOfRange && hits[0] == 0 {
                test.p_value = test.p_value.max(beyond_extremes(hits[1], rows));
            }
            Some(test)
        }
    }
}

fn test_order(
    reference: &Profile,
    window: &Profile,
    dispersion: Option<&Dispersion>,
) -> Option<PartTest> {
    let test = rank_sum(&places::ascending(reference), &places::ascending(window))?;
    let effect = (2.0 * test.superiority - 1.0).abs();
    let Some(dispersion) = dispersion else {
        let (p_value, z) = (test.p_value, Some(test.z));
        return Some(PartTest {
            part: Part::Order,
            p_value,
            effect,
            z,
        });
    };
    let factor = dispersion.factor(Part::Order, window.rows());
    let p_value = dispersion.p_value(factor, test.z * test.z);
    Some(PartTest {
        part: Part::Order,
        p_value,
        effect,
        z: Some(test.z / factor.sqrt()),
    })
}

/// The chance that so many values are beyond the least and the greatest of a reference of the same
/// distribution: on each side, that the most extreme of all rows are all from the window, which is
/// geometric.
fn beyond_extremes(hits: u64, rows: [u64; 2]) -> f64 {
    let share = rows[1] as f64 / (rows[0] as f64 + rows[1] as f64);
    let hits = hits as f64;
    (share.powf(hits) * (1.0 + hits * (1.0 - share))).min(1.0)
}

fn test_bins(
    reference: &[u64],
    window: &[u64],
    dispersion: Option<&Dispersion>,
) -> Option<PartTest> {
    let p_value = match dispersion {
        None => {
            let (r, w) = places::pool_rare(reference, window);
            chi_squared(&r, &w)?.p_value
        }
        Some(dispersion) => test_each_bin(reference, window, dispersion)?,
    };
    let effect = total_variation(reference, window)?;
    Some(PartTest {
        part: Part::Bins,
        p_value,
        effect,
        z: None,
    })
}

fn test_each_bin(reference: &[u64], window: &[u64], dispersion: &Dispersion) -> Option<f64> {
    let all = |counts: &[u64]| counts.iter().copied().fold(0, u64::saturating_add);
    let rows = [all(reference), all(window)];
    if rows.contains(&0) {
        return None;
    }
    let mut p_values = Vec::new();
    for (bin, (&r, &w)) in reference.iter().zip(window).enumerate() {
        let factor = dispersion.factor_of_bin(bin, rows[1]);
        let test = test_share(Part::Bins, [r, w], rows, Some((dispersion, factor)));
        p_values.extend(test.map(|test| test.p_value));
    }
    let least = p_values.iter().copied().reduce(f64::min)?;
    Some((least * p_values.len() as f64).min(1.0))
}

/// Whether the share of hits changed. `None` if there are none.
fn test_share(
    part: Part,
    hits: [u64; 2],
    rows: [u64; 2],
    dispersion: Option<(&Dispersion, f64)>,
) -> Option<PartTest> {
    if hits == [0, 0] {
        return None;
    }
    let [share_r, share_w] = [0, 1].map(|side| hits[side] as f64 / rows[side] as f64);
    let [r, w] = [0, 1].map(|side| [hits[side], rows[side] - hits[side]]);
    let statistic = chi_squared(&r, &w).map_or(0.0, |test| test.statistic);
    let mut p_value = exact_share(hits[0], rows[0], hits[1], rows[1]);
    if let Some((dispersion, factor)) = dispersion {
        // Never surer than the exact test: chi-squared is too rough for rare values.
        p_value = p_value.max(dispersion.p_value(factor, statistic));
    }
    let factor = dispersion.map_or(1.0, |(_, factor)| factor);
    let z = (statistic / factor).sqrt().copysign(share_w - share_r);
    Some(PartTest {
        part,
        p_value,
        effect: (share_r - share_w).abs(),
        z: Some(z),
    })
}
