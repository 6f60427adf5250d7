//! Line plots as SVG.

use maud::{Markup, html};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 300.0;
/// Space for the labels of the axes: left, right, top, bottom.
const MARGINS: [f64; 4] = [68.0, 16.0, 12.0, 46.0];
/// The number of marks on an axis, about.
const MARKS: f64 = 6.0;
/// Seven nines: a share of 1 has infinitely many, which no axis can show.
const LARGEST_SHARE: f64 = 1.0 - 1e-7;
/// The marks of an axis of shares, as far as values reach.
const TAIL_SHARES: [f64; 9] = [
    0.0,
    0.5,
    0.9,
    0.99,
    0.999,
    0.9999,
    0.99999,
    0.999_999,
    0.999_999_9,
];
/// Colours that differ; more lines than these repeat them.
pub(super) const COLOURS: usize = 8;

/// A plot of lines over common axes.
pub(super) struct Plot {
    pub(super) title: &'static str,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) lines: Vec<Line>,
}

pub(super) struct Axis {
    pub(super) label: &'static str,
    pub(super) scale: Scale,
}

/// The scale of an axis.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// Evenly, from zero.
    Linear,
    /// Shares from 0 to 1, each step towards 1 as wide as the ones before: 90 %, 99 %, 99.9 %.
    Tail,
}

pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
    /// Whether each point is marked.
    pub(super) has_dots: bool,
}

/// A mark on an axis: its place, from 0 to 1, and its label.
type Mark = (f64, String);

impl Plot {
    pub(super) fn render(&self) -> Markup {
        let [left, right, top, bottom] = MARGINS;
        let (x_most, x_marks) = self.x.scale.marks(self.points().map(|point| point.0));
        let (y_most, y_marks) = self.y.scale.marks(self.points().map(|point| point.1));
        let (width, height) = (WIDTH - left - right, HEIGHT - top - bottom);
        html! {
            figure {
                figcaption { (self.title) }
                svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(self.title) {
                    @for (at, text) in &y_marks {
                        line.grid x1=(left) x2=(WIDTH - right) y1=(up(*at)) y2=(up(*at)) {}
                        text.mark x=(left - 6.0) y=(up(*at) + 4.0) text-anchor="end" { (text) }
                    }
                    @for (at, text) in &x_marks {
                        line.grid x1=(across(*at)) x2=(across(*at)) y1=(top) y2=(HEIGHT - bottom) {}
                        text.mark x=(across(*at)) y=(HEIGHT - bottom + 16.0) text-anchor="middle" { (text) }
                    }
                    text.label x=(left + width / 2.0) y=(HEIGHT - 8.0) text-anchor="middle" { (self.x.label) }
                    text.label transform=(format!("translate(14 {}) rotate(-90)", top + height / 2.0))
                        text-anchor="middle" { (self.y.label) }
                    @for (at, line) in self.lines.iter().enumerate() {
                        @let points = self.places(line, x_most, y_most);
                        polyline.{ "c" (at % COLOURS) } points=(path(&points)) {}
                        @if line.has_dots {
                            @for (x, y) in &points {
                                circle.{ "c" (at % COLOURS) } cx=(round(*x)) cy=(round(*y)) r="3" {}
                            }
                        }
                    }
                }
                p.legend {
                    @for (at, line) in self.lines.iter().enumerate() {
                        span.{ "c" (at % COLOURS) } { (line.name) }
                    }
                }
            }
        }
    }
}

impl Plot {
    fn points(&self) -> impl Iterator<Item = &(f64, f64)> {
        self.lines.iter().flat_map(|line| &line.points)
    }

    /// Where the points of a line lie in the picture.
    fn places(&self, line: &Line, x_most: f64, y_most: f64) -> Vec<(f64, f64)> {
        line.points
            .iter()
            .map(|(x, y)| {
                (
                    across(self.x.scale.place(*x, x_most)),
                    up(self.y.scale.place(*y, y_most)),
                )
            })
            .collect()
    }
}

/// The horizontal place of a share of the width.
fn across(share: f64) -> f64 {
    let [left, right, ..] = MARGINS;
    left + share * (WIDTH - left - right)
}

/// The vertical place of a share of the height.
fn up(share: f64) -> f64 {
    let [.., top, bottom] = MARGINS;
    // SVG counts from the top, a plot from the bottom.
    top + (1.0 - share) * (HEIGHT - top - bottom)
}

