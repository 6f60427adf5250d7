//! Expected accuracy of answers of many classes.

use serde::{Deserialize, Serialize};

use super::calibration::Calibration;
use crate::accuracy::{Confidence, Estimate};
use crate::moments::Moments;

/// Makes probabilities of many classes into calibrated ones: each class against the others, then
/// scaled to a sum of 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassCalibration {
    classes: Vec<Calibration>,
}

impl ClassCalibration {
    /// Fits it on rows of probabilities, one for each class, and the numbers of the true classes.
    /// `None` without rows, or if a row has another length or numbers that are not between 0 and 1.
    pub fn fit(rows: &[Vec<f64>], actual: &[usize]) -> Option<Self> {
        let classes = rows.first()?.len();
        let same_length = rows.iter().all(|row| row.len() == classes);
        if rows.len() != actual.len() || !same_length {
            return None;
        }
        let calibration = |class: usize| {
            let scores: Vec<f64> = rows.iter().map(|row| row[class]).collect();
            let positive: Vec<bool> = actual.iter().map(|&actual| actual == class).collect();
            Calibration::fit(&scores, &positive)
        };
        let classes: Option<Vec<Calibration>> = (0..classes).map(calibration).collect();
        Some(Self {
            classes: classes.filter(|classes| !classes.is_empty())?,
        })
    }

    /// How many classes there are.
    pub(super) fn classes(&self) -> usize {
        self.classes.len()
    }

    /// The calibrated probabilities. `None` if there are not as many as classes, or one is not
    /// between 0 and 1.
    pub fn probabilities(&self, row: &[f64]) -> Option<Vec<f64>> {
        if row.len() != self.classes.len() {
            return None;
        }
        let each = row
            .iter()
            .zip(&self.classes)
            .map(|(&score, class)| class.probability(score));
        let mut probabilities = each.collect::<Option<Vec<f64>>>()?;
        let sum: f64 = probabilities.iter().sum();
        let equal = 1.0 / probabilities.len() as f64;
        let scale = |probability: &mut f64| {
            *probability = if sum > 0.0 { *probability / sum } else { equal };
        };
        probabilities.iter_mut().for_each(scale);
        Some(probabilities)
    }
}

/// Expected counts of answered and true classes. Can be merged and stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedConfusion {
    /// Expected counts: `counts[answered][actual]`.
    counts: Vec<Vec<f64>>,
    right: Moments,
    variance: f64,
    invalid: u64,
}

impl ExpectedConfusion {
    /// Of so many classes.
    pub fn new(classes: usize) -> Self {
        let counts = vec![vec![0.0; classes]; classes];
        Self {
            counts,
            right: Moments::default(),
            variance: 0.0,
            invalid: 0,
        }
    }

    /// Counts an answer: calibrated probabilities, and the number of the answered class. Others are
    /// counted as invalid.
    pub fn add(&mut self, probabilities: &[f64], answered: usize) {
        let classes = self.counts.len();
        let valid = probabilities.len() == classes
            && probabilities
                .iter()
                .all(|probability| (0.0..=1.0).contains(probability));
        let Some(row) = self.counts.get_mut(answered).filter(|_| valid) else {
            self.invalid = self.invalid.saturating_add(1);
            return;
        };
        row.iter_mut()
            .zip(probabilities)
            .for_each(|(count, probability)| *count += probability);
        let right = probabilities[answered];
        self.right.add(right);
        self.variance += right * (1.0 - right);
    }

    /// Adds what another has. `None`, and nothing is added, if it has another number of classes.
    #[must_use]
    pub fn merge(&mut self, other: &Self) -> Option<()> {
        if self.counts.len() != other.counts.len() {
            return None;
        }
        for (row, more) in self.counts.iter_mut().zip(&other.counts) {
            row.iter_mut()
                .zip(more)
                .for_each(|(count, more)| *count += more);
        }
        self.right.merge(&other.right);
        self.variance += other.variance;
        self.invalid = self.invalid.saturating_add(other.invalid);
        Some(())
    }

    /// How many answers were left out.
    pub fn invalid(&self) -> u64 {
        self.invalid
    }

    /// The expected share of right answers.
    pub fn accuracy(&self, confidence: Confidence) -> Option<Estimate> {
        let n = self.right.count();
        let error = self.variance.sqrt() / n as f64;
        Estimate::normal(self.right.mean()?, error, n, confidence, [0.0, 1.0])
    }

    /// Expected precision, recall and F1 of a class: `None` where nothing is expected.
    pub fn class(&self, class: usize) -> [Option<f64>; 3] {
        let Some(row) = self.counts.get(class) else {
            return [None; 3];
        };
        let answered: f64 = row.iter().sum();
        let actual: f64 = self.counts.iter().map(|row| row[class]).sum();
        let right = row[class];
        [
            share(right, answered),
            share(right, actual),
            share(2.0 * right, answered + actual),
        ]
    }

    /// The mean of each over the classes that have it.
    pub fn macro_average(&self) -> [Option<f64>; 3] {
        let classes: Vec<[Option<f64>; 3]> = (0..self.counts.len())
            .map(|class| self.class(class))
            .collect();
        [0, 1, 2].map(|which| {
            let values = classes.iter().filter_map(|class| class[which]);
            values.collect::<Moments>().mean()
        })
    }
}

fn share(part: f64, all: f64) -> Option<f64> {
    if all > 1e-9 {
        Some((part / all).clamp(0.0, 1.0))
    } else {
        None
    }
}
