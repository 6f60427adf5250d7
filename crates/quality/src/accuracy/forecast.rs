//! Forecasts.

use serde::{Deserialize, Serialize};

use super::estimate::{Confidence, Estimate};
use crate::moments::{Moments, finite};

/// The mean absolute error, over a history, of forecasting every value by the one a season before:
/// what a [`Forecast`] is measured against. `None` if the history is not longer than the season, or
/// the error is 0.
pub fn naive_error(history: &[f64], season: usize) -> Option<f64> {
    let later = history.get(season..).filter(|_| season > 0)?;
    let errors = later
        .iter()
        .zip(history)
        .map(|(now, before)| (now - before).abs());
    errors
        .collect::<Moments>()
        .mean()
        .filter(|&error| error > 0.0)
}

/// Forecasts with what came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forecast {
    /// Errors divided by the naive error.
    scaled: Moments,
    /// The same with their signs.
    signed: Moments,
    naive_error: f64,
    invalid: u64,
}

impl Forecast {
    /// Forecasts of a series whose [`naive_error`] is given. `None` if it is not above 0.
    pub fn new(naive_error: f64) -> Option<Self> {
        let valid = naive_error.is_finite() && naive_error > 0.0;
        valid.then(|| Self {
            scaled: Moments::default(),
            signed: Moments::default(),
            naive_error,
            invalid: 0,
        })
    }

    /// Counts a forecast. Those that are not finite are counted as invalid.
    pub fn add(&mut self, predicted: f64, actual: f64) {
        match finite((predicted - actual) / self.naive_error) {
            Some(error) => {
                self.scaled.add(error.abs());
                self.signed.add(error);
            }
            None => self.invalid = self.invalid.saturating_add(1),
        }
    }

    /// Adds what another has, of this series or another one: errors are scaled.
    pub fn merge(&mut self, other: &Self) {
        self.scaled.merge(&other.scaled);
        self.signed.merge(&other.signed);
        self.invalid = self.invalid.saturating_add(other.invalid);
    }

    /// How many were not finite: they are in no result.
    pub fn invalid(&self) -> u64 {
        self.invalid
    }

    /// The mean absolute scaled error (Hyndman and Koehler, "Another look at measures of forecast
    /// accuracy", 2006): below 1 if it is better than the naive forecast.
    pub fn mase(&self, confidence: Confidence) -> Option<Estimate> {
        Some(Estimate::mean(&self.scaled, confidence)?.at_least_zero())
    }

    /// The mean scaled error: above 0 if forecasts are too high.
    pub fn bias(&self, confidence: Confidence) -> Option<Estimate> {
        Estimate::mean(&self.signed, confidence)
    }
}
