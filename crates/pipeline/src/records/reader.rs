//! The reader of the two forms of a request.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiter::{Jiter, JiterError, Peek};
use tidegate_core::UnknownFields;

use super::{RecordForm, Violations, malformed};
use crate::error::{cut, listed, shown};
use crate::field::{Field, Fields, micros};
use crate::program::Kind;
use crate::{Column, PipelineError, Reason, RowError, Table, TextColumn};

/// The largest whole number up to which a double holds all of them.
const MAX_INTEGER: f64 = (1u64 << 53) as f64;

pub(super) struct Reader<'a, 'v> {
    json: Jiter<'a>,
    body: &'a [u8],
    fields: &'a Fields,
    columns: Vec<Column>,
    violations: &'a mut Violations<'v>,
}

/// What a key of a record names.
enum Key {
    Field(usize),
    Skipped,
}

impl<'a, 'v> Reader<'a, 'v> {
    pub(super) fn new(
        body: &'a [u8],
        fields: &'a Fields,
        violations: &'a mut Violations<'v>,
    ) -> Self {
        Self {
            // NaN is how Python writes a missing number.
            json: Jiter::new(body).with_allow_inf_nan(),
            body,
            fields,
            columns: empty_columns(fields),
            violations,
        }
    }

    /// The whole body.
    pub(super) fn read(&mut self) -> Result<(RecordForm, Table), PipelineError> {
        let body = self.body;
        let json = |error: JiterError| malformed(body, &error);
        let (form, rows) = match self.json.next_object().map_err(json)? {
            Some("instances") => (RecordForm::Instances, self.instances()?),
            Some("columns") => (RecordForm::Columns, self.by_columns()?),
            _ => return Err(other_form()),
        };
        if self.json.next_key().map_err(json)?.is_some() {
            return Err(other_form());
        }
        self.json.finish().map_err(json)?;
        let columns = std::mem::take(&mut self.columns);
        Ok((form, Table { rows, columns }))
    }

    /// The instances of a body of KServe v1, whose other members mean nothing here.
    pub(super) fn read_v1(&mut self) -> Result<Table, PipelineError> {
        let body = self.body;
        let json = |error: JiterError| malformed(body, &error);
        let mut rows = None;
        let mut member = self.json.next_object().map_err(json)?;
        while let Some(name) = member {
            if name != "instances" {
                self.json.next_skip().map_err(json)?;
            } else if rows.is_some() {
                let problem = "\"instances\" is given twice".to_owned();
                return Err(PipelineError::Form(problem));
            } else {
                rows = Some(self.instances()?);
            }
            member = self.json.next_key().map_err(json)?;
        }
        self.json.finish().map_err(json)?;
        let columns = std::mem::take(&mut self.columns);
        let rows = rows.unwrap_or_default();
        Ok(Table { rows, columns })
    }

    fn instances(&mut self) -> Result<usize, PipelineError> {
        let mut rows = 0;
        let mut next = self.json.next_array().map_err(|error| self.json(&error))?;
        while next.is_some() {
            self.record(rows)?;
            rows += 1;
            next = self.json.array_step().map_err(|error| self.json(&error))?;
        }
        Ok(rows)
    }

    fn record(&mut self, row: usize) -> Result<(), PipelineError> {
        let (mut expected, mut found) = (0, 0);
        let mut key = match self.json.next_object() {
            Ok(name) => key_in_row(name, self.fields, expected, row, self.violations),
            Err(error) => return Err(self.in_row(row, &error)),
        };
        while let Some(named) = key? {
            match named {
                Key::Field(place) => {
                    self.check_once(place, row)?;
                    self.value(place, row)?;
                    expected = place + 1;
                    found += 1;
                }
                Key::Skipped => self
                    .json
                    .next_skip()
                    .map_err(|error| self.in_row(row, &error))?,
            }
            key = match self.json.next_key() {
                Ok(name) => key_in_row(name, self.fields, expected, row, self.violations),
                Err(error) => return Err(self.in_row(row, &error)),
            };
        }
        if found < self.columns.len() {
            self.columns
                .iter_mut()
                .for_each(|column| fill(column, row + 1));
        }
        Ok(())
    }

