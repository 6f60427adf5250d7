//! Probabilities of many classes.

use serde::{Deserialize, Serialize};

use super::calibration::CalibrationBins;
use super::estimate::{Confidence, Estimate};
use crate::moments::Moments;

/// Probabilities of many classes with the class that came true.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassProbabilities {
    log_loss: Moments,
    brier: Moments,
    confidence: CalibrationBins,
    invalid: u64,
}

impl ClassProbabilities {
    /// Counts an answer: a probability for each class, and the number of the true class. Those that
    /// are no probabilities, or do not have that class, are counted as invalid.
    pub fn add(&mut self, probabilities: &[f64], actual: usize) {
        let valid = probabilities
            .iter()
            .all(|probability| (0.0..=1.0).contains(probability));
        let Some(&likelihood) = probabilities.get(actual).filter(|_| valid) else {
            self.invalid = self.invalid.saturating_add(1);
            return;
        };
        self.log_loss.add(-likelihood.clamp(f64::EPSILON, 1.0).ln());
        let squared = |(class, probability): (usize, &f64)| {
            (probability - f64::from(u8::from(class == actual))).powi(2)
        };
        self.brier
            .add(probabilities.iter().enumerate().map(squared).sum());
        let highest = probabilities.iter().copied().fold(0.0, f64::max);
        self.confidence.add(highest, likelihood == highest);
    }

    /// Adds what another has.
    pub fn merge(&mut self, other: &Self) {
        self.log_loss.merge(&other.log_loss);
        self.brier.merge(&other.brier);
        self.confidence.merge(&other.confidence);
        self.invalid = self.invalid.saturating_add(other.invalid);
    }

    /// How many answers were left out.
    pub fn invalid(&self) -> u64 {
        self.invalid
    }

    /// The mean of `-ln` of the probability of what came true.
    pub fn log_loss(&self, confidence: Confidence) -> Option<Estimate> {
        Estimate::mean(&self.log_loss, confidence)
    }

    /// The mean over answers of the squared distances, summed over the classes (Brier 1950): from 0
    /// to 2.
    pub fn brier(&self, confidence: Confidence) -> Option<Estimate> {
        Estimate::mean(&self.brier, confidence)
    }

    /// Whether the highest probability is how often that class came true.
    pub fn calibration(&self) -> &CalibrationBins {
        &self.confidence
    }
}
