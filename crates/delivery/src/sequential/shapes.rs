//! How the distribution of outputs may differ between two versions.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::distribution_test::MAX_BINS;

/// What the bins of a distribution are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bins {
    /// Intervals of a score, in order.
    #[default]
    Ordered,
    /// Classes, in no order.
    Classes,
}

/// The bets of a distribution test: how many times as often each bin comes up for the candidate, up
/// to a factor that all bins have in common.
///
/// Bets on few directions find what they bet on much sooner than a bet on all histograms at once:
/// outputs that are shifted, that are spread or narrowed, and one bin that is too frequent, too rare or
/// gone.
pub(super) struct Shape {
    /// Its part of the capital at the start; that of all shapes and of the bet that learns is 1.
    pub(super) weight: f64,
    /// One ratio for each bin.
    pub(super) ratios: Vec<f64>,
}

/// Exponents of shifts, for the position of a bin from −1 to 1, and the part of the capital on each; for
/// both signs. Normal scores that shift by 0.4 standard deviations, to a PSI between 0.1 and 0.25, are near
/// the second one, so it has the most.
const SHIFTS: [(f64, f64); 3] = [(0.4, 0.1), (1.0, 0.35), (2.5, 0.2)];
/// Exponents of spreads, for the square of the position, and the part on each; for both signs.
const SPREADS: [(f64, f64); 3] = [(1.0, 0.06), (2.5, 0.07), (6.0, 0.07)];
/// Ratios of a single bin.
const SINGLES: [f64; 3] = [0.1, 2.0, 10.0];

impl Bins {
    /// The part of the capital of the bet that learns from the windows before.
    pub(super) const fn learned_weight(self) -> f64 {
        match self {
            Self::Ordered => 0.1,
            Self::Classes => 0.5,
        }
    }

    const fn singles_weight(self) -> f64 {
        match self {
            Self::Ordered => 0.05,
            Self::Classes => 0.5,
        }
    }

    /// The shapes for so many bins, up to [`MAX_BINS`]. They are asked for at every window, so they are
    /// made once.
    pub(super) fn shapes(self, count: usize) -> &'static [Shape] {
        static ORDERED: [OnceLock<Vec<Shape>>; MAX_BINS + 1] =
            [const { OnceLock::new() }; MAX_BINS + 1];
        static CLASSES: [OnceLock<Vec<Shape>>; MAX_BINS + 1] =
            [const { OnceLock::new() }; MAX_BINS + 1];
        let known = match self {
            Self::Ordered => &ORDERED,
            Self::Classes => &CLASSES,
        };
        known[count].get_or_init(|| self.make_shapes(count))
    }

    fn make_shapes(self, count: usize) -> Vec<Shape> {
        let mut shapes = Vec::new();
        if self == Self::Ordered {
            add_both_signs(&mut shapes, count, &SHIFTS, |position| position);
            add_both_signs(&mut shapes, count, &SPREADS, |position| position * position);
        }
        let weight = self.singles_weight() / (SINGLES.len() * count) as f64;
        for single in 0..count {
            for ratio in SINGLES {
                let ratios = (0..count).map(|bin| if bin == single { ratio } else { 1.0 });
                shapes.push(Shape {
                    weight,
                    ratios: ratios.collect(),
                });
            }
        }
        shapes
    }
}

fn add_both_signs(
    shapes: &mut Vec<Shape>,
    count: usize,
    sizes: &[(f64, f64)],
    direction: fn(f64) -> f64,
) {
    let position = |bin: usize| 2.0 * (bin as f64 + 0.5) / count as f64 - 1.0;
    for (size, weight) in sizes {
        for exponent in [-size, *size] {
            let ratios = (0..count).map(|bin| (exponent * direction(position(bin))).exp());
            shapes.push(Shape {
                weight: weight / 2.0,
                ratios: ratios.collect(),
            });
        }
    }
}
