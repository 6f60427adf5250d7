//! Small plots of a check: its evidence up to the limit, and its interval closing in.

use std::fmt::Write;

use maud::{Markup, html};

use super::IntervalView;

const WIDTH: f64 = 160.0;
const HEIGHT: f64 = 40.0;

/// The evidence from left to right, below the line at which the check fails; nothing without two points.
pub(super) fn evidence(log_e: &[f64], alpha: f64) -> Markup {
    let limit = (1.0 / alpha).ln();
    if log_e.len() < 2 || !limit.is_finite() {
        return html! {};
    }
    let (least, most) = (-limit / 2.0, limit * 1.25);
    let line = path(
        log_e.iter().map(|value| value.clamp(least, most)),
        least,
        most,
    );
    let limit_y = place(limit, least, most);
    html! {
        // Hidden from screen readers: the figures beside it say the same.
        svg.plot viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) width=(WIDTH) height=(HEIGHT) aria-hidden="true" {
            path.limit d=(format!("M0 {limit_y}H{WIDTH}")) {}
            path.line d=(line) {}
        }
    }
}

/// The interval from left to right, around the line of no difference; nothing without two.
pub(super) fn intervals(intervals: &[IntervalView]) -> Markup {
    let size = |interval: &IntervalView| interval.low.abs().max(interval.high.abs());
    // The first intervals are as wide as anything can be: the last ones are what is looked at.
    let most = 4.0 * intervals.last().map_or(0.0, size);
    if intervals.len() < 2 || !(most > 0.0 && most.is_finite()) {
        return html! {};
    }
    let ends = |end: fn(&IntervalView) -> f64| {
        let ends = intervals.iter().map(move |one| end(one).clamp(-most, most));
        path(ends, -most, most)
    };
    let zero = place(0.0, -most, most);
    html! {
        svg.plot viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) width=(WIDTH) height=(HEIGHT) aria-hidden="true" {
            path.limit d=(format!("M0 {zero}H{WIDTH}")) {}
            path.line d=(ends(|one| one.low)) {}
            path.line d=(ends(|one| one.high)) {}
        }
    }
}

fn path(values: impl ExactSizeIterator<Item = f64>, least: f64, most: f64) -> String {
    let last = values.len().saturating_sub(1).max(1) as f64;
    let mut path = String::new();
    for (at, value) in values.enumerate() {
        let x = round(at as f64 / last * WIDTH);
        let y = place(value, least, most);
        let _ = write!(path, "{}{x} {y}", if at == 0 { 'M' } else { 'L' });
    }
    path
}

fn place(value: f64, least: f64, most: f64) -> f64 {
    round((most - value) / (most - least) * (HEIGHT - 2.0) + 1.0)
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_rises_to_the_limit() {
        let svg = evidence(&[0.0, 100.0], (-4.0f64).exp()).into_string();
        // From −2 to 5: the limit 4 is at 1/7 of the height, and what is beyond at the top.
        assert!(
            svg.contains("M0 6.4H160") && svg.contains("L160 1"),
            "{svg}"
        );
        assert_eq!(evidence(&[0.0], 0.01).into_string(), "");
    }

    #[test]
    fn intervals_of_any_size_stay_in_the_picture() {
        let interval = |low, high| IntervalView { low, high };
        let svg = intervals(&[interval(-1.0, 1.0), interval(-0.01, 0.02)]).into_string();
        assert!(
            svg.contains("M0 39L160") && svg.contains("M0 1L160"),
            "{svg}"
        );
        assert_eq!(intervals(&[]).into_string(), "");
    }
}
