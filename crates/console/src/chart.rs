//! Charts over time, as SVG.

mod mark;
mod scale;
mod spark;

use std::fmt::Write;

use maud::{Markup, html};

pub(crate) use self::mark::{Mark, mark_list};
use self::scale::Scale;
pub(crate) use self::spark::spark;
use crate::format::{
    NONE, budget_text, clock, day, hour_minute, millis, number, rate, short_number,
};
use crate::timeline::Values;

// In units of the SVG's view box; the style sheet scales the picture to its column.
const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 18.0;
const BOTTOM: f64 = 20.0;
/// Number of colours; further lines repeat them.
const COLOURS: usize = 7;

/// Values over time, as lines or as stacked areas.
pub(crate) struct Chart<'a> {
    pub(crate) title: &'static str,
    pub(crate) unit: Unit,
    pub(crate) lines: Vec<Line>,
    pub(crate) is_stacked: bool,
    pub(crate) time: TimeAxis,
    pub(crate) marks: &'a [Mark],
}

/// One line, or one area.
pub(crate) struct Line {
    pub(crate) name: String,
    /// By time; all lines of a stack at the same moments.
    pub(crate) values: Values,
}

/// The time axis, in Unix milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeAxis {
    pub(crate) from_ms: u64,
    pub(crate) until_ms: u64,
    /// Distance between its labels.
    pub(crate) mark_ms: u64,
}

/// The unit of values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Unit {
    PerSecond,
    Millis,
    Rows,
    /// Remaining error budgets, as shares of 1; negative if overspent.
    Budget,
}

impl Unit {
    fn short(self) -> &'static str {
        match self {
            Self::PerSecond => "per second",
            Self::Millis => "ms",
            Self::Rows => "rows",
            Self::Budget => "%",
        }
    }

    /// A value with its unit.
    fn text(self, value: f64) -> String {
        match self {
            Self::PerSecond => rate(value),
            Self::Millis => millis(value),
            Self::Rows => number(value),
            Self::Budget => budget_text(value),
        }
    }

    /// A value on the axis, without its unit.
    fn mark(self, value: f64) -> String {
        match self {
            Self::Budget => short_number(value * 100.0),
            _ => short_number(value),
        }
    }
}

impl Line {
    pub(crate) fn new(name: impl Into<String>, values: Values) -> Self {
        Self {
            name: name.into(),
            values,
        }
    }

    fn summary(&self, unit: Unit) -> String {
        let Some(last) = self.last() else {
            return format!("{}: none", self.name);
        };
        let values = self.values.iter().filter_map(|(_, value)| *value);
        let (least, most) = values.fold((f64::MAX, f64::MIN), |(least, most), value| {
            (least.min(value), most.max(value))
        });
        format!(
            "{}: last {}, between {} and {}",
            self.name,
            unit.text(last),
            unit.text(least),
            unit.text(most)
        )
    }

    fn last(&self) -> Option<f64> {
        self.values.iter().rev().find_map(|(_, value)| *value)
    }
}

impl TimeAxis {
    fn place(self, at_ms: u64) -> f64 {
        // At least 1, so that a range without length does not divide by zero.
        let length = self.until_ms.saturating_sub(self.from_ms).max(1) as f64;
        LEFT + at_ms.saturating_sub(self.from_ms) as f64 / length * (WIDTH - LEFT - RIGHT)
    }

    fn marks(self) -> impl Iterator<Item = u64> {
        // Marks lie at whole multiples, so that they do not move while the page is open.
        let first = self.from_ms.div_ceil(self.mark_ms) * self.mark_ms;
        (first..=self.until_ms).step_by(usize::try_from(self.mark_ms).unwrap_or(usize::MAX))
    }

    /// The label of a moment: the day at midnight if labels are far apart.
    fn label(self, at_ms: u64) -> String {
        let is_midnight = at_ms.is_multiple_of(86_400_000);
        if is_midnight && self.mark_ms > 6 * 3_600_000 {
            day(at_ms)
        } else {
            hour_minute(at_ms)
        }
    }
}

