//! Columns that somebody else has read, from a table: held against the same rules as records.

use super::csv_reader::push_value;
use super::reader::{number_problem, push_missing};
use super::{RecordForm, Records, Violations, checked};
use crate::field::{Field, Fields};
use crate::partial::BadRows;
use crate::program::Kind;
use crate::violations::FieldViolations;
use crate::{Column, PipelineError, Reason, Table, TextColumn};

/// Takes a column for each field, in their order; `None` where the table has none. Texts of a field of
/// another type are read as the cells of CSV are.
pub(crate) fn read_columns(
    rows: usize,
    columns: Vec<Option<Column>>,
    fields: &Fields,
    counts: &FieldViolations,
    bad_rows: BadRows,
) -> Result<Records, PipelineError> {
    let mut violations = Violations::new(counts, bad_rows);
    if columns.len() != fields.len() {
        let (found, wanted) = (columns.len(), fields.len());
        let problem = format!("there are {found} columns for {wanted} fields");
        return Err(PipelineError::Form(problem));
    }
    let mut table = Table {
        rows,
        columns: Vec::with_capacity(columns.len()),
    };
    for (place, (field, column)) in fields.iter().zip(columns).enumerate() {
        let column = match column {
            None => missing(field, rows),
            Some(column) if column.len() != rows => {
                let (name, found) = (&field.name, column.len());
                let problem = format!("field \"{name}\" has {found} values for {rows} rows");
                return Err(PipelineError::Form(problem));
            }
            Some(column) => typed(column, field, place, &mut violations)?,
        };
        table.columns.push(column);
    }
    checked(RecordForm::Columns, table, fields, violations)
}

fn empty(field: &Field, rows: usize) -> Column {
    match field.kind {
        Kind::Text => Column::Text(TextColumn::with_capacity(rows)),
        Kind::Bytes => Column::Bytes(Vec::with_capacity(rows)),
        _ => Column::Numbers(Vec::with_capacity(rows)),
    }
}

fn missing(field: &Field, rows: usize) -> Column {
    let mut column = empty(field, rows);
    for _ in 0..rows {
        push_missing(&mut column);
    }
    column
}

/// The column with values of the type of its field.
fn typed(
    column: Column,
    field: &Field,
    place: usize,
    violations: &mut Violations<'_>,
) -> Result<Column, PipelineError> {
    match (column, field.kind) {
        (Column::Text(texts), _) => of_texts(&texts, field, place, violations),
        (Column::Bytes(values), Kind::Bytes) => Ok(Column::Bytes(values)),
        (Column::Numbers(mut numbers), kind) if kind != Kind::Text && kind != Kind::Bytes => {
            check_numbers(&mut numbers, field, place, violations)?;
            Ok(Column::Numbers(numbers))
        }
        _ => {
            let (name, wanted) = (&field.name, field.kind.name());
            let problem = format!("the column of field \"{name}\" cannot be a {wanted}");
            Err(PipelineError::Form(problem))
        }
    }
}

fn check_numbers(
    numbers: &mut [f64],
    field: &Field,
    place: usize,
    violations: &mut Violations<'_>,
) -> Result<(), PipelineError> {
    if field.kind == Kind::Boolean || field.kind == Kind::Time {
        return Ok(());
    }
    for (row, number) in numbers.iter_mut().enumerate() {
        // A missing value is no whole number either, and is none of this check's.
        if number.is_nan() {
            continue;
        }
        if let Some((reason, problem)) = number_problem(field.kind, *number) {
            violations.add_unreadable(field, place, row, reason, || problem.to_owned())?;
            *number = f64::NAN;
        }
    }
    Ok(())
}

fn of_texts(
    texts: &TextColumn,
    field: &Field,
    place: usize,
    violations: &mut Violations<'_>,
) -> Result<Column, PipelineError> {
    let mut column = empty(field, texts.len());
    for (row, text) in texts.iter().enumerate() {
        let pushed: Result<(), (Reason, String)> = match text {
            None => {
                push_missing(&mut column);
                Ok(())
            }
            Some(text) => push_value(field.kind, text, &mut column),
        };
        if let Err((reason, problem)) = pushed {
            violations.add_unreadable(field, place, row, reason, || problem)?;
            push_missing(&mut column);
        }
    }
    Ok(column)
}
