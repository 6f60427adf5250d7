//! Charts over time, as SVG.

mod mark;
mod scale;
mod spark;

use std::fmt::Write;

use maud::{Markup, html};

pub(crate) use self::mark::{Mark, mark_list};
use self::scale::Scale;
pub(crate) use self::spark::spark;
use crate::format::{NONE, clock, day, hour_minute, millis, number, percent, rate, short_number};
use crate::timeline::Values;

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 18.0;
const BOTTOM: f64 = 20.0;
/// Shares below this lie on the ground of their chart.
const LEAST_SHARE: f64 = -1.0;
/// Colours that differ; more lines than these repeat them.
const COLOURS: usize = 7;

/// Values over time, as lines or as areas on one another.
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

/// From when to when, in Unix milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeAxis {
    pub(crate) from_ms: u64,
    pub(crate) until_ms: u64,
    /// How far apart its marks lie.
    pub(crate) mark_ms: u64,
}

/// What values are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Unit {
    PerSecond,
    Millis,
    Rows,
    /// Shares of 1.
    Share,
}

impl Unit {
    fn short(self) -> &'static str {
        match self {
            Self::PerSecond => "per second",
            Self::Millis => "ms",
            Self::Rows => "rows",
            Self::Share => "%",
        }
    }

    /// A value where there is room for its unit.
    fn text(self, value: f64) -> String {
        match self {
            Self::PerSecond => rate(value),
            Self::Millis => millis(value),
            Self::Rows => number(value),
            Self::Share => percent(value),
        }
    }

    /// A value on the axis.
    fn mark(self, value: f64) -> String {
        match self {
            Self::Share => short_number(value * 100.0),
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

    fn last(&self) -> Option<f64> {
        self.values.iter().rev().find_map(|(_, value)| *value)
    }
}

impl TimeAxis {
    fn place(self, at_ms: u64) -> f64 {
        let length = self.until_ms.saturating_sub(self.from_ms).max(1) as f64;
        LEFT + at_ms.saturating_sub(self.from_ms) as f64 / length * (WIDTH - LEFT - RIGHT)
    }

    fn marks(self) -> impl Iterator<Item = u64> {
        let first = self.from_ms.div_ceil(self.mark_ms) * self.mark_ms;
        (first..=self.until_ms).step_by(usize::try_from(self.mark_ms).unwrap_or(usize::MAX))
    }

    /// What a mark says: the day at midnight where marks are far apart.
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
            // A budget that is spent many times over would leave no room for the others: it lies on
            // the ground.
            Unit::Share => Scale::over((least.max(LEAST_SHARE), most), Some(1.0)),
            _ => Scale::over((least, most), None),
        };
        let up = |value: f64| TOP + (1.0 - scale.place(value)) * (HEIGHT - TOP - BOTTOM);
        html! {
            figure {
                figcaption {
                    h3 { (self.title) " " span.soft.small { (self.unit.short()) } }
                    (self.legend())
                }
                svg.chart viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(self.summary()) {
                    @for value in scale.marks() {
                        @let y = round(up(value));
                        line.{ @if value == 0.0 { "zero" } @else { "grid" } } x1=(LEFT) x2=(WIDTH - RIGHT) y1=(y) y2=(y) {}
                        text x=(LEFT - 6.0) y=(y + 4.0) text-anchor="end" { (self.unit.mark(value)) }
                    }
                    @for at_ms in self.time.marks() {
                        @let x = round(self.time.place(at_ms));
                        line.grid x1=(x) x2=(x) y1=(HEIGHT - BOTTOM) y2=(HEIGHT - BOTTOM + 4.0) {}
                        text x=(x) y=(HEIGHT - 5.0) text-anchor=(anchor(x)) { (self.time.label(at_ms)) }
                    }
                    @if self.is_stacked { (self.areas(&up)) } @else { (self.paths(&up)) }
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

    /// What the picture says, for who does not see it.
    fn summary(&self) -> String {
        let mut text = self.title.to_owned();
        for line in &self.lines {
            let values = || line.values.iter().filter_map(|(_, value)| *value);
            let _ = match line.last() {
                None => write!(text, "; {}: none", line.name),
                Some(last) => {
                    let (least, most) = (
                        values().fold(f64::MAX, f64::min),
                        values().fold(f64::MIN, f64::max),
                    );
                    let text_of = |value| self.unit.text(value);
                    write!(
                        text,
                        "; {}: last {}, between {} and {}",
                        line.name,
                        text_of(last),
                        text_of(least),
                        text_of(most)
                    )
                }
            };
        }
        text
    }

    /// The least and the most that is shown.
    fn extremes(&self) -> (f64, f64) {
        let fold = |values: &mut dyn Iterator<Item = f64>| {
            values
                .filter(|value| value.is_finite())
                .fold((0.0f64, 0.0f64), |(least, most), value| {
                    (least.min(value), most.max(value))
                })
        };
        match self.is_stacked {
            true => fold(&mut self.stack().last().into_iter().flatten().copied()),
            false => fold(
                &mut self
                    .lines
                    .iter()
                    .flat_map(|line| &line.values)
                    .filter_map(|(_, value)| *value),
            ),
        }
    }

    /// The upper edge of each area.
    fn stack(&self) -> Vec<Vec<f64>> {
        let mut edge = vec![0.0; self.lines.first().map_or(0, |line| line.values.len())];
        let add = |line: &Line| {
            edge.iter_mut()
                .zip(&line.values)
                .for_each(|(edge, (_, value))| *edge += value.unwrap_or(0.0));
            edge.clone()
        };
        self.lines.iter().map(add).collect()
    }

    fn areas(&self, up: &impl Fn(f64) -> f64) -> Markup {
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
                path.area.{ "c" (at % COLOURS) } d=(outline(&moments, edge, below, up)) {}
            }
        }
    }

    fn paths(&self, up: &impl Fn(f64) -> f64) -> Markup {
        let pieces = |line: &Line| {
            let known = line
                .values
                .split(|(_, value)| !value.is_some_and(f64::is_finite));
            let place = |(at_ms, value): &(u64, Option<f64>)| {
                (
                    round(self.time.place(*at_ms)),
                    round(up(value.unwrap_or_default())),
                )
            };
            known
                .filter(|piece| !piece.is_empty())
                .map(|piece| piece.iter().map(place).collect())
                .collect()
        };
        html! {
            @for (at, line) in self.lines.iter().enumerate() {
                @let pieces: Vec<Vec<(f64, f64)>> = pieces(line);
                path.line.{ "c" (at % COLOURS) } d=(path(&pieces)) {}
                @for piece in pieces.iter().filter(|piece| piece.len() == 1) {
                    circle.dot.{ "c" (at % COLOURS) } cx=(piece[0].0) cy=(piece[0].1) r="2.5" {}
                }
            }
        }
    }

    /// What is said of the moment that somebody points at.
    fn hits(&self) -> Markup {
        let Some(first) = self.lines.first() else {
            return html! {};
        };
        let places: Vec<f64> = first
            .values
            .iter()
            .map(|(at_ms, _)| self.time.place(*at_ms))
            .collect();
        let edge = |at: usize| match (at.checked_sub(1).map(|at| places[at]), places.get(at)) {
            (Some(before), Some(after)) => (before + after) / 2.0,
            (None, Some(_)) => LEFT,
            _ => WIDTH - RIGHT,
        };
        html! {
            @for (at, (at_ms, _)) in first.values.iter().enumerate() {
                @let (left, right) = (edge(at), edge(at + 1));
                rect.hit x=(round(left)) y=(TOP) width=(round((right - left).max(0.0))) height=(HEIGHT - TOP - BOTTOM) {
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

/// Lines through the points of each piece. What lies alone is a dot, and drawn as one.
fn path(pieces: &[Vec<(f64, f64)>]) -> String {
    let mut path = String::new();
    for piece in pieces.iter().filter(|piece| piece.len() > 1) {
        for (at, (x, y)) in piece.iter().enumerate() {
            let _ = write!(path, "{}{x} {y}", if at == 0 { 'M' } else { 'L' });
        }
    }
    path
}

fn outline(moments: &[f64], edge: &[f64], below: &[f64], up: &impl Fn(f64) -> f64) -> String {
    let mut path = String::new();
    let there = moments.iter().zip(edge);
    let back = moments.iter().zip(below).rev();
    for (at, (x, value)) in there.chain(back).enumerate() {
        let _ = write!(
            path,
            "{}{} {}",
            if at == 0 { 'M' } else { 'L' },
            round(*x),
            round(up(*value))
        );
    }
    path.push('Z');
    path
}

/// Labels at the ends stay inside.
fn anchor(x: f64) -> &'static str {
    match x {
        x if x < LEFT + 12.0 => "start",
        x if x > WIDTH - RIGHT - 14.0 => "end",
        _ => "middle",
    }
}

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
