//! Missing values.

use crate::program::{Inputs, Kind, Op};
use crate::{Column, RowError};

/// A number in place of each missing one.
#[derive(Debug)]
pub(crate) struct Impute {
    /// The number that counts as missing; NaN for none but those that are.
    pub(crate) missing: f64,
    /// For each input.
    pub(crate) values: Vec<f64>,
}

impl Op for Impute {
    fn run(&self, inputs: &Inputs<'_>) -> Result<Column, RowError> {
        Ok(inputs.each(|input, value| {
            if is_missing(value, self.missing) {
                self.values[input]
            } else {
                value
            }
        }))
    }
}

/// 1 where a value is missing, else 0.
#[derive(Debug)]
pub(crate) struct Indicator {
    /// As [`Impute::missing`].
    pub(crate) missing: f64,
}

impl Op for Indicator {
    fn run(&self, inputs: &Inputs<'_>) -> Result<Column, RowError> {
        let mut values = Vec::with_capacity(inputs.len() * inputs.rows());
        for input in 0..inputs.len() {
            if inputs.source(input).kind == Kind::Text {
                let texts = inputs.text(input).iter();
                values.extend(texts.map(|text| f64::from(u8::from(text.is_none()))));
                continue;
            }
            let numbers = inputs.numbers(input).iter();
            values
                .extend(numbers.map(|value| f64::from(u8::from(is_missing(*value, self.missing)))));
        }
        Ok(Column::Numbers(values))
    }
}

fn is_missing(value: f64, missing: f64) -> bool {
    if missing.is_nan() {
        value.is_nan()
    } else {
        value == missing
    }
}
