//! Bars that lie, in groups.

use super::svg::{Anchor, COLORS, Svg, figure};

const WIDTH: f64 = 760.0;
/// Where bars begin; labels stand before.
const LEFT: f64 = 270.0;
/// Room behind the longest bar for its figure.
const RIGHT: f64 = 60.0;
const TOP: f64 = 56.0;
const BAR: f64 = 15.0;
const BETWEEN_GROUPS: f64 = 9.0;

/// A bar: bars of one group stand together, bars of one series have one color.
pub(super) struct Bar {
    pub(super) group: String,
    pub(super) series: String,
    pub(super) value: f64,
}

/// A plot of bars, in their order.
pub(super) struct Bars<'a> {
    pub(super) title: &'a str,
    pub(super) series: &'a [&'a str],
    pub(super) bars: Vec<Bar>,
}

impl Bars<'_> {
    pub(super) fn draw(&self) -> String {
        let groups: Vec<&[Bar]> = self
            .bars
            .chunk_by(|one, other| one.group == other.group)
            .collect();
        let height =
            TOP + self.bars.len() as f64 * BAR + groups.len() as f64 * BETWEEN_GROUPS + 8.0;
        let mut svg = Svg::new(WIDTH, height, self.title);
        self.legend(&mut svg);
        let longest = self
            .bars
            .iter()
            .map(|bar| bar.value)
            .fold(f64::MIN_POSITIVE, f64::max);
        let mut y = TOP;
        for group in groups {
            let middle = y + group.len() as f64 * BAR / 2.0 + 4.0;
            svg.text(
                LEFT - 8.0,
                middle,
                Anchor::End,
                group.first().map_or("", |bar| &bar.group),
            );
            for bar in group {
                let width = bar.value / longest * (WIDTH - LEFT - RIGHT);
                svg.rect(LEFT, y + 1.0, width, BAR - 2.0, self.color(&bar.series));
                svg.text(
                    LEFT + width + 5.0,
                    y + BAR - 4.0,
                    Anchor::Start,
                    &figure(bar.value),
                );
                y += BAR;
            }
            y += BETWEEN_GROUPS;
        }
        svg.finish()
    }

    fn legend(&self, svg: &mut Svg) {
        for (at, series) in self.series.iter().enumerate() {
            let x = LEFT + at as f64 * 160.0;
            svg.rect(x, 34.0, 11.0, 11.0, self.color(series));
            svg.text(x + 16.0, 44.0, Anchor::Start, series);
        }
    }

    fn color(&self, series: &str) -> &'static str {
        let at = self
            .series
            .iter()
            .position(|known| *known == series)
            .unwrap_or(COLORS.len() - 1);
        COLORS[at % COLORS.len()]
    }
}
