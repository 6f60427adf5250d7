//! The reader of CSV: a header with the names of fields, and a row for each record.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use csv::{ByteRecord, Reader, ReaderBuilder};
use tidegate_core::UnknownFields;

use super::Violations;
use super::reader::{empty_columns, fill, number_problem, push_missing, unknown_field};
use crate::error::shown;
use crate::field::{Field, Fields, micros};
use crate::program::Kind;
use crate::{Column, PipelineError, Reason, Table};

/// Reads rows as RFC 4180 has them. An empty cell is a missing value, as pandas writes it.
pub(super) fn read(
    body: &[u8],
    fields: &Fields,
    violations: &mut Violations<'_>,
) -> Result<Table, PipelineError> {
    let mut csv = ReaderBuilder::new().from_reader(body);
    let places = places(&mut csv, fields)?;
    let mut table = Table {
        rows: 0,
        columns: empty_columns(fields),
    };
    let mut record = ByteRecord::new();
    while csv.read_byte_record(&mut record).map_err(malformed)? {
        for (cell, place) in record.iter().zip(&places) {
            if let Some(place) = *place {
                let field = fields.get(place);
                let column = &mut table.columns[place];
                push(field, place, cell, table.rows, column, violations)?;
            }
        }
        table.rows += 1;
        let columns = table.columns.iter_mut();
        columns.for_each(|column| fill(column, table.rows));
    }
    Ok(table)
}

/// The place of the field of each column; `None` where it is skipped.
fn places(csv: &mut Reader<&[u8]>, fields: &Fields) -> Result<Vec<Option<usize>>, PipelineError> {
    let header = csv.headers().map_err(malformed)?;
    let mut places = Vec::with_capacity(header.len());
    for (at, name) in header.iter().enumerate() {
        // Spreadsheets begin a file with this mark.
        let name = name.strip_prefix('\u{feff}').unwrap_or(name);
        let place = fields.find(name, at);
        if place.is_none() && fields.unknown == UnknownFields::Reject {
            return Err(unknown_field(name, fields, 0).into());
        }
        if place.is_some() && places.contains(&place) {
            let problem = format!("the header has the field {} twice", shown(name));
            return Err(PipelineError::Form(problem));
        }
        places.push(place);
    }
    Ok(places)
}

fn push(
    field: &Field,
    place: usize,
    cell: &[u8],
    row: usize,
    column: &mut Column,
    violations: &mut Violations<'_>,
) -> Result<(), PipelineError> {
    if cell.is_empty() {
        push_missing(column);
        return Ok(());
    }
    let pushed = std::str::from_utf8(cell)
        .map_err(|_| (Reason::Type, "is no UTF-8".to_owned()))
        .and_then(|text| push_value(field.kind, text, column));
    if let Err((reason, problem)) = pushed {
        violations.add_unreadable(field, place, row, reason, || problem)?;
        push_missing(column);
    }
    Ok(())
}

pub(super) fn push_value(
    kind: Kind,
    text: &str,
    column: &mut Column,
) -> Result<(), (Reason, String)> {
    match column {
        // Engines that are written in C would cut the text there, and see another one.
        Column::Text(_) if text.contains('\0') => {
            Err((Reason::Type, "contains the character NUL".to_owned()))
        }
        Column::Text(texts) => {
            texts.push(Some(text));
            Ok(())
        }
        Column::Bytes(values) => {
            let decoded = BASE64_STANDARD.decode(text);
            let value =
                decoded.map_err(|error| (Reason::Type, format!("is not base64: {error}")))?;
            values.push(Some(value.into()));
            Ok(())
        }
        Column::Numbers(numbers) => {
            numbers.push(number(kind, text)?);
            Ok(())
        }
        Column::Tensor(_) => unreachable!("no field is a tensor"),
    }
}

fn number(kind: Kind, text: &str) -> Result<f64, (Reason, String)> {
    let found = match (kind, text) {
        (Kind::Boolean, "true" | "True") => Some(1.0),
        (Kind::Boolean, "false" | "False") => Some(0.0),
        (Kind::Boolean, _) => None,
        (Kind::Time, text) => micros(text),
        // Rust reads words such as "infinity", too.
        (_, text) if text.bytes().any(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    };
    let Some(value) = found else {
        let problem = format!("is {}, its type is {}", shown(text), kind.name());
        return Err((Reason::Type, problem));
    };
    match number_problem(kind, value) {
        None => Ok(value),
        Some((reason, problem)) => Err((reason, problem.to_owned())),
    }
}

fn malformed(error: csv::Error) -> PipelineError {
    PipelineError::Form(format!("the body is no CSV: {error}"))
}