    fn check_once(&self, place: usize, row: usize) -> Result<(), PipelineError> {
        if self.columns[place].len() <= row {
            return Ok(());
        }
        let name = &self.fields.get(place).name;
        let problem = format!("row {row}: field \"{name}\" is given twice");
        Err(PipelineError::Form(problem))
    }

    fn by_columns(&mut self) -> Result<usize, PipelineError> {
        let mut rows = None;
        let mut key: Result<_, PipelineError> = match self.json.next_object() {
            Ok(name) => Ok(key_of(name, self.fields, 0, 0)?),
            Err(error) => return Err(self.json(&error)),
        };
        while let Some(named) = key? {
            let expected = match named {
                Key::Field(place) => {
                    self.check_once(place, 0)?;
                    self.values(place)?;
                    self.check_rows(place, &mut rows)?;
                    place + 1
                }
                Key::Skipped => {
                    self.json.next_skip().map_err(|error| self.json(&error))?;
                    0
                }
            };
            key = match self.json.next_key() {
                Ok(name) => Ok(key_of(name, self.fields, expected, 0)?),
                Err(error) => return Err(self.json(&error)),
            };
        }
        let rows = rows.unwrap_or(0);
        self.columns
            .iter_mut()
            .for_each(|column| fill(column, rows));
        Ok(rows)
    }

    fn values(&mut self, place: usize) -> Result<(), PipelineError> {
        let mut row = 0;
        let mut next = self.json.next_array().map_err(|error| self.json(&error))?;
        while next.is_some() {
            self.value(place, row)?;
            row += 1;
            next = self.json.array_step().map_err(|error| self.json(&error))?;
        }
        Ok(())
    }

    fn check_rows(&self, place: usize, rows: &mut Option<usize>) -> Result<(), PipelineError> {
        let found = self.columns[place].len();
        let wanted = *rows.get_or_insert(found);
        if found == wanted {
            return Ok(());
        }
        let name = &self.fields.get(place).name;
        let problem =
            format!("field \"{name}\" has {found} values, the fields before it have {wanted}");
        Err(PipelineError::Form(problem))
    }

    /// One value of a field.
    fn value(&mut self, place: usize, row: usize) -> Result<(), PipelineError> {
        let field = self.fields.get(place);
        let peek = self
            .json
            .peek()
            .map_err(|error| self.in_field(field, row, &error))?;
        if peek == Peek::Null {
            self.json
                .known_null()
                .map_err(|error| self.in_field(field, row, &error))?;
            push_missing(&mut self.columns[place]);
            return Ok(());
        }
        match field.kind {
            Kind::Number | Kind::Integer if peek.is_num() => self.number(field, place, row, peek),
            Kind::Text if peek == Peek::String => self.text(field, place, row),
            Kind::Time if peek == Peek::String => self.time(field, place, row),
            Kind::Bytes if peek == Peek::String => self.base64(field, place, row),
            Kind::Bytes if peek == Peek::Object => self.wrapped_base64(field, place, row),
            Kind::Boolean if matches!(peek, Peek::True | Peek::False) => {
                let value = self.json.known_bool(peek);
                let value = value.map_err(|error| self.in_field(field, row, &error))?;
                self.push_number(place, f64::from(u8::from(value)));
                Ok(())
            }
            _ => self.other_type(field, place, row),
        }
    }

    fn number(
        &mut self,
        field: &Field,
        place: usize,
        row: usize,
        peek: Peek,
    ) -> Result<(), PipelineError> {
        let value = self.json.known_float(peek);
        let value = value.map_err(|error| self.in_field(field, row, &error))?;
        match number_problem(field.kind, value) {
            None => {
                self.push_number(place, value);
                Ok(())
            }
            Some((reason, problem)) => {
                self.unreadable(field, place, row, reason, || problem.to_owned())
            }
        }
    }

