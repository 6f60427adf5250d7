//! Rows of features that somebody puts into the embedded store: JSON lines, or CSV.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;
use tidegate_core::{FeatureValue, KeyValue};

use crate::exact_json::exact_json;

/// The longest name of a view, a join key or a feature, in bytes.
const MAX_NAME_BYTES: usize = 256;
/// The longest value, in bytes.
const MAX_VALUE_BYTES: usize = 1 << 20;
const MAX_KEYS: usize = 8;

/// Features of one entity.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureRow {
    /// The view.
    pub view: String,
    /// The value of each join key: text or a whole number.
    pub entity: BTreeMap<String, Value>,
    /// The value of each feature; `null` for one that is known to be missing.
    pub features: Map<String, Value>,
    /// When the values were true, as ISO 8601 writes it; now, if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_time: Option<String>,
}

/// Rows that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {problem}")]
pub struct RowsError {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong.
    pub problem: String,
}

impl FeatureRow {
    /// The join keys in ascending order, and their values.
    pub(crate) fn key(&self) -> Result<(Vec<Arc<str>>, Vec<KeyValue>), String> {
        if !(1..=MAX_KEYS).contains(&self.entity.len()) {
            return Err(format!("its entity must have 1 to {MAX_KEYS} keys"));
        }
        let mut names = Vec::with_capacity(self.entity.len());
        let mut values = Vec::with_capacity(self.entity.len());
        for (name, value) in &self.entity {
            check_name("a join key", name)?;
            names.push(name.as_str().into());
            values.push(match value {
                Value::String(text) => KeyValue::Text(text.as_str().into()),
                Value::Number(number) if number.is_i64() => {
                    KeyValue::Int64(number.as_i64().unwrap_or_default())
                }
                other => {
                    return Err(format!(
                        "the key \"{name}\" is {other}, not text or an integer"
                    ));
                }
            });
        }
        Ok((names, values))
    }

    /// The values of its features.
    pub(crate) fn values(&self) -> Result<Vec<(&str, FeatureValue)>, String> {
        check_name("the view", &self.view)?;
        if self.features.is_empty() {
            return Err("it has no features".to_owned());
        }
        let mut values = Vec::with_capacity(self.features.len());
        for (name, value) in &self.features {
            check_name("a feature", name)?;
            let value = feature_value(value).map_err(|problem| format!("\"{name}\" {problem}"))?;
            values.push((name.as_str(), value));
        }
        Ok(values)
    }

    /// When its values were true, in milliseconds since 1970.
    pub(crate) fn event_ms(&self, now_ms: i64) -> Result<i64, String> {
        let Some(text) = &self.event_time else {
            return Ok(now_ms);
        };
        let time = event_ms(text);
        time.ok_or_else(|| format!("event_time is {text:?}, which is no time of ISO 8601"))
    }
}

fn check_name(what: &str, name: &str) -> Result<(), String> {
    match (1..=MAX_NAME_BYTES).contains(&name.len()) {
        true => Ok(()),
        false => Err(format!(
            "the name of {what} must have 1 to {MAX_NAME_BYTES} bytes"
        )),
    }
}

fn feature_value(value: &Value) -> Result<FeatureValue, String> {
    let (read, bytes) = match value {
        Value::Null => (FeatureValue::Missing, 0),
        Value::Bool(boolean) => (FeatureValue::Boolean(*boolean), 0),
        Value::Number(number) => (number_value(number), 0),
        Value::String(text) => (FeatureValue::Text(text.clone()), text.len()),
        Value::Object(object) => {
            let text = object.get("b64").and_then(Value::as_str);
            let bytes = text.and_then(|text| BASE64_STANDARD.decode(text).ok());
            let bytes = bytes.filter(|_| object.len() == 1);
            let bytes = bytes.ok_or("is an object, and not {\"b64\": \"…\"} with base64")?;
            let length = bytes.len();
            (FeatureValue::Bytes(bytes), length)
        }
        Value::Array(_) => return Err("is a list, which no column can have".to_owned()),
    };
    if bytes > MAX_VALUE_BYTES {
        return Err(format!("has {bytes} bytes, the most is {MAX_VALUE_BYTES}"));
    }
    Ok(read)
}

fn number_value(number: &serde_json::Number) -> FeatureValue {
    match number.as_i64() {
        Some(whole) => FeatureValue::Integer(whole),
        None => FeatureValue::Number(number.as_f64().unwrap_or(f64::NAN)),
    }
}

