//! How numbers changed.

use super::explain::{Cause, Change, share};
use crate::drift::total_variation;
use crate::profile::Profile;

/// A spread that changed by less than this factor is the same.
const SAME_SPREAD: f64 = 1.2;
/// A mean that moved by less than this many standard deviations is the same.
const SAME_MEAN: f64 = 0.05;
/// Factors within 3 % of a round one are that one.
const ROUNDING: f64 = 0.03;
/// Powers of ten, time, length, weight, and the quarter-turn of angles.
const ROUND_FACTORS: [f64; 14] = [
    10.0, 100.0, 1000.0, 1e4, 1e5, 1e6, 1e9, 60.0, 3600.0, 86_400.0, 2.54, 1.609_344, 2.204_62, 2.0,
];

pub(super) fn explain(reference: &Profile, window: &Profile) -> Vec<Cause> {
    let mut causes = Vec::new();
    let whole = whole_change(reference, window);
    let explained = matches!(
        whole,
        Some(Change::Scale { .. } | Change::Shift { .. } | Change::Constant { .. })
    );
    if let Some(change) = whole {
        causes.push(Cause {
            change,
            share: moved(reference, window),
        });
    }
    causes.extend(out_of_range(reference, window).filter(|_| !explained));
    causes
}

/// The share of numbers that would have to change back.
fn moved(reference: &Profile, window: &Profile) -> f64 {
    let numbers = |profile: &Profile| {
        let mut counts = profile.bins().to_vec();
        counts.extend([profile.below(), profile.above()]);
        counts
    };
    total_variation(&numbers(reference), &numbers(window)).unwrap_or(0.0)
}

/// What would make the numbers of the window from those of the reference, if it is the same for all
/// of them.
fn whole_change(reference: &Profile, window: &Profile) -> Option<Change> {
    let (before, after) = (reference.moments(), window.moments());
    let (mean, mean_now) = (before.mean()?, after.mean()?);
    let (deviation, now) = (before.standard_deviation()?, after.standard_deviation()?);
    if window.least() == window.greatest() && deviation > 0.0 && after.count() >= 10 {
        return window.least().map(|value| Change::Constant { value });
    }
    if deviation == 0.0 || now == 0.0 {
        let by = mean_now - mean;
        return (by != 0.0).then_some(Change::Form);
    }
    let factor = now / deviation;
    let by = mean_now - mean;
    // Four standard errors of what the comparison is with.
    let error = 4.0
        * (now / (after.count() as f64).sqrt()).hypot(deviation / (before.count() as f64).sqrt());
    let same_spread = factor.max(1.0 / factor) < SAME_SPREAD;
    if !same_spread {
        for signed in [factor, -factor] {
            let scaled_error = error.max(4.0 * factor * deviation / (before.count() as f64).sqrt());
            let off = (mean_now - signed * mean).abs();
            let near = off < scaled_error + 0.1 * now;
            if near && few_beyond(reference, window, signed) {
                return Some(Change::Scale {
                    factor: rounded(signed),
                });
            }
        }
        let centred = by.abs() < error + SAME_MEAN * deviation.max(now);
        return Some(if centred {
            Change::Spread { factor }
        } else {
            Change::Form
        });
    }
    let shifted = by.abs() > SAME_MEAN * deviation && by.abs() > error / 2.0;
    Some(if shifted {
        Change::Shift {
            by,
            deviations: by / deviation,
        }
    } else {
        Change::Form
    })
}

/// Whether the window reaches about as far as the reference would, multiplied: if only some rows
/// are multiplied, the mean and the deviation may fit, but not this.
fn few_beyond(reference: &Profile, window: &Profile, factor: f64) -> bool {
    let ends = [reference.least(), reference.greatest()].map(|end| end.map(|end| end * factor));
    let [Some(one), Some(other)] = ends else {
        return false;
    };
    let (low, high) = (one.min(other), one.max(other));
    let (Some(least), Some(greatest)) = (window.least(), window.greatest()) else {
        return false;
    };
    let slack = 0.5 * (high - low);
    least >= low - slack && greatest <= high + slack
}

fn rounded(factor: f64) -> f64 {
    for round in ROUND_FACTORS {
        for round in [round, 1.0 / round] {
            if (factor.abs() / round - 1.0).abs() < ROUNDING {
                return round * factor.signum();
            }
        }
    }
    factor
}

fn out_of_range(reference: &Profile, window: &Profile) -> impl Iterator<Item = Cause> {
    let of = |profile: &Profile| {
        (
            share(profile.below(), profile),
            share(profile.above(), profile),
        )
    };
    let (before, (below, above)) = (of(reference), of(window));
    let more = below + above - before.0 - before.1;
    let change = Change::OutOfRange { below, above };
    (more > 0.0)
        .then_some(Cause {
            change,
            share: more,
        })
        .into_iter()
}