    fn text(&mut self, field: &Field, place: usize, row: usize) -> Result<(), PipelineError> {
        let text = match self.json.known_str() {
            Ok(text) => text,
            Err(error) => return Err(in_field(self.body, field, row, &error)),
        };
        // Engines that are written in C would cut the text there, and see another one.
        if text.bytes().any(|byte| byte == 0) {
            let problem = || "contains the character NUL".to_owned();
            return self.unreadable(field, place, row, Reason::Type, problem);
        }
        if let Column::Text(column) = &mut self.columns[place] {
            column.push(Some(text));
        }
        Ok(())
    }

    /// `{"b64": "…"}`, as TensorFlow Serving writes bytes.
    fn wrapped_base64(
        &mut self,
        field: &Field,
        place: usize,
        row: usize,
    ) -> Result<(), PipelineError> {
        let key = match self.json.known_object() {
            Ok(key) => key == Some("b64"),
            Err(error) => return Err(in_field(self.body, field, row, &error)),
        };
        let form = || {
            let name = &field.name;
            let problem = format!("row {row}: field \"{name}\" must be {{\"b64\": \"…\"}}");
            PipelineError::Form(problem)
        };
        if !key || self.json.peek().ok() != Some(Peek::String) {
            return Err(form());
        }
        self.base64(field, place, row)?;
        match self.json.next_key() {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(form()),
            Err(error) => Err(in_field(self.body, field, row, &error)),
        }
    }

    fn base64(&mut self, field: &Field, place: usize, row: usize) -> Result<(), PipelineError> {
        let text = match self.json.known_str() {
            Ok(text) => text,
            Err(error) => return Err(in_field(self.body, field, row, &error)),
        };
        match BASE64_STANDARD.decode(text) {
            Ok(value) => {
                if let Column::Bytes(values) = &mut self.columns[place] {
                    values.push(Some(value.into()));
                }
                Ok(())
            }
            Err(error) => {
                let problem = || format!("is not base64: {error}");
                self.unreadable(field, place, row, Reason::Type, problem)
            }
        }
    }

    fn time(&mut self, field: &Field, place: usize, row: usize) -> Result<(), PipelineError> {
        let text = match self.json.known_str() {
            Ok(text) => text,
            Err(error) => return Err(in_field(self.body, field, row, &error)),
        };
        match micros(text) {
            Some(micros) => {
                self.push_number(place, micros);
                Ok(())
            }
            None => {
                let shown = shown(text);
                self.unreadable(field, place, row, Reason::Type, || {
                    format!("is {shown}, which is no date or time of ISO 8601")
                })
            }
        }
    }

    fn other_type(&mut self, field: &Field, place: usize, row: usize) -> Result<(), PipelineError> {
        let begins = self.json.current_index();
        self.json
            .next_skip()
            .map_err(|error| self.in_field(field, row, &error))?;
        let value = String::from_utf8_lossy(self.json.slice_to_current(begins)).into_owned();
        self.unreadable(field, place, row, Reason::Type, || {
            format!("is {}, its type is {}", cut(&value), field.kind.name())
        })
    }

    fn unreadable(
        &mut self,
        field: &Field,
        place: usize,
        row: usize,
        reason: Reason,
        problem: impl FnOnce() -> String,
    ) -> Result<(), PipelineError> {
        self.violations
            .add_unreadable(field, place, row, reason, problem)?;
        push_missing(&mut self.columns[place]);
        Ok(())
    }

    fn push_number(&mut self, place: usize, value: f64) {
        if let Column::Numbers(numbers) = &mut self.columns[place] {
            numbers.push(value);
        }
    }

    fn json(&self, error: &JiterError) -> PipelineError {
        malformed(self.body, error)
    }