impl Chart<'_> {
    pub(crate) fn render(&self) -> Markup {
        let (least, most) = self.extremes();
        let scale = match self.unit {
            // A budget that is overspent many times presses the other lines flat. Cut off, it would
            // look like one that has just been spent.
            Unit::Budget => Scale::over((least, most), Some(1.0)),
            _ => Scale::over((least, most), None),
        };
        html! {
            figure {
                figcaption {
                    h3 { (self.title) " " span.soft.small { (self.unit.short()) } }
                    (self.legend())
                }
                svg.chart viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(self.summary()) {
                    @for value in scale.marks() {
                        @let y = round(height_of(scale, value));
                        line.{ @if value == 0.0 { "zero" } @else { "grid" } } x1=(LEFT) x2=(WIDTH - RIGHT) y1=(y) y2=(y) {}
                        text x=(LEFT - 6.0) y=(y + 4.0) text-anchor="end" { (self.unit.mark(value)) }
                    }
                    @for at_ms in self.time.marks() {
                        @let x = round(self.time.place(at_ms));
                        line.grid x1=(x) x2=(x) y1=(HEIGHT - BOTTOM) y2=(HEIGHT - BOTTOM + 4.0) {}
                        text x=(x) y=(HEIGHT - 5.0) text-anchor=(anchor(x)) { (self.time.label(at_ms)) }
                    }
                    @if self.is_stacked { (self.areas(scale)) } @else { (self.paths(scale)) }
                    (mark::draw(self.marks, |at_ms| self.time.place(at_ms), TOP, HEIGHT - BOTTOM))
                    (self.hits())
                }
            }
        }
    }

    fn legend(&self) -> Markup {
        html! {
            ul.legend {
                @for (at, line) in self.lines.iter().enumerate() {
                    li.{ "c" (at % COLOURS) } {
                        (line.name) " " b { (line.last().map_or_else(|| NONE.to_owned(), |value| self.unit.text(value))) }
                    }
                }
            }
        }
    }

    /// The chart in words, for screen readers.
    fn summary(&self) -> String {
        let mut text = self.title.to_owned();
        for line in &self.lines {
            text.push_str("; ");
            text.push_str(&line.summary(self.unit));
        }
        text
    }

    /// The lowest and the highest value, 0 included.
    fn extremes(&self) -> (f64, f64) {
        if self.is_stacked {
            // The upper edge of the last area is above all others.
            return extremes_of(self.stack().last().into_iter().flatten().copied());
        }
        let values = self.lines.iter().flat_map(|line| &line.values);
        extremes_of(values.filter_map(|(_, value)| *value))
    }

    /// The upper edge of each stacked area.
    fn stack(&self) -> Vec<Vec<f64>> {
        let moments = self.lines.first().map_or(0, |line| line.values.len());
        let mut edge = vec![0.0; moments];
        let mut edges = Vec::with_capacity(self.lines.len());
        for line in &self.lines {
            for (edge, (_, value)) in edge.iter_mut().zip(&line.values) {
                // A gap counts as 0: the areas above it must still lie on something.
                *edge += value.unwrap_or(0.0);
            }
            edges.push(edge.clone());
        }
        edges
    }

    fn areas(&self, scale: Scale) -> Markup {
        let moments: Vec<f64> = self
            .lines
            .first()
            .into_iter()
            .flat_map(|line| &line.values)
            .map(|(at_ms, _)| self.time.place(*at_ms))
            .collect();
        let edges = self.stack();
        let ground = vec![0.0; moments.len()];
        html! {
            @for (at, edge) in edges.iter().enumerate() {
                @let below = if at == 0 { &ground } else { &edges[at - 1] };
                path.area.{ "c" (at % COLOURS) } d=(outline(&moments, edge, below, scale)) {}
            }
        }
    }

    fn paths(&self, scale: Scale) -> Markup {
        html! {
            @for (at, line) in self.lines.iter().enumerate() {
                @let pieces = self.pieces(line, scale);
                path.line.{ "c" (at % COLOURS) } d=(path(&pieces)) {}
                // A path of one point draws nothing.
                @for piece in pieces.iter().filter(|piece| piece.len() == 1) {
                    circle.dot.{ "c" (at % COLOURS) } cx=(piece[0].0) cy=(piece[0].1) r="2.5" {}
                }
            }
        }
    }

    /// The points of a line in pieces without gaps: where a value is missing, the line is interrupted.
    fn pieces(&self, line: &Line, scale: Scale) -> Vec<Vec<(f64, f64)>> {
        let mut pieces = Vec::new();
        for known in line
            .values
            .split(|(_, value)| !value.is_some_and(f64::is_finite))
        {
            let points = known.iter().filter_map(|(at_ms, value)| {
                let y = height_of(scale, (*value)?);
                Some((round(self.time.place(*at_ms)), round(y)))
            });
            pieces.push(points.collect::<Vec<_>>());
        }
        pieces.retain(|piece| !piece.is_empty());
        pieces
    }

    /// Invisible areas with tooltips: the values of each moment.
    fn hits(&self) -> Markup {
        let Some(first) = self.lines.first() else {
            return html! {};
        };
        let places: Vec<f64> = first
            .values
            .iter()
            .map(|(at_ms, _)| self.time.place(*at_ms))
            .collect();
        html! {
            @for (at, (at_ms, _)) in first.values.iter().enumerate() {
                @let (left, right) = (left_edge(&places, at), left_edge(&places, at + 1));
                rect.hit x=(round(left)) y=(TOP) width=(round((right - left).max(0.0))) height=(HEIGHT - TOP - BOTTOM) {
                    // A `title` is a tooltip that browsers show without a script.
                    title {
                        (clock(*at_ms))
                        @for line in &self.lines {
                            @if let Some((_, Some(value))) = line.values.get(at) {
                                "\n" (line.name) ": " (self.unit.text(*value))
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The distance of a value from the top of the picture.
fn height_of(scale: Scale, value: f64) -> f64 {
    TOP + (1.0 - scale.place(value)) * (HEIGHT - TOP - BOTTOM)
}

/// The lowest and the highest of the finite values, 0 included.
fn extremes_of(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let finite = values.filter(|value| value.is_finite());
    finite.fold((0.0, 0.0), |(least, most): (f64, f64), value| {
        (least.min(value), most.max(value))
    })
}

/// Where the tooltip area of a moment begins: halfway to the moment before.
fn left_edge(places: &[f64], at: usize) -> f64 {
    match (at.checked_sub(1), places.get(at)) {
        (None, Some(_)) => LEFT,
        (Some(before), Some(after)) => (places[before] + after) / 2.0,
        _ => WIDTH - RIGHT,
    }
}

/// Lines through the points of each piece. Single points are drawn as dots instead.
fn path(pieces: &[Vec<(f64, f64)>]) -> String {
    let mut path = String::new();
    for piece in pieces.iter().filter(|piece| piece.len() > 1) {
        for (at, (x, y)) in piece.iter().enumerate() {
            // Writing to a string cannot fail.
            let _ = write!(path, "{}{x} {y}", if at == 0 { 'M' } else { 'L' });
        }
    }
    path
}

fn outline(moments: &[f64], edge: &[f64], below: &[f64], scale: Scale) -> String {
    let mut path = String::new();
    // Along the upper edge, and back along the lower one.
    let there = moments.iter().zip(edge);
    let back = moments.iter().zip(below).rev();
    for (at, (x, value)) in there.chain(back).enumerate() {
        let _ = write!(
            path,
            "{}{} {}",
            if at == 0 { 'M' } else { 'L' },
            round(*x),
            round(height_of(scale, *value))
        );
    }
    path.push('Z');
    path
}

/// Keeps labels at the ends inside the picture.
fn anchor(x: f64) -> &'static str {
    match x {
        x if x < LEFT + 12.0 => "start",
        x if x > WIDTH - RIGHT - 14.0 => "end",
        _ => "middle",
    }
}

/// A tenth of a unit is less than a pixel: more digits would only make the page larger.
fn round(place: f64) -> f64 {
    (place * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: TimeAxis = TimeAxis {
        from_ms: 0,
        until_ms: 240_000,
        mark_ms: 60_000,
    };

    fn line(name: &str, values: &[Option<f64>]) -> Line {
        Line::new(
            name,
            values
                .iter()
                .enumerate()
                .map(|(at, value)| (at as u64 * 60_000, *value))
                .collect(),
        )
    }

    fn chart(lines: Vec<Line>, is_stacked: bool) -> String {
        Chart {
            title: "Latency",
            unit: Unit::Millis,
            lines,
            is_stacked,
            time: TIME,
            marks: &[],
        }
        .render()
        .into_string()
    }

    #[test]
    fn a_line_is_interrupted_where_there_is_no_value() {
        let svg = chart(
            vec![line("P50", &[Some(1.0), Some(2.0), None, Some(1.0)])],
            false,
        );
        let path = svg
            .split("class=\"line c0\" d=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .unwrap();
        assert_eq!(
            (path.matches('M').count(), path.matches('L').count()),
            (1, 1),
            "{path}"
        );
        assert_eq!(
            svg.matches("<circle").count(),
            1,
            "what lies alone is a dot"
        );
        assert!(
            svg.contains("Latency; P50: last 1 ms, between 1 ms and 2 ms"),
            "{svg}"
        );
    }

    #[test]
    fn areas_lie_on_one_another() {
        let svg = chart(
            vec![
                line("1", &[Some(1.0), Some(1.0)]),
                line("2", &[None, Some(3.0)]),
            ],
            true,
        );
        assert_eq!(svg.matches("class=\"area").count(), 2);
        assert!(svg.contains(">4<"), "the axis reaches the sum: {svg}");
    }

    #[test]
    fn nothing_and_what_is_no_number_is_drawn_without_fault() {
        for lines in [
            Vec::new(),
            vec![line("a", &[])],
            vec![line("a", &[Some(f64::NAN), Some(f64::INFINITY), None])],
        ] {
            for is_stacked in [false, true] {
                let lines = lines
                    .iter()
                    .map(|line| Line::new(line.name.clone(), line.values.clone()))
                    .collect();
                let svg = chart(lines, is_stacked);
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            }
        }
    }

    #[test]
    fn names_are_escaped_in_titles() {
        let svg = chart(vec![line("<script>\"", &[Some(1.0)])], false);
        assert!(
            !svg.contains("<script") && svg.contains("&lt;script&gt;&quot;"),
            "{svg}"
        );
    }
}
