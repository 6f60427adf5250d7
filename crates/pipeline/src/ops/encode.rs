//! Numbers in place of categories: ordinal and target encoding.

use super::categories::{Categories, UNKNOWN};
use super::one_hot::unknown_category;
use crate::program::{Inputs, Op};
use crate::{Column, RowError};

/// One or several numbers for each category, side by side for all inputs.
#[derive(Debug)]
pub(crate) struct Encode {
    pub(crate) columns: Vec<EncodedColumn>,
}

/// How one input is encoded.
#[derive(Debug)]
pub(crate) struct EncodedColumn {
    pub(crate) categories: Categories,
    /// How many numbers each category has.
    pub(crate) width: usize,
    /// The numbers of each category, one category after the other.
    pub(crate) numbers: Vec<f64>,
    /// The numbers of all other values. Without them such values are rejected.
    pub(crate) unknown: Option<Vec<f64>>,
}

impl Op for Encode {
    fn run(&self, inputs: &Inputs<'_>) -> Result<Column, RowError> {
        let width: usize = self.columns.iter().map(|column| column.width).sum();
        let mut values = Vec::with_capacity(width * inputs.rows());
        let mut codes = Vec::with_capacity(inputs.rows());
        for (input, column) in self.columns.iter().enumerate() {
            column.categories.codes(inputs, input, &mut codes);
            column.check(inputs, input, &codes)?;
            for place in 0..column.width {
                values.extend(codes.iter().map(|code| column.number(*code, place)));
            }
        }
        Ok(Column::Numbers(values))
    }
}

impl EncodedColumn {
    fn check(&self, inputs: &Inputs<'_>, input: usize, codes: &[u32]) -> Result<(), RowError> {
        if self.unknown.is_some() {
            return Ok(());
        }
        match codes.iter().position(|code| *code == UNKNOWN) {
            Some(row) => Err(unknown_category(inputs, input, row)),
            None => Ok(()),
        }
    }

    fn number(&self, code: u32, place: usize) -> f64 {
        match (&self.unknown, code) {
            (Some(unknown), UNKNOWN) => unknown[place],
            // Without numbers for unknown values, `check` has found that there are none.
            (_, code) => self.numbers[code as usize * self.width + place],
        }
    }
}
