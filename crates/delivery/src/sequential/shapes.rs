//! How the distribution of outputs may differ between two versions.

use std::sync::OnceLock;

use super::distribution_test::MAX_BINS;

/// The bets of a distribution test: how many times as often each bin comes up for the candidate, up
/// to a factor that all bins have in common.
///
/// Bets on few directions find what they bet on much sooner than a bet on all histograms at once:
/// outputs that are shifted, that are spread or narrowed, and one bin that is too frequent, too rare or
/// gone.
pub(super) struct Shapes(Vec<Shape>);

/// They depend on the number of bins alone, and are asked for at every window.
static SHAPES: [OnceLock<Shapes>; MAX_BINS + 1] = [const { OnceLock::new() }; MAX_BINS + 1];

pub(super) struct Shape {
    /// Its part of the capital at the start.
    pub(super) weight: f64,
    /// One ratio for each bin.
    pub(super) ratios: Vec<f64>,
}

/// Exponents of shifts, for the position of a bin from −1 to 1; for both signs.
const SHIFTS: [f64; 3] = [0.4, 1.0, 2.5];
/// Exponents of spreads, for the square of the position; for both signs.
const SPREADS: [f64; 3] = [1.0, 2.5, 6.0];
/// Ratios of a single bin.
const SINGLES: [f64; 3] = [0.1, 2.0, 10.0];
/// The parts of the capital for shifts, spreads and single bins; the rest is for the bet that learns.
const WEIGHTS: [f64; 3] = [0.5, 0.2, 0.1];
/// The part of the bet that learns from the windows before.
pub(super) const LEARNED_WEIGHT: f64 = 0.2;

impl Shapes {
    /// The shapes of at most [`MAX_BINS`] bins.
    pub(super) fn of(bins: usize) -> &'static [Shape] {
        &SHAPES[bins].get_or_init(|| Self::new(bins)).0
    }

    fn new(bins: usize) -> Self {
        let mut shapes = Vec::new();
        let position = |bin: usize| 2.0 * (bin as f64 + 0.5) / bins as f64 - 1.0;
        for exponent in SHIFTS.iter().flat_map(|size| [-size, *size]) {
            let ratios = (0..bins).map(|bin| (exponent * position(bin)).exp());
            let weight = WEIGHTS[0] / (2 * SHIFTS.len()) as f64;
            shapes.push(Shape {
                weight,
                ratios: ratios.collect(),
            });
        }
        for exponent in SPREADS.iter().flat_map(|size| [-size, *size]) {
            let ratios = (0..bins).map(|bin| (exponent * position(bin).powi(2)).exp());
            let weight = WEIGHTS[1] / (2 * SPREADS.len()) as f64;
            shapes.push(Shape {
                weight,
                ratios: ratios.collect(),
            });
        }
        let weight = WEIGHTS[2] / (SINGLES.len() * bins) as f64;
        for single in 0..bins {
            for ratio in SINGLES {
                let ratios = (0..bins).map(|bin| if bin == single { ratio } else { 1.0 });
                shapes.push(Shape {
                    weight,
                    ratios: ratios.collect(),
                });
            }
        }
        Self(shapes)
    }
}
