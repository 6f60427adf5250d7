//! How numbers changed.

use super::explain::{Cause, Change, share};
use crate::drift::total_variation;
use crate::profile::Profile;

/// A spread that changed by less than this factor is the same.
const SAME_SPREAD: f64 = 1.2;
/// One that changed by less than this factor may still be, if a few large numbers make it.
const VARYING_SPREAD: f64 = 1.6;
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

/// Mean, standard deviation and the standard error of the mean.
struct Numbers {
    mean: f64,
    deviation: f64,
    error: f64,
}

impl Numbers {
    fn of(profile: &Profile) -> Option<Self> {
        let moments = profile.moments();
        let (mean, error) = (moments.mean()?, moments.standard_error()?);
        Some(Self {
            mean,
            deviation: moments.standard_deviation()?,
            error,
        })
    }
}

/// What would make the numbers of the window from those of the reference, if it is the same for
/// all of them.
fn whole_change(reference: &Profile, window: &Profile) -> Option<Change> {
    let (before, after) = (Numbers::of(reference)?, Numbers::of(window)?);
    let by = after.mean - before.mean;
    if window.least() == window.greatest() && before.deviation > 0.0 && window.rows() >= 10 {
        return window.least().map(|value| Change::Constant { value });
    }
    if before.deviation == 0.0 || after.deviation == 0.0 {
        return (by != 0.0).then_some(Change::Form);
    }
    let factor = after.deviation / before.deviation;
    let spread = factor.max(1.0 / factor);
    // Four standard errors of the difference.
    let error = 4.0 * after.error.hypot(before.error);
    let moved = by.abs() > SAME_MEAN * before.deviation && by.abs() > error / 2.0;
    let shift = Change::Shift {
        by,
        deviations: by / before.deviation,
    };
    if spread < SAME_SPREAD {
        return Some(if moved { shift } else { Change::Form });
    }
    // Where a few large numbers make the deviation, it varies; the least number tells more.
    if spread < VARYING_SPREAD && moved && least_is(reference, window, |least| least + by) {
        return Some(shift);
    }
    if let Some(factor) = scale(&before, &after, reference, window) {
        return Some(Change::Scale { factor });
    }
    let centred = by.abs() < error + SAME_MEAN * before.deviation.max(after.deviation);
    Some(if centred {
        Change::Spread { factor }
    } else {
        Change::Form
    })
}

/// Whether the least number of the window is about what the one of the reference became.
fn least_is(reference: &Profile, window: &Profile, change: impl Fn(f64) -> f64) -> bool {
    let (Some(before), Some(after)) = (reference.least(), window.least()) else {
        return false;
    };
    let near = |value: f64| (after - value).abs();
    near(change(before)) < near(before) / 4.0
}

/// By what all numbers are multiplied, if they are.
fn scale(before: &Numbers, after: &Numbers, reference: &Profile, window: &Profile) -> Option<f64> {
    let factor = after.deviation / before.deviation;
    for factor in [factor, -factor] {
        let error = after
            .error
            .hypot(before.error)
            .max(factor.abs() * before.error);
        let off = (after.mean - factor * before.mean).abs();
        let near = off < 4.0 * error + 0.1 * after.deviation;
        if near && few_beyond(reference, window, factor) {
            // Of a mean that is far from zero the factor is known better than of the deviation.
            let by_mean = after.mean / before.mean;
            let far = before.mean.abs() > 10.0 * before.error && by_mean / factor > 0.5;
            return Some(rounded(if far { by_mean } else { factor }));
        }
    }
    None
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
