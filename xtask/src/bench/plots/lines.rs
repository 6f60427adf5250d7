//! Lines over two axes.

use super::svg::{Anchor, COLORS, Svg, figure};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 60.0;
/// Room for the legend.
const RIGHT: f64 = 210.0;
const TOP: f64 = 52.0;
const BOTTOM: f64 = 44.0;

/// An axis; a logarithmic one has values above zero only.
#[derive(Clone, Copy)]
pub(super) struct Axis {
    pub(super) label: &'static str,
    pub(super) is_log: bool,
}

/// A line, with the place of its color.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) color: usize,
    pub(super) is_dashed: bool,
    pub(super) points: Vec<(f64, f64)>,
}

/// A plot of lines.
pub(super) struct Lines {
    pub(super) title: &'static str,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) lines: Vec<Line>,
}

impl Lines {
    pub(super) fn draw(&self) -> String {
        let mut svg = Svg::new(WIDTH, HEIGHT, self.title);
        let x_values = self.points().map(|point| point.0);
        let y_values = self.points().map(|point| point.1);
        let x = Scale::new(self.x, x_values, (LEFT, WIDTH - RIGHT));
        let y = Scale::new(self.y, y_values, (HEIGHT - BOTTOM, TOP));
        self.grid(&mut svg, &x, &y);
        for (at, line) in self.lines.iter().enumerate() {
            let color = COLORS[line.color % COLORS.len()];
            let points = line.points.iter();
            let places: Vec<_> = points
                .map(|point| (x.place(point.0), y.place(point.1)))
                .collect();
            svg.path(&places, color, line.is_dashed);
            let (left, top) = (WIDTH - RIGHT + 14.0, TOP + 10.0 + at as f64 * 20.0);
            svg.path(&[(left, top), (left + 22.0, top)], color, line.is_dashed);
            svg.text(left + 28.0, top + 4.0, Anchor::Start, &line.name);
        }
        svg.finish()
    }

    fn points(&self) -> impl Iterator<Item = &(f64, f64)> {
        self.lines.iter().flat_map(|line| line.points.iter())
    }

    /// The rules of both axes with their figures and labels.
    fn grid(&self, svg: &mut Svg, x: &Scale, y: &Scale) {
        for tick in &x.ticks {
            svg.rule((x.place(*tick), TOP), (x.place(*tick), HEIGHT - BOTTOM));
            svg.text(
                x.place(*tick),
                HEIGHT - BOTTOM + 16.0,
                Anchor::Middle,
                &figure(*tick),
            );
        }
        for tick in &y.ticks {
            svg.rule((LEFT, y.place(*tick)), (WIDTH - RIGHT, y.place(*tick)));
            svg.text(
                LEFT - 6.0,
                y.place(*tick) + 4.0,
                Anchor::End,
                &figure(*tick),
            );
        }
        svg.text(
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - 10.0,
            Anchor::Middle,
            self.x.label,
        );
        svg.text(12.0, 42.0, Anchor::Start, self.y.label);
    }
}

/// Where the values of an axis stand in the picture.
struct Scale {
    is_log: bool,
    values: (f64, f64),
    places: (f64, f64),
    ticks: Vec<f64>,
}

impl Scale {
    fn new(axis: Axis, values: impl Iterator<Item = f64>, places: (f64, f64)) -> Self {
        let (least, most) = values.fold((f64::MAX, f64::MIN), |(least, most), value| {
            (least.min(value), most.max(value))
        });
        let ticks = if axis.is_log {
            log_ticks(least, most)
        } else {
            even_ticks(most)
        };
        let values = (
            ticks.first().copied().unwrap_or(0.0),
            ticks.last().copied().unwrap_or(1.0),
        );
        Self {
            is_log: axis.is_log,
            values,
            places,
            ticks,
        }
    }

    fn place(&self, value: f64) -> f64 {
        let (first, last) = (self.linear(self.values.0), self.linear(self.values.1));
        let share = (self.linear(value) - first) / (last - first);
        self.places.0 + share * (self.places.1 - self.places.0)
    }

    /// The value on a scale that is linear in the picture.
    fn linear(&self, value: f64) -> f64 {
        if self.is_log { value.log10() } else { value }
    }
}

/// Powers of ten around the values, or of two where they span less than three of ten.
fn log_ticks(least: f64, most: f64) -> Vec<f64> {
    let base: f64 = if most / least > 1e3 { 10.0 } else { 2.0 };
    let first = (least.ln() / base.ln() + 1e-9).floor() as i32;
    let last = (most.ln() / base.ln() - 1e-9).ceil() as i32;
    (first..=last).map(|power| base.powi(power)).collect()
}

/// From zero in steps of 1, 2 or 5 of some power of ten, four of them or a few more.
fn even_ticks(most: f64) -> Vec<f64> {
    let power = 10_f64.powf((most / 4.0).log10().floor());
    let step = [5.0, 2.0, 1.0]
        .into_iter()
        .map(|step| step * power)
        .find(|step| step * 4.0 <= most * (1.0 + 1e-9));
    let step = step.unwrap_or(power);
    let count = (most / step - 1e-9).ceil() as usize;
    (0..=count).map(|at| at as f64 * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_enclose_the_values() {
        assert_eq!(
            log_ticks(1.0, 256.0),
            [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0]
        );
        assert_eq!(
            log_ticks(60.0, 82_000.0),
            [10.0, 100.0, 1000.0, 10_000.0, 100_000.0]
        );
        assert_eq!(even_ticks(2.0), [0.0, 0.5, 1.0, 1.5, 2.0]);
        let ticks: Vec<String> = even_ticks(1.02)
            .into_iter()
            .map(|tick| format!("{tick:.1}"))
            .collect();
        assert_eq!(ticks, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0", "1.2"]);
    }
}
