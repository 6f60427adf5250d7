//! Fields that come as tensors, one for each field, as the Open Inference Protocol has them.

use chrono::DateTime;
use tidegate_core::{DataType, StringArray, Tensor, TensorView, UnknownFields};

use super::reader::{empty_columns, fill, number_problem, push_missing, unknown_field};
use super::{RecordForm, Records, Violations, checked};
use crate::field::{Field, Fields, micros};
use crate::partial::BadRows;
use crate::program::Kind;
use crate::tensors::numbers_of;
use crate::violations::FieldViolations;
use crate::{Column, PipelineError, Reason, TextColumn};

/// From here on doubles skip whole numbers.
const INTEGERS_END: f64 = (1u64 << 53) as f64;
const MICROS_PER_MILLISECOND: f64 = 1000.0;

/// Reads fields as tensors. Where a data type has no missing value, its empty text is one, as in CSV.
pub(crate) fn read_tensors(
    inputs: &[(String, Tensor)],
    fields: &Fields,
    counts: &FieldViolations,
    bad_rows: BadRows,
) -> Result<Records, PipelineError> {
    let mut violations = Violations::new(counts, bad_rows);
    let mut table = crate::Table {
        rows: 0,
        columns: empty_columns(fields),
    };
    let mut given = vec![false; fields.len()];
    let mut rows = None;
    for (at, (name, tensor)) in inputs.iter().enumerate() {
        let Some(place) = fields.find(name, at) else {
            if fields.unknown == UnknownFields::Reject {
                return Err(unknown_field(name, fields, 0).into());
            }
            continue;
        };
        let field = fields.get(place);
        if std::mem::replace(&mut given[place], true) {
            let problem = format!("input \"{name}\" is given twice");
            return Err(PipelineError::Form(problem));
        }
        check_rows(field, tensor, &mut rows)?;
        table.columns[place] = column(field, place, tensor, &mut violations)?;
    }
    table.rows = rows.unwrap_or(0);
    let columns = table.columns.iter_mut();
    columns.for_each(|column| fill(column, table.rows));
    checked(RecordForm::Columns, table, fields, violations)
}

/// A tensor of a field has a value for each row, in one axis or with an axis of one column behind it.
fn check_rows(
    field: &Field,
    tensor: &Tensor,
    rows: &mut Option<usize>,
) -> Result<(), PipelineError> {
    let (name, shape) = (&field.name, tensor.shape());
    let found = match shape[..] {
        [found] | [found, 1] => found,
        _ => {
            let problem = format!(
                "input \"{name}\" has the shape {shape}; a field has one value for each of n rows, \
                 in the shape [n] or [n, 1]"
            );
            return Err(PipelineError::Shape(problem));
        }
    };
    let wanted = *rows.get_or_insert(found);
    if found == wanted {
        return Ok(());
    }
    let problem = format!("input \"{name}\" has {found} rows, the inputs before it have {wanted}");
    Err(PipelineError::Shape(problem))
}

fn column(
    field: &Field,
    place: usize,
    tensor: &Tensor,
    violations: &mut Violations<'_>,
) -> Result<Column, PipelineError> {
    match (field.kind, tensor.view(), tensor.datatype()) {
        (Kind::Text, TensorView::Strings(texts), _) => text(field, place, texts, violations),
        (Kind::Time, TensorView::Strings(texts), _) => times(field, place, texts, violations),
        (Kind::Time, _, DataType::Int64) => milliseconds(field, place, tensor, violations),
        (Kind::Bytes, TensorView::Strings(values), _) => Ok(byte_strings(values)),
        (Kind::Boolean, TensorView::Fixed(flags), DataType::Bool) => {
            let numbers = flags.iter().map(|flag| f64::from(*flag));
            Ok(Column::Numbers(numbers.collect()))
        }
        (Kind::Number | Kind::Integer, _, datatype) => match numbers_of(tensor) {
            Some(numbers) => checked_numbers(field, place, numbers, datatype, violations),
            None => Err(other_type(field, datatype)),
        },
        (_, _, datatype) => Err(other_type(field, datatype)),
    }
}

