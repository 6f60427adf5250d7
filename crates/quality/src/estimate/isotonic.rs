//! Isotonic regression.

use serde::{Deserialize, Serialize};

/// The ascending function that is nearest to pairs in the sum of squares, by pooling adjacent
/// violators (Ayer et al., "An empirical distribution function for sampling with incomplete
/// information", 1955): steps, with lines between them, and constant outside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(f64, f64)>", into = "Vec<(f64, f64)>")]
pub struct Isotonic {
    /// Ascending in both.
    points: Vec<(f64, f64)>,
}

/// Neighbouring pairs with one value.
struct Block {
    first: f64,
    last: f64,
    sum: f64,
    weight: f64,
}

impl Block {
    fn mean(&self) -> f64 {
        self.sum / self.weight
    }
}

/// Numbers that are nearer to each other count as equal, as in scikit-learn.
const RESOLUTION: f64 = 1e-15;

impl Isotonic {
    /// Fits it. `None` without pairs, or if a number is not finite.
    pub fn fit(pairs: &[(f64, f64)]) -> Option<Self> {
        if pairs.is_empty()
            || pairs
                .iter()
                .any(|pair| !pair.0.is_finite() || !pair.1.is_finite())
        {
            return None;
        }
        let mut sorted = pairs.to_vec();
        sorted.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut blocks: Vec<Block> = Vec::new();
        for equal in equal_runs(&sorted) {
            let sum = equal.iter().map(|pair| pair.1).sum();
            blocks.push(Block {
                first: equal[0].0,
                last: equal[0].0,
                sum,
                weight: equal.len() as f64,
            });
            pool(&mut blocks);
        }
        let mut points = Vec::with_capacity(2 * blocks.len());
        for block in blocks {
            points.push((block.first, block.mean()));
            if block.last > block.first {
                points.push((block.last, block.mean()));
            }
        }
        Some(Self { points })
    }

    /// The value at a number. `None` for NaN.
    pub fn value(&self, at: f64) -> Option<f64> {
        if at.is_nan() {
            return None;
        }
        let after = self.points.partition_point(|point| point.0 < at);
        match (
            after.checked_sub(1).map(|before| self.points[before]),
            self.points.get(after),
        ) {
            (Some(before), Some(&after)) => {
                let share = (at - before.0) / (after.0 - before.0);
                Some(before.1 + (after.1 - before.1) * share)
            }
            (before, after) => before.or(after.copied()).map(|point| point.1),
        }
    }
}

fn equal_runs(sorted: &[(f64, f64)]) -> Vec<&[(f64, f64)]> {
    let mut runs = Vec::new();
    let mut start = 0;
    for end in 1..=sorted.len() {
        if end == sorted.len() || sorted[end].0 - sorted[start].0 >= RESOLUTION {
            runs.push(&sorted[start..end]);
            start = end;
        }
    }
    runs
}

/// Puts the last blocks together while they descend.
fn pool(blocks: &mut Vec<Block>) {
    while let [.., before, last] = blocks.as_mut_slice() {
        if before.mean() < last.mean() {
            return;
        }
        before.last = last.last;
        before.sum += last.sum;
        before.weight += last.weight;
        blocks.pop();
    }
}

impl TryFrom<Vec<(f64, f64)>> for Isotonic {
    type Error = &'static str;

    fn try_from(points: Vec<(f64, f64)>) -> Result<Self, Self::Error> {
        let finite = points
            .iter()
            .all(|point| point.0.is_finite() && point.1.is_finite());
        let ascend = points
            .windows(2)
            .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        if points.is_empty() || !finite || !ascend {
            return Err("points of an isotonic function must ascend");
        }
        Ok(Self { points })
    }
}

impl From<Isotonic> for Vec<(f64, f64)> {
    fn from(isotonic: Isotonic) -> Self {
        isotonic.points
    }
}
