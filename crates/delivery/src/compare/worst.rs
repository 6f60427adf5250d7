//! The worst disagreements.

use serde::{Deserialize, Serialize};

/// The pairs with the largest distances, the worst first; never more than a limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorstPairs<T> {
    limit: usize,
    pairs: Vec<(f64, T)>,
}

impl<T> WorstPairs<T> {
    /// None yet, and so many at most.
    pub const fn new(limit: usize) -> Self {
        Self {
            limit,
            pairs: Vec::new(),
        }
    }

    /// Adds a pair if it is among the worst. `sample` is asked for it only then, as making one, e.g.
    /// redacting it, costs more than the comparison.
    pub fn add(&mut self, distance: f64, sample: impl FnOnce() -> T) {
        let place = self.pairs.partition_point(|(other, _)| *other >= distance);
        if place >= self.limit {
            return;
        }
        self.pairs.insert(place, (distance, sample()));
        self.pairs.truncate(self.limit);
    }

    /// Distances and samples, the worst first.
    pub fn as_slice(&self) -> &[(f64, T)] {
        &self.pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_worst_are_made_and_kept() {
        let (mut worst, mut made) = (WorstPairs::new(2), 0);
        for distance in [1.0, 3.0, 0.5, f64::INFINITY, 2.0] {
            worst.add(distance, || made += 1);
        }
        let distances: Vec<f64> = worst
            .as_slice()
            .iter()
            .map(|(distance, ())| *distance)
            .collect();
        assert_eq!((distances, made), (vec![f64::INFINITY, 3.0], 3));
    }
}
