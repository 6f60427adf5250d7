//! One value of a looked-up feature, as its column has it.

use std::sync::Arc;

use bytes::Bytes;
use tidegate_core::{FeatureDefault, FeatureValue};

use crate::error::{CompileError, shown};
use crate::field::micros;
use crate::program::Kind;
use crate::records::number_problem;
use crate::{Column, TextColumn};

/// A value of a column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Missing,
    /// Numbers, booleans, and times in microseconds.
    Number(f64),
    Text(Arc<str>),
    Bytes(Bytes),
}

/// A value of a store as a value of a column. An error says what is wrong with it.
pub(super) fn cell_of(kind: Kind, value: &FeatureValue) -> Result<Cell, String> {
    let number = match (kind, value) {
        (_, FeatureValue::Missing) => return Ok(Cell::Missing),
        (_, FeatureValue::Unreadable(problem)) => return Err(problem.clone()),
        (Kind::Number | Kind::Integer, FeatureValue::Number(number)) => *number,
        (Kind::Number | Kind::Integer, FeatureValue::Single(number)) => f64::from(*number),
        (Kind::Number, FeatureValue::Integer(number)) => *number as f64,
        // Compared before it becomes a double, which would hide that it is too large.
        (Kind::Integer, FeatureValue::Integer(number)) if number.unsigned_abs() > 1 << 53 => {
            return Err("is above 2^53, where doubles skip numbers".to_owned());
        }
        (Kind::Integer, FeatureValue::Integer(number)) => *number as f64,
        (Kind::Boolean, FeatureValue::Boolean(boolean)) => f64::from(u8::from(*boolean)),
        (Kind::Time, FeatureValue::Seconds(seconds) | FeatureValue::Integer(seconds)) => {
            *seconds as f64 * 1e6
        }
        (Kind::Time, FeatureValue::Text(text)) => {
            let time = micros(text);
            time.ok_or_else(|| format!("is {}, which is no time of ISO 8601", shown(text)))?
        }
        (Kind::Text, FeatureValue::Text(text)) => return Ok(Cell::Text(text.as_str().into())),
        (Kind::Bytes, FeatureValue::Bytes(bytes)) => {
            return Ok(Cell::Bytes(Bytes::copy_from_slice(bytes)));
        }
        (kind, value) => {
            let (found, wanted) = (value_name(value), kind.name());
            return Err(format!(
                "is of type {found} in the store, its type is {wanted}"
            ));
        }
    };
    if number.is_nan() {
        return Ok(Cell::Missing);
    }
    match number_problem(kind, number) {
        Some((_, problem)) => Err(problem.to_owned()),
        None => Ok(Cell::Number(number)),
    }
}

fn value_name(value: &FeatureValue) -> &'static str {
    match value {
        FeatureValue::Missing | FeatureValue::Unreadable(_) => "unknown",
        FeatureValue::Number(_) | FeatureValue::Single(_) => "number",
        FeatureValue::Integer(_) => "integer",
        FeatureValue::Boolean(_) => "boolean",
        FeatureValue::Text(_) => "string",
        FeatureValue::Bytes(_) => "bytes",
        FeatureValue::Seconds(_) => "time",
    }
}

/// The default of a manifest as a value of a column.
pub(crate) fn default_cell(kind: Kind, default: &FeatureDefault) -> Result<Cell, CompileError> {
    let value = match default {
        FeatureDefault::Boolean(boolean) => FeatureValue::Boolean(*boolean),
        FeatureDefault::Number(number) => FeatureValue::Number(*number),
        FeatureDefault::Text(text) => FeatureValue::Text(text.clone()),
    };
    let cell = cell_of(kind, &value);
    let cell = cell.map_err(|problem| CompileError::new(format!("its default {problem}")))?;
    match cell {
        Cell::Missing => Err(CompileError::new("its default is NaN: make it optional")),
        cell => Ok(cell),
    }
}

pub(super) fn empty_column(kind: Kind, rows: usize) -> Column {
    match kind {
        Kind::Text => Column::Text(TextColumn::with_capacity(rows)),
        Kind::Bytes => Column::Bytes(Vec::with_capacity(rows)),
        _ => Column::Numbers(Vec::with_capacity(rows)),
    }
}

/// Appends a value. One of another kind than the column's counts as missing.
pub(super) fn push_cell(column: &mut Column, cell: Cell) {
    match (column, cell) {
        (Column::Numbers(numbers), Cell::Number(number)) => numbers.push(number),
        (Column::Numbers(numbers), _) => numbers.push(f64::NAN),
        (Column::Text(texts), Cell::Text(text)) => texts.push(Some(&text)),
        (Column::Text(texts), _) => texts.push(None),
        (Column::Bytes(values), Cell::Bytes(bytes)) => values.push(Some(bytes)),
        (Column::Bytes(values), _) => values.push(None),
        (Column::Tensor(_), _) => unreachable!("no feature is a tensor"),
    }
}

/// Puts a value in the place of a missing one.
pub(super) fn filled(column: &Column, kind: Kind, stand_in: &Cell) -> Column {
    let mut filled = empty_column(kind, column.len());
    for row in 0..column.len() {
        let cell = match column {
            _ if column.is_missing(row) => stand_in.clone(),
            Column::Numbers(numbers) => Cell::Number(numbers[row]),
            Column::Text(texts) => texts
                .get(row)
                .map_or(Cell::Missing, |text| Cell::Text(text.into())),
            Column::Bytes(values) => values[row].clone().map_or(Cell::Missing, Cell::Bytes),
            Column::Tensor(_) => unreachable!("no feature is a tensor"),
        };
        push_cell(&mut filled, cell);
    }
    filled
}