fn checked_numbers(
    field: &Field,
    place: usize,
    mut numbers: Vec<f64>,
    datatype: DataType,
    violations: &mut Violations<'_>,
) -> Result<Column, PipelineError> {
    let is_wide = matches!(datatype, DataType::Int64 | DataType::Uint64);
    for (row, number) in numbers.iter_mut().enumerate() {
        let problem = match number_problem(field.kind, *number) {
            None if is_wide && number.abs() >= INTEGERS_END => Some((
                Reason::Range,
                "is not below 2^53, where doubles skip numbers",
            )),
            problem => problem,
        };
        if let Some((reason, problem)) = problem {
            violations.add_unreadable(field, place, row, reason, || problem.to_owned())?;
            *number = f64::NAN;
        }
    }
    Ok(Column::Numbers(numbers))
}

fn text(
    field: &Field,
    place: usize,
    texts: &StringArray,
    violations: &mut Violations<'_>,
) -> Result<Column, PipelineError> {
    let mut column = TextColumn::with_capacity(texts.len());
    for (row, content) in texts.iter().enumerate() {
        let problem = match std::str::from_utf8(content) {
            Ok("") => {
                column.push(None);
                continue;
            }
            // Engines that are written in C would cut the text there, and see another one.
            Ok(text) if text.contains('\0') => "contains the character NUL",
            Ok(text) => {
                column.push(Some(text));
                continue;
            }
            Err(_) => "is no UTF-8",
        };
        violations.add_unreadable(field, place, row, Reason::Type, || problem.to_owned())?;
        column.push(None);
    }
    Ok(Column::Text(column))
}

fn times(
    field: &Field,
    place: usize,
    texts: &StringArray,
    violations: &mut Violations<'_>,
) -> Result<Column, PipelineError> {
    let mut numbers = Vec::with_capacity(texts.len());
    for (row, content) in texts.iter().enumerate() {
        let read = std::str::from_utf8(content).ok().and_then(micros);
        if read.is_none() && !content.is_empty() {
            let problem = || "is no date or time of ISO 8601".to_owned();
            violations.add_unreadable(field, place, row, Reason::Type, problem)?;
        }
        numbers.push(read.unwrap_or(f64::NAN));
    }
    Ok(Column::Numbers(numbers))
}

/// Times as milliseconds since 1970.
fn milliseconds(
    field: &Field,
    place: usize,
    tensor: &Tensor,
    violations: &mut Violations<'_>,
) -> Result<Column, PipelineError> {
    let times = tensor.to_vec::<i64>().unwrap_or_default();
    let mut numbers = Vec::with_capacity(times.len());
    for (row, time) in times.into_iter().enumerate() {
        if DateTime::from_timestamp_millis(time).is_some() {
            numbers.push(time as f64 * MICROS_PER_MILLISECOND);
            continue;
        }
        let problem = || format!("is {time} ms since 1970, which is no time");
        violations.add_unreadable(field, place, row, Reason::Range, problem)?;
        numbers.push(f64::NAN);
    }
    Ok(Column::Numbers(numbers))
}

/// Byte strings that share the memory of the request.
fn byte_strings(values: &StringArray) -> Column {
    let whole = values.wire();
    let mut column = Column::Bytes(Vec::with_capacity(values.len()));
    for value in values.iter() {
        match &mut column {
            Column::Bytes(found) if !value.is_empty() => found.push(Some(whole.slice_ref(value))),
            column => push_missing(column),
        }
    }
    column
}

#[cold]
fn other_type(field: &Field, datatype: DataType) -> PipelineError {
    let takes = match field.kind {
        Kind::Text | Kind::Bytes => "BYTES",
        Kind::Time => "BYTES (ISO 8601) or INT64 (milliseconds since 1970)",
        Kind::Boolean => "BOOL",
        _ => "FP64, or another type of numbers",
    };
    let (name, kind) = (&field.name, field.kind.name());
    PipelineError::Datatype(format!(
        "input \"{name}\" is {datatype}, a field of type {kind} takes {takes}"
    ))
}
