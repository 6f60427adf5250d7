//! Numbers as the place between edges.

use crate::program::{Inputs, Op};
use crate::{Column, Reason, RowError};

/// The number of edges that are not above a number: `searchsorted(edges, x, side="right")`.
#[derive(Debug)]
pub(crate) struct Bins {
    /// For each input, in ascending order.
    pub(crate) edges: Vec<Vec<f64>>,
    /// Whether a missing number stays missing, and is no mistake.
    pub(crate) keeps_missing: bool,
}

impl Op for Bins {
    fn run(&self, inputs: &Inputs<'_>) -> Result<Column, RowError> {
        if !self.keeps_missing {
            check_present(inputs)?;
        }
        Ok(inputs.each(|input, value| {
            if value.is_nan() {
                return value;
            }
            let place = self.edges[input].partition_point(|edge| *edge <= value);
            place as f64
        }))
    }
}

fn check_present(inputs: &Inputs<'_>) -> Result<(), RowError> {
    for input in 0..inputs.len() {
        if let Some(row) = inputs
            .numbers(input)
            .iter()
            .position(|value| value.is_nan())
        {
            let problem = "is missing, and its transformer takes no missing values";
            return Err(inputs.error(input, row, Reason::Required, problem));
        }
    }
    Ok(())
}
