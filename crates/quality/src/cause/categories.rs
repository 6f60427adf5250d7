//! How categories changed.

use super::explain::{Cause, Change, share};
use crate::profile::{CategoryBins, Profile};

/// A category counts as lost if so many of it would have come.
const EXPECTED_OF_LOST: f64 = 5.0;

pub(super) fn explain(bins: &CategoryBins, reference: &Profile, window: &Profile) -> Vec<Cause> {
    let mut causes = new(bins, reference, window);
    causes.extend(lost(bins, reference, window));
    let named: f64 = causes.iter().map(|cause| cause.share).sum();
    // What a lost category had, others have now, and what a new one has, they lost: not a cause of
    // its own.
    causes.extend(shares(bins, reference, window).filter(|cause| cause.share > 2.0 * named));
    causes
}

/// Names are only known of what is frequent: rare ones count for how many there are.
fn new(bins: &CategoryBins, reference: &Profile, window: &Profile) -> Vec<Cause> {
    let Some(others) = window.others() else {
        return Vec::new();
    };
    let known: Vec<(String, u64)> = reference
        .others()
        .map(|others| others.frequent())
        .unwrap_or_default();
    let unknown = |category: &str| bins.complete() || !known.iter().any(|(k, _)| k == category);
    let frequent = others
        .frequent()
        .into_iter()
        .filter(|(category, _)| unknown(category));
    let cause = |(category, count): (String, u64)| {
        let after = share(count, window);
        Cause {
            change: Change::NewCategory { category, after },
            share: after,
        }
    };
    frequent.map(cause).collect()
}

fn lost(bins: &CategoryBins, reference: &Profile, window: &Profile) -> Vec<Cause> {
    let mut causes = Vec::new();
    let counts = reference.bins().iter().zip(window.bins());
    for (category, (&r, &w)) in bins.categories().iter().zip(counts) {
        let before = share(r, reference);
        if w == 0 && before * window.rows() as f64 >= EXPECTED_OF_LOST {
            let change = Change::LostCategory {
                category: category.clone(),
                before,
            };
            causes.push(Cause {
                change,
                share: before,
            });
        }
    }
    causes
}

fn shares<'a>(
    bins: &'a CategoryBins,
    reference: &'a Profile,
    window: &'a Profile,
) -> impl Iterator<Item = Cause> + 'a {
    let counts = reference.bins().iter().zip(window.bins());
    let changes = counts.map(|(&r, &w)| (share(r, reference), share(w, window)));
    let moved: f64 = changes
        .clone()
        .map(|(before, after)| (after - before).max(0.0))
        .sum();
    let greatest = bins
        .categories()
        .iter()
        .zip(changes)
        .max_by(|(_, one), (_, other)| (one.1 - one.0).abs().total_cmp(&(other.1 - other.0).abs()));
    greatest
        .into_iter()
        .map(move |(category, (before, after))| Cause {
            change: Change::Shares {
                category: category.clone(),
                before,
                after,
            },
            share: moved,
        })
}
