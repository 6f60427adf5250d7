//! A column of 0 and 1 for each category.

use super::categories::{Categories, UNKNOWN};
use crate::error::shown;
use crate::program::{Inputs, Kind, Op};
use crate::{Column, Reason, RowError};

/// Columns of 0 and 1, side by side for all inputs.
#[derive(Debug)]
pub(crate) struct OneHot {
    pub(crate) columns: Vec<OneHotColumn>,
}

/// How one input is encoded.
#[derive(Debug)]
pub(crate) struct OneHotColumn {
    pub(crate) categories: Categories,
    /// Which of its columns is 1 for each category; `None` for one that was dropped.
    pub(crate) slots: Vec<Option<u32>>,
    /// How many columns it has.
    pub(crate) width: usize,
    pub(crate) unknown: Unknown,
}

/// What happens to a value that is none of the categories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// The request fails.
    Reject,
    /// All columns are 0.
    Zeros,
    /// This column is 1.
    Slot(u32),
}

impl Op for OneHot {
    fn run(&self, inputs: &Inputs<'_>) -> Result<Column, RowError> {
        let width = self.columns.iter().map(|column| column.width).sum();
        let mut values = inputs.block(width);
        let mut codes = Vec::with_capacity(inputs.rows());
        let mut rest = values.as_mut_slice();
        for (input, column) in self.columns.iter().enumerate() {
            let (own, others) = rest.split_at_mut(column.width * inputs.rows());
            column.categories.codes(inputs, input, &mut codes);
            column.fill(inputs, input, &codes, own)?;
            rest = others;
        }
        Ok(Column::Numbers(values))
    }
}

impl OneHotColumn {
    fn fill(
        &self,
        inputs: &Inputs<'_>,
        input: usize,
        codes: &[u32],
        values: &mut [f64],
    ) -> Result<(), RowError> {
        for (row, code) in codes.iter().enumerate() {
            let slot = match (*code, self.unknown) {
                (UNKNOWN, Unknown::Reject) => return Err(unknown_category(inputs, input, row)),
                (UNKNOWN, Unknown::Zeros) => None,
                (UNKNOWN, Unknown::Slot(slot)) => Some(slot),
                (code, _) => self.slots[code as usize],
            };
            if let Some(slot) = slot {
                values[slot as usize * codes.len() + row] = 1.0;
            }
        }
        Ok(())
    }
}

/// The error of a value that is none of the categories of its encoder.
pub(super) fn unknown_category(inputs: &Inputs<'_>, input: usize, row: usize) -> RowError {
    let value = if inputs.source(input).kind == Kind::Text {
        inputs.text(input).get(row).map(shown)
    } else {
        let number = inputs.numbers(input)[row];
        (!number.is_nan()).then(|| number.to_string())
    };
    let (reason, problem) = match value {
        Some(value) => (
            Reason::Category,
            format!("is {value}, which is none of the categories that its encoder knows"),
        ),
        None => (
            Reason::Required,
            "is missing, and its encoder knows no missing values".to_owned(),
        ),
    };
    inputs.error(input, row, reason, problem)
}
