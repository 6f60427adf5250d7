//! A record whose values came by themselves: the parts of a form, or a body that is a file.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::reader::Reader;
use super::{Records, Violations, checked};
use crate::error::cut;
use crate::field::{Field, Fields};
use crate::partial::BadRows;
use crate::program::Kind;
use crate::violations::FieldViolations;
use crate::{Column, PipelineError};

/// Longest text of a number, in bytes.
const MAX_SCALAR_BYTES: usize = 128;

/// Reads one record. Everything but files goes through the reader of JSON: one set of rules holds.
pub(crate) fn read_parts(
    parts: &[(String, Bytes)],
    fields: &Fields,
    counts: &FieldViolations,
    bad_rows: BadRows,
) -> Result<Records, PipelineError> {
    let mut record = Map::new();
    let mut files = Vec::new();
    for (name, content) in parts {
        let place = fields.find(name, 0);
        let value = match place.map(|place| fields.get(place)) {
            Some(field) if field.kind == Kind::Bytes => {
                files.extend(place.map(|place| (place, content)));
                Value::Null
            }
            field => text_value(field, name, content)?,
        };
        if record.insert(name.clone(), value).is_some() {
            let problem = format!("row 0: field \"{}\" is given twice", cut(name));
            return Err(PipelineError::Form(problem));
        }
    }
    let body = format!("{{\"instances\":[{}]}}", Value::Object(record));
    let mut violations = Violations::new(counts, bad_rows);
    let (form, mut table) = Reader::new(body.as_bytes(), fields, &mut violations).read()?;
    for (place, content) in files {
        table.columns[place] = Column::Bytes(vec![Some(content.clone())]);
    }
    checked(form, table, fields, violations)
}

/// The value of a text. What is no number is left as text, and the reader says so.
fn text_value(field: Option<&Field>, name: &str, content: &[u8]) -> Result<Value, PipelineError> {
    let Ok(text) = std::str::from_utf8(content) else {
        let problem = format!("row 0: field \"{}\" is no UTF-8 text", cut(name));
        return Err(PipelineError::Form(problem));
    };
    let scalar = match field.map(|field| field.kind) {
        None | Some(Kind::Text | Kind::Time) => None,
        Some(_) => scalar(text.trim()),
    };
    Ok(scalar.unwrap_or_else(|| text.into()))
}

/// A number or a truth value.
fn scalar(text: &str) -> Option<Value> {
    // Longer text may be a list, whose values would take many times its bytes.
    if text.len() > MAX_SCALAR_BYTES {
        return None;
    }
    match serde_json::from_str(text) {
        Ok(value @ (Value::Number(_) | Value::Bool(_))) => Some(value),
        _ => None,
    }
}
