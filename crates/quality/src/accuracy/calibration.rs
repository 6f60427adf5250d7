//! Whether probabilities are what they say.

use serde::{Deserialize, Serialize};

use crate::moments::Moments;

/// How many bins of equal width there are.
const BINS: usize = 10;

/// Probabilities by ten bins of equal width, each with how often it came true.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBins {
    bins: [CalibrationCounts; BINS],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct CalibrationCounts {
    probabilities: Moments,
    positives: u64,
}

/// One bin of a reliability diagram.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CalibrationBin {
    /// The mean of the probabilities in it.
    pub mean_probability: f64,
    /// The share that came true.
    pub positive_share: f64,
    /// How many are in it.
    pub n: u64,
}

impl Default for CalibrationBins {
    fn default() -> Self {
        Self {
            bins: [CalibrationCounts::default(); BINS],
        }
    }
}

impl CalibrationBins {
    /// Counts a probability between 0 and 1; others are left out.
    pub fn add(&mut self, probability: f64, positive: bool) {
        if !(0.0..=1.0).contains(&probability) {
            return;
        }
        let bin = (probability * BINS as f64) as usize;
        let bin = &mut self.bins[bin.min(BINS - 1)];
        bin.probabilities.add(probability);
        bin.positives = bin.positives.saturating_add(u64::from(positive));
    }

    /// Adds what others have.
    pub fn merge(&mut self, other: &Self) {
        for (bin, more) in self.bins.iter_mut().zip(&other.bins) {
            bin.probabilities.merge(&more.probabilities);
            bin.positives = bin.positives.saturating_add(more.positives);
        }
    }

    /// The bins that have any: the points of a reliability diagram.
    pub fn bins(&self) -> Vec<CalibrationBin> {
        let bin = |counts: &CalibrationCounts| {
            let n = counts.probabilities.count();
            let mean_probability = counts.probabilities.mean()?;
            let positive_share = counts.positives as f64 / n as f64;
            Some(CalibrationBin {
                mean_probability,
                positive_share,
                n,
            })
        };
        self.bins.iter().filter_map(bin).collect()
    }

    /// The expected calibration error: the mean distance of a bin's probability from the share that
    /// came true (Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using
    /// Bayesian binning", 2015). `None` without any. For few rows it is above 0 by chance alone.
    pub fn expected_error(&self) -> Option<f64> {
        let bins = self.bins();
        let n: f64 = bins.iter().map(|bin| bin.n as f64).sum();
        let distance =
            |bin: &CalibrationBin| (bin.mean_probability - bin.positive_share).abs() * bin.n as f64;
        (n > 0.0).then(|| bins.iter().map(distance).sum::<f64>() / n)
    }
}
