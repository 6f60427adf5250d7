//! The shares of a column before and after.

use serde::Serialize;

use super::explain::share;
use crate::profile::{Bins, Profile};

/// A bar of a histogram.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bar {
    /// The bin: `(10, 20]`, a category, or what is beside them.
    pub label: String,
    /// The share of the reference.
    pub before: f64,
    /// The share of the window.
    pub after: f64,
}

/// The shares of all bins, and of what is beside them where there is any. Empty unless both are
/// profiles of `bins` with rows.
pub fn histogram(bins: &Bins, reference: &Profile, window: &Profile) -> Vec<Bar> {
    if !reference.is_of(bins) || !window.is_of(bins) || reference.rows() == 0 || window.rows() == 0
    {
        return Vec::new();
    }
    let bar = |label: String, before: u64, after: u64| Bar {
        label,
        before: share(before, reference),
        after: share(after, window),
    };
    let counts = reference.bins().iter().zip(window.bins()).enumerate();
    let in_bins = counts.map(|(bin, (&r, &w))| bar(bins.label(bin).unwrap_or_default(), r, w));
    let below = bar("below".to_owned(), reference.below(), window.below());
    let beside = [
        ("above", reference.above(), window.above()),
        ("other", reference.other(), window.other()),
        ("missing", reference.missing(), window.missing()),
        ("NaN", reference.nan(), window.nan()),
        ("wrong type", reference.wrong_type(), window.wrong_type()),
    ];
    let beside = beside.map(|(label, r, w)| bar(label.to_owned(), r, w));
    let has_any = |bar: &Bar| bar.before > 0.0 || bar.after > 0.0;
    let below = Some(below).filter(has_any);
    below
        .into_iter()
        .chain(in_bins)
        .chain(beside.into_iter().filter(has_any))
        .collect()
}
