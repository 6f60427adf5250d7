//! How a column changed.

use std::fmt;

use serde::Serialize;

use super::{categories, numbers};
use crate::profile::{Bins, Profile};

/// One way in which a column changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cause {
    /// What changed.
    pub change: Change,
    /// The share of rows that it touches, from 0 to 1.
    pub share: f64,
}

/// A kind of change.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Change {
    /// More, or fewer, values are missing or NaN.
    Missing {
        /// The share before.
        before: f64,
        /// The share now.
        after: f64,
    },
    /// Texts came in a column of numbers: another type, or another schema.
    WrongType {
        /// The share now.
        after: f64,
    },
    /// A category came that the reference does not have.
    NewCategory {
        /// Its name.
        category: String,
        /// At least this share has it.
        after: f64,
    },
    /// A category does not come any more.
    LostCategory {
        /// Its name.
        category: String,
        /// The share before.
        before: f64,
    },
    /// Categories have other shares than before; this one's changed most.
    Shares {
        /// Its name.
        category: String,
        /// The share before.
        before: f64,
        /// The share now.
        after: f64,
    },
    /// Numbers are multiplied: another unit, or another currency.
    Scale {
        /// By how much.
        factor: f64,
    },
    /// Numbers are greater or smaller by the same amount.
    Shift {
        /// By how much.
        by: f64,
        /// The same in standard deviations of the reference.
        deviations: f64,
    },
    /// Numbers spread more, or less, around a mean that is the same.
    Spread {
        /// The new standard deviation by the old one.
        factor: f64,
    },
    /// Every value is the same one now.
    Constant {
        /// The value.
        value: f64,
    },
    /// Numbers are below or above all of the reference.
    OutOfRange {
        /// The share below.
        below: f64,
        /// The share above.
        above: f64,
    },
    /// The distribution has another form.
    Form,
}

/// Shares that differ by less are not listed.
const LEAST_SHARE: f64 = 0.005;

/// How a column changed from a reference to a window, the most important first. Both must be
/// profiles of `bins`; otherwise, or if one has no rows, there is nothing to say.
///
/// It describes, and does not test: ask it of columns that have drifted.
pub fn explain(bins: &Bins, reference: &Profile, window: &Profile) -> Vec<Cause> {
    if !reference.is_of(bins) || !window.is_of(bins) || reference.rows() == 0 || window.rows() == 0
    {
        return Vec::new();
    }
    let mut causes = Vec::new();
    causes.extend(missing(reference, window));
    causes.extend(wrong_type(reference, window));
    match bins {
        Bins::Number(_) => causes.extend(numbers::explain(reference, window)),
        Bins::Category(bins) => causes.extend(categories::explain(bins, reference, window)),
    }
    causes.retain(|cause| cause.share >= LEAST_SHARE);
    causes.sort_by(|one, other| other.share.total_cmp(&one.share));
    causes
}

/// A share of the rows of a profile.
pub(super) fn share(count: u64, profile: &Profile) -> f64 {
    count as f64 / profile.rows() as f64
}

fn missing(reference: &Profile, window: &Profile) -> Option<Cause> {
    let of = |profile: &Profile| share(profile.missing().saturating_add(profile.nan()), profile);
    let (before, after) = (of(reference), of(window));
    let change = Change::Missing { before, after };
    (before != after).then_some(Cause {
        change,
        share: (after - before).abs(),
    })
}

fn wrong_type(reference: &Profile, window: &Profile) -> Option<Cause> {
    let before = share(reference.wrong_type(), reference);
    let after = share(window.wrong_type(), window);
    let change = Change::WrongType { after };
    (after > before).then_some(Cause {
        change,
        share: after - before,
    })
}

impl fmt::Display for Cause {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: &f64| format!("{:.1} %", 100.0 * share);
        match &self.change {
            Change::Missing { before, after } => {
                write!(
                    text,
                    "{} are missing, before {}",
                    percent(after),
                    percent(before)
                )
            }
            Change::WrongType { after } => {
                write!(text, "{} are texts in place of numbers", percent(after))
            }
            Change::NewCategory { category, after } => {
                write!(
                    text,
                    "the category {category:?} is new, with {}",
                    percent(after)
                )
            }
            Change::LostCategory { category, before } => {
                write!(
                    text,
                    "the category {category:?} is lost, before {}",
                    percent(before)
                )
            }
            Change::Shares {
                category,
                before,
                after,
            } => {
                let (before, after) = (percent(before), percent(after));
                write!(
                    text,
                    "the category {category:?} has {after}, before {before}"
                )
            }
            Change::Scale { factor } => write!(text, "values are multiplied by {}", short(*factor)),
            Change::Shift { by, deviations } => {
                let (way, by) = (
                    if *by > 0.0 { "greater" } else { "smaller" },
                    short(by.abs()),
                );
                let deviations = deviations.abs();
                write!(
                    text,
                    "values are {way} by {by}, which is {deviations:.2} standard deviations"
                )
            }
            Change::Spread { factor } => {
                write!(
                    text,
                    "values spread {} times as far around their mean",
                    short(*factor)
                )
            }
            Change::Constant { value } => write!(text, "all values are {value}"),
            Change::OutOfRange { below, above } => {
                let (below, above) = (percent(below), percent(above));
                write!(text, "{below} are below all before, and {above} above")
            }
            Change::Form => write!(text, "the distribution has another form"),
        }
    }
}

/// Three significant digits.
fn short(number: f64) -> String {
    let digits = 2.0 - number.abs().log10().floor();
    let scale = 10_f64.powf(digits);
    let rounded = (number * scale).round() / scale;
    if rounded.is_finite() {
        rounded.to_string()
    } else {
        number.to_string()
    }
}
