//! Scaling of numbers.

use crate::program::{Inputs, Op};
use crate::{Column, RowError};

/// `(x - subtract) / divide * multiply + add`, then clipped: in this order and only those that are
/// there, so that results have the last bit of scikit-learn's.
#[derive(Debug, Default)]
pub(crate) struct Affine {
    pub(crate) subtract: Option<Vec<f64>>,
    pub(crate) divide: Option<Vec<f64>>,
    pub(crate) multiply: Option<Vec<f64>>,
    pub(crate) add: Option<Vec<f64>>,
    pub(crate) clip: Option<(f64, f64)>,
}

impl Op for Affine {
    fn run(&self, inputs: &Inputs<'_>) -> Result<Column, RowError> {
        let mut values = Vec::with_capacity(inputs.len() * inputs.rows());
        for input in 0..inputs.len() {
            let begin = values.len();
            values.extend_from_slice(inputs.numbers(input));
            self.scale(input, &mut values[begin..]);
        }
        Ok(Column::Numbers(values))
    }
}

impl Affine {
    fn scale(&self, input: usize, values: &mut [f64]) {
        if let Some(subtract) = &self.subtract {
            let by = subtract[input];
            values.iter_mut().for_each(|value| *value -= by);
        }
        if let Some(divide) = &self.divide {
            let by = divide[input];
            values.iter_mut().for_each(|value| *value /= by);
        }
        if let Some(multiply) = &self.multiply {
            let by = multiply[input];
            values.iter_mut().for_each(|value| *value *= by);
        }
        if let Some(add) = &self.add {
            let by = add[input];
            values.iter_mut().for_each(|value| *value += by);
        }
        if let Some((low, high)) = self.clip {
            values
                .iter_mut()
                .for_each(|value| *value = clip(*value, low, high));
        }
    }
}

/// The nearest number of a range. A missing one stays missing.
pub(crate) fn clip(value: f64, low: f64, high: f64) -> f64 {
    // Not `clamp`: it panics where the range is empty, and a manifest may say that.
    if value < low {
        low
    } else if value > high {
        high
    } else {
        value
    }
}