impl Scale {
    /// The value at the end of the axis, and the marks up to there.
    fn marks(self, values: impl Iterator<Item = f64>) -> (f64, Vec<Mark>) {
        let most = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
        match self {
            Self::Linear => linear_marks(most),
            Self::Tail => tail_marks(most),
        }
    }

    /// Where a value lies, from 0 to 1.
    fn place(self, value: f64, most: f64) -> f64 {
        match self {
            Self::Linear => value / most,
            Self::Tail => nines(value.min(LARGEST_SHARE)) / most,
        }
        .clamp(0.0, 1.0)
    }
}

fn linear_marks(most: f64) -> (f64, Vec<Mark>) {
    let step = step(most);
    // A last value that is hardly beyond a mark needs no space of its own.
    let most = (most / step - 0.02).ceil().max(1.0) * step;
    let count = (most / step).round() as u32;
    let marks = (0..=count)
        .map(|at| {
            let at = f64::from(at);
            (at / f64::from(count), number(at * step, step))
        })
        .collect();
    (most, marks)
}

fn tail_marks(most: f64) -> (f64, Vec<Mark>) {
    // One digit beyond the largest share below 1.
    let digits = nines(most.min(LARGEST_SHARE)).ceil().clamp(1.0, 7.0);
    let marks = TAIL_SHARES
        .into_iter()
        // The logarithm of a share such as 0.999 is not exactly 3.
        .filter(|share| nines(*share) <= digits + 1e-9)
        .map(|share| (nines(share) / digits, format!("{} %", trim(share * 100.0))))
        .collect();
    (digits, marks)
}

/// How many nines a share has: 2 for 0.99.
fn nines(share: f64) -> f64 {
    -(1.0 - share).log10()
}

/// The distance of marks: 1, 2 or 5 times a power of ten.
fn step(most: f64) -> f64 {
    if most <= 0.0 {
        return 1.0;
    }
    // People read steps of 1, 2 or 5 times a power of ten most easily (Heckbert, "Nice Numbers for
    // Graph Labels", Graphics Gems, 1990).
    let raw = most / MARKS;
    let power = 10f64.powf(raw.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        // With some slack, as a power of ten and a division are not exact.
        .find(|factor| raw <= factor * power * (1.0 + 1e-9));
    factor.unwrap_or(10.0) * power
}

fn number(value: f64, step: f64) -> String {
    let decimals = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{value:.decimals$}")
}

fn trim(percent: f64) -> String {
    format!("{percent:.5}")
        .trim_end_matches('0')
        .trim_end_matches('.')
        .to_owned()
}

fn path(points: &[(f64, f64)]) -> String {
    points
        .iter()
        .map(|(x, y)| format!("{},{}", round(*x), round(*y)))
        .collect::<Vec<_>>()
        .join(" ")
}

/// To a tenth of a pixel, which is finer than a screen shows, so that the page stays small.
fn round(place: f64) -> f64 {
    (place * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_numbers_up_to_beyond_the_largest_value() {
        let (most, marks) = Scale::Linear.marks([3.0, 47.0].into_iter());
        assert_eq!(most, 50.0);
        assert_eq!(
            marks.iter().map(|mark| mark.1.as_str()).collect::<Vec<_>>(),
            ["0", "10", "20", "30", "40", "50"]
        );
        let (most, marks) = Scale::Linear.marks([0.0042].into_iter());
        assert!(
            (most - 0.005).abs() < 1e-9 && marks[1].1 == "0.001",
            "{marks:?}"
        );
        assert_eq!(Scale::Linear.marks(std::iter::empty()).0, 1.0);
    }

    #[test]
    fn each_nine_of_a_tail_takes_the_same_space() {
        let (most, marks) = Scale::Tail.marks([0.5, 0.9985].into_iter());
        assert_eq!(most, 3.0);
        assert_eq!(
            marks.iter().map(|mark| mark.1.as_str()).collect::<Vec<_>>(),
            ["0 %", "50 %", "90 %", "99 %", "99.9 %"]
        );
        let places: Vec<f64> = [0.0, 0.9, 0.99, 0.999, 1.0]
            .map(|share| Scale::Tail.place(share, most))
            .to_vec();
        for (place, wanted) in places.iter().zip([0.0, 1.0 / 3.0, 2.0 / 3.0, 1.0, 1.0]) {
            assert!((place - wanted).abs() < 1e-9, "{places:?}");
        }
    }
}