/// A value as JSON.
pub(crate) fn json_value(value: &FeatureValue) -> Value {
    match value {
        FeatureValue::Missing => Value::Null,
        FeatureValue::Number(number) => (*number).into(),
        FeatureValue::Single(number) => (*number).into(),
        FeatureValue::Integer(number) | FeatureValue::Seconds(number) => (*number).into(),
        FeatureValue::Boolean(boolean) => (*boolean).into(),
        FeatureValue::Text(text) => text.as_str().into(),
        FeatureValue::Bytes(bytes) => serde_json::json!({"b64": BASE64_STANDARD.encode(bytes)}),
        FeatureValue::Unreadable(problem) => format!("({problem})").into(),
    }
}

/// A date or a time of ISO 8601; without a zone it is in UTC.
fn event_ms(text: &str) -> Option<i64> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_millis());
    }
    if let Ok(date) = text.parse::<NaiveDate>() {
        return Some(date.and_time(NaiveTime::MIN).and_utc().timestamp_millis());
    }
    let text = text.replacen(' ', "T", 1);
    let time = NaiveDateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%.f");
    time.ok().map(|time| time.and_utc().timestamp_millis())
}

/// Reads JSON lines: an object like [`FeatureRow`] in each. Empty lines are skipped.
///
/// # Errors
/// The first line that is no row.
pub fn read_json_lines(lines: impl BufRead) -> impl Iterator<Item = Result<FeatureRow, RowsError>> {
    let numbered = (1..).zip(lines.lines());
    let rows =
        numbered.filter(|(_, text)| !text.as_deref().is_ok_and(|text| text.trim().is_empty()));
    rows.map(|(line, text)| {
        let row = text.map_err(|error| error.to_string());
        let row = row.and_then(|text| parse_row(&text));
        row.map_err(|problem| RowsError { line, problem })
    })
}

fn parse_row(text: &str) -> Result<FeatureRow, String> {
    let value = exact_json(text.as_bytes())?;
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// How the columns of CSV are read.
#[derive(Clone, Debug, Default)]
pub struct CsvColumns {
    /// The view of all rows.
    pub view: String,
    /// The columns that are join keys.
    pub keys: Vec<String>,
    /// The column with the time of each row.
    pub time: Option<String>,
    /// The columns that are text, though some of their values look like numbers.
    pub texts: Vec<String>,
}

/// Reads CSV with a header. All columns that are neither keys nor the time are features.
///
/// # Errors
/// The first line that is no row, or a column that is not there.
pub fn read_csv(
    csv: impl std::io::Read,
    columns: &CsvColumns,
) -> impl Iterator<Item = Result<FeatureRow, RowsError>> {
    let mut reader = csv::Reader::from_reader(csv);
    let header = reader.headers().cloned();
    let header = header
        .map_err(|error| csv_error(&error))
        .and_then(|header| {
            let named = columns
                .keys
                .iter()
                .chain(&columns.time)
                .chain(&columns.texts);
            match named
                .into_iter()
                .find(|name| !header.iter().any(|found| found == **name))
            {
                None => Ok(header),
                Some(name) => Err(RowsError {
                    line: 1,
                    problem: format!("there is no column \"{name}\""),
                }),
            }
        });
    let (header, failed) = match header {
        Ok(header) => (header, None),
        Err(error) => (csv::StringRecord::new(), Some(Err(error))),
    };
    let is_readable = failed.is_none();
    let rows = reader.into_records().take_while(move |_| is_readable);
    let rows = rows.map(move |record| {
        let record = record.map_err(|error| csv_error(&error))?;
        Ok(columns.row(&header, &record))
    });
    failed.into_iter().chain(rows)
}

impl CsvColumns {
    fn row(&self, header: &csv::StringRecord, record: &csv::StringRecord) -> FeatureRow {
        let mut row = FeatureRow {
            view: self.view.clone(),
            ..FeatureRow::default()
        };
        for (name, text) in header.iter().zip(record) {
            let is_text = self.texts.iter().any(|column| column == name);
            let value = match is_text {
                true => Value::from(text),
                false => cell(text),
            };
            if self.keys.iter().any(|key| key == name) {
                row.entity.insert(name.to_owned(), value);
            } else if self.time.as_deref() == Some(name) {
                row.event_time = Some(text.to_owned());
            } else {
                row.features.insert(name.to_owned(), value);
            }
        }
        row
    }
}

/// A cell as a number or a boolean if it is written like one: `007` is text.
fn cell(text: &str) -> Value {
    match exact_json(text.as_bytes()) {
        _ if text.is_empty() => Value::Null,
        Ok(value @ (Value::Number(_) | Value::Bool(_))) => value,
        _ => text.into(),
    }
}

fn csv_error(error: &csv::Error) -> RowsError {
    let line = error.position().map_or(1, csv::Position::line);
    let problem = error.to_string();
    RowsError { line, problem }
}

#[cfg(test)]
mod tests;
