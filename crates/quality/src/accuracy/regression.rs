//! Numbers that were predicted.

use serde::{Deserialize, Serialize};

use super::estimate::{Confidence, Estimate};
use crate::moments::Moments;

/// Predicted numbers with the true ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Regression {
    errors: Moments,
    absolute: Moments,
    squared: Moments,
    relative: Moments,
    actual: Moments,
    /// Quantile and loss.
    pinball: Vec<(f64, Moments)>,
    invalid: u64,
}

impl Regression {
    /// For a model that predicts quantiles: the quantiles, between 0 and 1, whose losses are
    /// wanted.
    pub fn with_quantiles(quantiles: &[f64]) -> Self {
        let valid = quantiles
            .iter()
            .copied()
            .filter(|quantile| (0.0..=1.0).contains(quantile));
        let pinball = valid
            .map(|quantile| (quantile, Moments::default()))
            .collect();
        Self {
            pinball,
            ..Self::default()
        }
    }

    /// Counts a prediction. Those that are not finite are counted as invalid.
    pub fn add(&mut self, predicted: f64, actual: f64) {
        let error = predicted - actual;
        if !error.is_finite() {
            self.invalid = self.invalid.saturating_add(1);
            return;
        }
        self.errors.add(error);
        self.absolute.add(error.abs());
        self.squared.add(error * error);
        self.actual.add(actual);
        if actual != 0.0 {
            self.relative.add((error / actual).abs());
        }
        for (quantile, loss) in &mut self.pinball {
            // Koenker and Bassett, "Regression quantiles", 1978.
            loss.add(if error > 0.0 {
                (1.0 - *quantile) * error
            } else {
                -*quantile * error
            });
        }
    }

    /// Adds what another has. Losses of quantiles that this one does not have are left out.
    pub fn merge(&mut self, other: &Self) {
        self.errors.merge(&other.errors);
        self.absolute.merge(&other.absolute);
        self.squared.merge(&other.squared);
        self.relative.merge(&other.relative);
        self.actual.merge(&other.actual);
        self.invalid = self.invalid.saturating_add(other.invalid);
        for (quantile, loss) in &mut self.pinball {
            let same = other.pinball.iter().find(|(other, _)| other == quantile);
            same.iter().for_each(|(_, more)| loss.merge(more));
        }
    }

    /// How many predictions were counted.
    pub fn n(&self) -> u64 {
        self.errors.count()
    }

    /// How many were not finite: they are in no result.
    pub fn invalid(&self) -> u64 {
        self.invalid
    }

    /// The mean absolute error.
    pub fn mae(&self, confidence: Confidence) -> Option<Estimate> {
        Some(Estimate::mean(&self.absolute, confidence)?.at_least_zero())
    }

    /// The root of the mean squared error.
    pub fn rmse(&self, confidence: Confidence) -> Option<Estimate> {
        Estimate::mean(&self.squared, confidence)?
            .at_least_zero()
            .map(f64::sqrt)
    }

    /// The mean of the error divided by the true number, 0.1 for 10 %. Numbers that are 0 are left
    /// out: its `n` says of how many it is.
    pub fn mape(&self, confidence: Confidence) -> Option<Estimate> {
        Some(Estimate::mean(&self.relative, confidence)?.at_least_zero())
    }

    /// The mean error: above 0 if predictions are too high.
    pub fn bias(&self, confidence: Confidence) -> Option<Estimate> {
        Estimate::mean(&self.errors, confidence)
    }

    /// The loss of each quantile.
    pub fn pinball(&self, confidence: Confidence) -> Vec<(f64, Option<Estimate>)> {
        let estimate = |(quantile, loss): &(f64, Moments)| {
            let estimate = Estimate::mean(loss, confidence);
            (*quantile, estimate.map(Estimate::at_least_zero))
        };
        self.pinball.iter().map(estimate).collect()
    }

    /// The share of the variance that is explained. `None` if all true numbers are the same.
    pub fn r2(&self) -> Option<f64> {
        let total = self.actual.variance().filter(|&variance| variance > 0.0)?;
        let freedom = (self.n() - 1) as f64 / self.n() as f64;
        crate::moments::finite(1.0 - self.squared.mean()? / (total * freedom))
    }
}
