//! Calibration of scores.

use tidegate_core::Calibration;

use super::scores::sigmoid;
use crate::program::{Inputs, Op};
use crate::{Column, RowError};

/// Scores as calibrated probabilities.
#[derive(Debug)]
pub(crate) struct Calibrate(pub(crate) Calibration);

impl Op for Calibrate {
    fn run(&self, inputs: &Inputs<'_>) -> Result<Column, RowError> {
        Ok(match &self.0 {
            Calibration::Platt { a, b } => inputs.each(|_, score| sigmoid(-(a * score + b))),
            Calibration::Isotonic { x, y } => inputs.each(|_, score| interpolated(x, y, score)),
        })
    }
}

/// The value at a place on straight lines between points; outside, that of the nearest point.
fn interpolated(x: &[f64], y: &[f64], at: f64) -> f64 {
    if at.is_nan() {
        return at;
    }
    let above = x.partition_point(|point| *point <= at);
    if above == 0 {
        return y[0];
    }
    if above == x.len() {
        return y[above - 1];
    }
    let (low, high) = (above - 1, above);
    y[low] + (y[high] - y[low]) / (x[high] - x[low]) * (at - x[low])
}
