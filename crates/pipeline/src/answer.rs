//! The fields of an answer as JSON.

mod columns;
mod csv;
mod nested;
mod tensors;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

pub use self::columns::ResponseType;
use self::nested::push_tensor;
use crate::partial::PartialRows;
use crate::program::{Inputs, Kind, Source};
use crate::records::RecordForm;
use crate::violations::Flagged;
use crate::{Column, RowError};

/// One field of the answer.
#[derive(Debug)]
pub(crate) struct ResponseField {
    pub(crate) name: String,
    /// The name as JSON.
    key: Vec<u8>,
    /// Several are written as an array.
    sources: Vec<Source>,
}

impl ResponseField {
    pub(crate) fn new(name: &str, sources: Vec<Source>) -> Self {
        let mut key = Vec::new();
        push_text(&mut key, name);
        Self {
            name: name.to_owned(),
            key,
            sources,
        }
    }

    fn push(&self, json: &mut Vec<u8>, registers: &[Column], rows: usize, row: usize) {
        let inputs = Inputs::new(registers, &self.sources, rows);
        if let [_] = self.sources.as_slice() {
            return push_value(json, &inputs, 0, row);
        }
        json.push(b'[');
        for at in 0..inputs.len() {
            if at > 0 {
                json.push(b',');
            }
            push_value(json, &inputs, at, row);
        }
        json.push(b']');
    }
}

/// The answer to a request.
#[derive(Debug)]
pub struct Answer<'p> {
    pub(crate) fields: &'p [ResponseField],
    pub(crate) registers: Vec<Column>,
    pub(crate) rows: usize,
    pub(crate) form: RecordForm,
    pub(crate) flagged: Vec<Flagged>,
    pub(crate) partial: Option<PartialRows>,
}

impl Answer<'_> {
    /// How it is written: as the request was.
    pub fn form(&self) -> RecordForm {
        self.form
    }

    /// Values that broke a rule and were used nevertheless.
    pub fn flagged(&self) -> &[Flagged] {
        &self.flagged
    }

    /// Writes the rows: as JSON an array of objects or an object of arrays, or as CSV.
    pub fn encode(&self, json: &mut Vec<u8>) {
        match self.form {
            RecordForm::Instances => self.encode_instances(json),
            RecordForm::Columns => self.encode_columns(json),
            RecordForm::Csv => csv::encode(self, json),
        }
    }

    /// Writes one row as an object of JSON.
    pub fn encode_row(&self, row: usize, json: &mut Vec<u8>) {
        json.push(b'{');
        for (at, field) in self.fields.iter().enumerate() {
            if at > 0 {
                json.push(b',');
            }
            json.extend_from_slice(&field.key);
            json.push(b':');
            field.push(json, &self.registers, self.rows, row);
        }
        json.push(b'}');
    }

    /// Writes the value of a field, by its place, as JSON.
    pub fn encode_value(&self, field: usize, row: usize, json: &mut Vec<u8>) {
        self.fields[field].push(json, &self.registers, self.rows, row);
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Writes the list of flagged values as JSON.
    pub fn encode_flagged(&self, json: &mut Vec<u8>) {
        json.push(b'[');
        for (at, flagged) in self.flagged.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            json.extend_from_slice(
                format!("{comma}{{\"row\":{},\"field\":", flagged.row).as_bytes(),
            );
            push_text(json, &flagged.field);
            json.extend_from_slice(
                format!(",\"reason\":\"{}\"}}", flagged.reason.name()).as_bytes(),
            );
        }
        json.push(b']');
    }

    /// The rows that have failed alone, in order.
    pub fn failed(&self) -> impl Iterator<Item = &RowError> {
        let partial = self.partial.iter();
        partial.flat_map(|partial| partial.failed.values())
    }

    /// Writes the list of rows that have failed alone as JSON.
    pub fn encode_failed(&self, json: &mut Vec<u8>) {
        json.push(b'[');
        for (at, error) in self.failed().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            json.extend_from_slice(format!("{comma}{{\"row\":{},\"field\":", error.row).as_bytes());
            push_text(json, &error.field);
            let reason = error.reason.name();
            json.extend_from_slice(format!(",\"reason\":\"{reason}\",\"error\":").as_bytes());
            push_text(json, &error.to_string());
            json.push(b'}');
        }
        json.push(b']');
    }

    /// For each row of the request, its place among those that are answered.
    fn places(&self) -> impl Iterator<Item = Option<usize>> + '_ {
        let total = self
            .partial
            .as_ref()
            .map_or(self.rows, |partial| partial.total);
        let mut answered = 0;
        (0..total).map(move |row| {
            let has_failed = self
                .partial
                .as_ref()
                .is_some_and(|partial| partial.kept.get(answered) != Some(&row));
            if has_failed {
                return None;
            }
            answered += 1;
            Some(answered - 1)
        })
    }

    fn encode_instances(&self, json: &mut Vec<u8>) {
        json.push(b'[');
        for (row, place) in self.places().enumerate() {
            if row > 0 {
                json.push(b',');
            }
            match place {
                Some(place) => self.encode_row(place, json),
                None => json.extend_from_slice(b"null"),
            }
        }
        json.push(b']');
    }

    fn encode_columns(&self, json: &mut Vec<u8>) {
        json.push(b'{');
        for (at, field) in self.fields.iter().enumerate() {
            if at > 0 {
                json.push(b',');
            }
            json.extend_from_slice(&field.key);
            json.extend_from_slice(b":[");
            for (row, place) in self.places().enumerate() {
                if row > 0 {
                    json.push(b',');
                }
                match place {
                    Some(place) => field.push(json, &self.registers, self.rows, place),
                    None => json.extend_from_slice(b"null"),
                }
            }
            json.push(b']');
        }
        json.push(b'}');
    }
}

fn push_value(json: &mut Vec<u8>, inputs: &Inputs<'_>, input: usize, row: usize) {
    let source = inputs.source(input);
    if source.kind == Kind::Tensor {
        return push_tensor(json, inputs.tensor(input), row);
    }
    if source.kind == Kind::Text {
        match inputs.text(input).get(row).or(source.fill.as_deref()) {
            Some(text) => push_text(json, text),
            None => json.extend_from_slice(b"null"),
        }
        return;
    }
    if source.kind == Kind::Bytes {
        match &inputs.bytes(input)[row] {
            Some(bytes) => push_text(json, &BASE64_STANDARD.encode(bytes)),
            None => json.extend_from_slice(b"null"),
        }
        return;
    }
    let number = inputs.numbers(input)[row];
    match source.kind {
        // JSON has no number for it.
        _ if !number.is_finite() => json.extend_from_slice(b"null"),
        Kind::Boolean => json.extend_from_slice(if number == 0.0 { b"false" } else { b"true" }),
        Kind::Integer | Kind::Time => {
            json.extend_from_slice(itoa::Buffer::new().format(number as i64).as_bytes());
        }
        Kind::Single => {
            let mut buffer = zmij::Buffer::new();
            json.extend_from_slice(buffer.format_finite(number as f32).as_bytes());
        }
        _ => json.extend_from_slice(zmij::Buffer::new().format_finite(number).as_bytes()),
    }
}

fn push_text(json: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(json, text).expect("a vector takes all text");
}
