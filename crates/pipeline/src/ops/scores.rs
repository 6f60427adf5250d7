//! Scores of classes, side by side.

use crate::program::{Inputs, Op};
use crate::{Column, Reason, RowError};

/// `exp(x) / sum(exp(x))` of each row, from its largest score so that nothing overflows.
#[derive(Debug)]
pub(crate) struct Softmax;

impl Op for Softmax {
    fn run(&self, inputs: &Inputs<'_>) -> Result<Column, RowError> {
        let rows = inputs.rows();
        let mut largest = vec![f64::NEG_INFINITY; rows];
        for input in 0..inputs.len() {
            for (largest, score) in largest.iter_mut().zip(inputs.numbers(input)) {
                *largest = largest.max(*score);
            }
        }
        let mut sums = vec![0.0; rows];
        let mut values = Vec::with_capacity(inputs.len() * rows);
        for input in 0..inputs.len() {
            for (row, score) in inputs.numbers(input).iter().enumerate() {
                let value = (score - largest[row]).exp();
                sums[row] += value;
                values.push(value);
            }
        }
        for column in values.chunks_mut(rows.max(1)) {
            column
                .iter_mut()
                .zip(&sums)
                .for_each(|(value, sum)| *value /= sum);
        }
        Ok(Column::Numbers(values))
    }
}

/// `1 / (1 + exp(-x))` of each score.
#[derive(Debug)]
pub(crate) struct Sigmoid;

impl Op for Sigmoid {
    fn run(&self, inputs: &Inputs<'_>) -> Result<Column, RowError> {
        Ok(inputs.each(|_, score| sigmoid(score)))
    }
}

/// The logistic function, without overflow on either side.
pub(crate) fn sigmoid(score: f64) -> f64 {
    if score < 0.0 {
        let power = score.exp();
        power / (1.0 + power)
    } else {
        1.0 / (1.0 + (-score).exp())
    }
}

/// The places of the largest scores of each row, in order: a column for each. Of equal scores the
/// first counts.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) count: usize,
}

impl Op for Places {
    fn run(&self, inputs: &Inputs<'_>) -> Result<Column, RowError> {
        let rows = inputs.rows();
        let mut values = inputs.block(self.count);
        let mut best: Vec<(f64, usize)> = Vec::with_capacity(self.count + 1);
        for row in 0..rows {
            best.clear();
            for input in 0..inputs.len() {
                let score = score(inputs, input, row)?;
                let at = best.partition_point(|(other, _)| *other >= score);
                if at < self.count {
                    best.truncate(self.count - 1);
                    best.insert(at, (score, input));
                }
            }
            for (at, (_, place)) in best.iter().enumerate() {
                values[at * rows + row] = *place as f64;
            }
        }
        Ok(Column::Numbers(values))
    }
}

/// The scores at places: the places come first among the inputs.
#[derive(Debug)]
pub(crate) struct AtPlaces {
    pub(crate) count: usize,
}

impl Op for AtPlaces {
    fn run(&self, inputs: &Inputs<'_>) -> Result<Column, RowError> {
        let mut values = Vec::with_capacity(self.count * inputs.rows());
        for at in 0..self.count {
            for (row, place) in inputs.numbers(at).iter().enumerate() {
                values.push(inputs.numbers(self.count + *place as usize)[row]);
            }
        }
        Ok(Column::Numbers(values))
    }
}

/// A score that can be compared.
pub(super) fn score(inputs: &Inputs<'_>, input: usize, row: usize) -> Result<f64, RowError> {
    let score = inputs.numbers(input)[row];
    if score.is_nan() {
        let problem = "is not a number, so nothing can be decided by it";
        return Err(inputs.error(input, row, Reason::Range, problem));
    }
    Ok(score)
}