    fn in_row(&self, row: usize, error: &JiterError) -> PipelineError {
        match malformed(self.body, error) {
            PipelineError::Json(problem) => PipelineError::Json(format!("row {row}: {problem}")),
            PipelineError::Form(problem) => PipelineError::Form(format!("row {row}: {problem}")),
            other => other,
        }
    }

    fn in_field(&self, field: &Field, row: usize, error: &JiterError) -> PipelineError {
        in_field(self.body, field, row, error)
    }
}

/// A column for each field.
pub(super) fn empty_columns(fields: &Fields) -> Vec<Column> {
    let columns = fields.iter().map(|field| match field.kind {
        Kind::Text => Column::Text(TextColumn::default()),
        Kind::Bytes => Column::Bytes(Vec::new()),
        _ => Column::Numbers(Vec::new()),
    });
    columns.collect()
}

/// Why a number cannot be a value of a field.
pub(crate) fn number_problem(kind: Kind, value: f64) -> Option<(Reason, &'static str)> {
    if value.is_infinite() {
        Some((Reason::Range, "is beyond the range of a double"))
    } else if kind == Kind::Integer && value.fract() != 0.0 {
        Some((Reason::Type, "is no whole number"))
    } else if kind == Kind::Integer && value.abs() > MAX_INTEGER {
        Some((Reason::Range, "is above 2^53, where doubles skip numbers"))
    } else {
        None
    }
}

fn in_field(body: &[u8], field: &Field, row: usize, error: &JiterError) -> PipelineError {
    let name = &field.name;
    let problem = match malformed(body, error) {
        PipelineError::Json(problem) | PipelineError::Form(problem) => problem,
        other => other.to_string(),
    };
    PipelineError::Json(format!("row {row}: field \"{name}\": {problem}"))
}

/// What a key names; `None` at the end of an object.
fn key_of(
    name: Option<&str>,
    fields: &Fields,
    expected: usize,
    row: usize,
) -> Result<Option<Key>, RowError> {
    let Some(name) = name else { return Ok(None) };
    if let Some(place) = fields.find(name, expected) {
        return Ok(Some(Key::Field(place)));
    }
    match fields.unknown {
        UnknownFields::Ignore => Ok(Some(Key::Skipped)),
        UnknownFields::Reject => Err(unknown_field(name, fields, row)),
    }
}

/// As [`key_of`]; a field that is unknown may fail its row alone.
fn key_in_row(
    name: Option<&str>,
    fields: &Fields,
    expected: usize,
    row: usize,
    violations: &mut Violations<'_>,
) -> Result<Option<Key>, PipelineError> {
    match key_of(name, fields, expected, row) {
        Ok(key) => Ok(key),
        Err(error) => violations.fail_unknown(error).map(|()| Some(Key::Skipped)),
    }
}

#[cold]
pub(super) fn unknown_field(name: &str, fields: &Fields, row: usize) -> RowError {
    let known = listed(fields.iter().map(|field| &*field.name));
    let field: Arc<str> = cut(name).into();
    RowError {
        row,
        field,
        reason: Reason::Unknown,
        problem: format!("is unknown, there are {known}"),
    }
}

/// Adds missing values up to a number of rows.
pub(super) fn fill(column: &mut Column, rows: usize) {
    while column.len() < rows {
        push_missing(column);
    }
}

pub(super) fn push_missing(column: &mut Column) {
    match column {
        Column::Numbers(numbers) => numbers.push(f64::NAN),
        Column::Text(texts) => texts.push(None),
        Column::Bytes(values) => values.push(None),
        Column::Tensor(_) => unreachable!("no field is a tensor"),
    }
}

fn other_form() -> PipelineError {
    let problem =
        "the body must be {\"instances\": [{…}, …]} or {\"columns\": {…}}, and nothing else";
    PipelineError::Form(problem.to_owned())
}
