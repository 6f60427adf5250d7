//! Measuring several things in turn, and what follows from it.

use anyhow::Result;

use super::client::Figures;
use super::median;
use super::report::Cell;

/// Measures each of `count` things once a round, in the reverse order of the round before; gives
/// the rounds of each.
pub(super) fn in_turn<T>(
    count: usize,
    rounds: usize,
    mut measure: impl FnMut(usize) -> Result<T>,
) -> Result<Vec<Vec<T>>> {
    let mut all: Vec<Vec<T>> = (0..count).map(|_| Vec::new()).collect();
    for round in 0..rounds {
        for step in 0..count {
            let at = if round % 2 == 1 {
                count - 1 - step
            } else {
                step
            };
            all[at].push(measure(at)?);
        }
    }
    Ok(all)
}

/// The median of one quantity over the rounds.
pub(super) fn middle<T>(rounds: &[T], pick: impl Fn(&T) -> f64) -> f64 {
    median(rounds.iter().map(pick).collect())
}

/// The median over the rounds of one quantity of the first over the same of the other.
pub(super) fn ratio<T>(first: &[T], other: &[T], pick: impl Fn(&T) -> f64) -> f64 {
    median(
        first
            .iter()
            .zip(other)
            .map(|(first, other)| pick(first) / pick(other))
            .collect(),
    )
}

/// The medians of one contestant, and the median ratios of the first contestant to it.
pub(super) struct Comparison {
    pub(super) name: &'static str,
    pub(super) figures: Figures,
    /// The first contestant's requests per second over this one's.
    pub(super) rate_ratio: f64,
    pub(super) p50_ratio: f64,
    pub(super) p99_ratio: f64,
}

impl Comparison {
    /// Its own medians, as the cells of a row: requests per second, p50 and p99 in microseconds.
    pub(super) fn cells(&self) -> [Cell; 3] {
        let figures = &self.figures;
        [figures.requests_per_second, figures.p50_us, figures.p99_us]
            .map(|figure| figure.round().into())
    }

    /// The ratios of the first contestant to it, in the same order.
    pub(super) fn ratio_cells(&self) -> [Cell; 3] {
        [self.rate_ratio, self.p50_ratio, self.p99_ratio].map(Cell::from)
    }

    /// How a contestant did in its rounds, next to those of the first.
    pub(super) fn new(name: &'static str, first: &[Figures], own: &[Figures]) -> Self {
        Self {
            name,
            figures: Figures {
                requests_per_second: middle(own, Figures::rate),
                p50_us: middle(own, Figures::p50),
                p99_us: middle(own, Figures::p99),
                errors: 0,
            },
            rate_ratio: ratio(first, own, Figures::rate),
            p50_ratio: ratio(first, own, Figures::p50),
            p99_ratio: ratio(first, own, Figures::p99),
        }
    }
}
