//! Vectors of length 1.

use crate::program::{Inputs, Op};
use crate::{Column, RowError};

/// What a length is at least, so that a vector of zeros stays one.
const MIN_LENGTH: f64 = 1e-12;

/// Each row divided by its Euclidean length, as `torch.nn.functional.normalize`.
#[derive(Debug)]
pub(crate) struct Normalize;

impl Op for Normalize {
    fn run(&self, inputs: &Inputs<'_>) -> Result<Column, RowError> {
        let mut lengths = vec![0.0f64; inputs.rows()];
        for input in 0..inputs.len() {
            for (length, number) in lengths.iter_mut().zip(inputs.numbers(input)) {
                *length += number * number;
            }
        }
        for length in &mut lengths {
            *length = length.sqrt().max(MIN_LENGTH);
        }
        let mut numbers = Vec::with_capacity(inputs.len() * inputs.rows());
        for input in 0..inputs.len() {
            let column = inputs.numbers(input).iter().zip(&lengths);
            numbers.extend(column.map(|(number, length)| number / length));
        }
        Ok(Column::Numbers(numbers))
    }
}
