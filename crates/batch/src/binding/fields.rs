//! Columns as the fields of a pipeline.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef};
use arrow_cast::cast;
use arrow_schema::{DataType, TimeUnit};
use bytes::Bytes;
use tidegate_core::FieldType;
use tidegate_pipeline::{BadRows, Column, Pipeline, PipelineError, Records, TextColumn};

use crate::input::{Cells, Columns, InputFile, RowBatch};

/// The fields of a pipeline, bound to columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldBinding {
    fields: Vec<BoundField>,
    cells: Cells,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct BoundField {
    name: String,
    field_type: FieldType,
    /// The type of the column, where it has one.
    column_type: Option<DataType>,
    /// The place among the bound columns; `None` where the file has no such column.
    place: Option<usize>,
}

impl FieldBinding {
    /// Binds each field to the column of its name, and adds the column to those that are bound.
    pub(super) fn new(
        pipeline: &Pipeline,
        file: &InputFile,
        bound: &mut Vec<String>,
    ) -> Result<Self, String> {
        let mut fields = Vec::new();
        for (name, field_type, is_optional) in pipeline.field_types() {
            let found = file.columns.find(name)?;
            if found.is_none() && !is_optional {
                return Err(format!(
                    "has no column \"{name}\", which the pipeline needs; it has {}",
                    file.columns.listed()
                ));
            }
            let column_type = match (&file.columns, found) {
                (Columns::Typed(schema), Some(place)) => Some(schema.field(place).data_type()),
                _ => None,
            };
            if let Some(column_type) = column_type
                && !fits(column_type, field_type)
            {
                let wanted = field_type.name();
                return Err(format!(
                    "column \"{name}\" is {column_type}, the field is of type {wanted}"
                ));
            }
            fields.push(BoundField {
                name: name.to_owned(),
                field_type,
                column_type: column_type.cloned(),
                place: found.map(|_| {
                    bound.push(name.to_owned());
                    bound.len() - 1
                }),
            });
        }
        Ok(Self {
            fields,
            cells: file.format.cells(),
        })
    }

    pub(super) fn describe(&self) -> Vec<(String, String)> {
        let fields = self.fields.iter().map(|field| {
            let column = match (&field.column_type, field.place) {
                (_, None) => "no column: missing in every row".to_owned(),
                (Some(column_type), _) => format!("column {} ({column_type})", field.name),
                (None, _) => format!("column {}", field.name),
            };
            (
                format!("{} {}", field.name, field.field_type.name()),
                column,
            )
        });
        fields.collect()
    }

    /// The rows as records. Rows with values that cannot be used fail alone.
    pub(crate) fn records(
        &self,
        pipeline: &Pipeline,
        batch: &RowBatch,
    ) -> Result<Records, PipelineError> {
        if self.cells == Cells::Json {
            // Through the reader of requests: a value means here what it means there.
            return pipeline.read_with(&self.body(batch), BadRows::FailAlone);
        }
        let mut columns = Vec::with_capacity(self.fields.len());
        for field in &self.fields {
            columns.push(match field.place {
                None => None,
                Some(place) => Some(field.column(&batch.bound[place])?),
            });
        }
        pipeline.read_columns(batch.rows.len(), columns, BadRows::FailAlone)
    }

    /// `{"instances": [{…}, …]}`, of the bound values only.
    fn body(&self, batch: &RowBatch) -> Vec<u8> {
        let names = self.fields.iter().filter(|field| field.place.is_some());
        let keys: Vec<Vec<u8>> = names.map(|field| key(&field.name)).collect();
        let columns: Vec<_> = batch
            .bound
            .iter()
            .map(|column| column.as_string::<i32>())
            .collect();
        let mut body = b"{\"instances\":[".to_vec();
        for row in 0..batch.rows.len() {
            body.extend_from_slice(if row == 0 { b"{" } else { b",{" });
            let mut is_first = true;
            for (key, column) in keys.iter().zip(&columns) {
                // A key that the line does not have.
                if column.is_null(row) {
                    continue;
                }
                if !std::mem::take(&mut is_first) {
                    body.push(b',');
                }
                body.extend_from_slice(key);
                body.extend_from_slice(column.value(row).as_bytes());
            }
            body.push(b'}');
        }
        body.extend_from_slice(b"]}");
        body
    }
}

/// A name as a key of JSON, with its colon.
fn key(name: &str) -> Vec<u8> {
    let mut key = serde_json::to_vec(name).expect("a vector takes all text");
    key.push(b':');
    key
}

/// Whether values of a column can be those of a field, as a client would write them in JSON.
fn fits(column: &DataType, field: FieldType) -> bool {
    let column = match column {
        DataType::Dictionary(_, value) => value,
        column => column,
    };
    let is_text = matches!(
        column,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    );
    match field {
        // All values are missing.
        _ if *column == DataType::Null => true,
        FieldType::Number | FieldType::Integer => {
            column.is_numeric() && !matches!(column, DataType::Duration(_))
        }
        FieldType::Boolean => *column == DataType::Boolean,
        FieldType::String => is_text,
        FieldType::Time => {
            is_text
                || matches!(
                    column,
                    DataType::Timestamp(..) | DataType::Date32 | DataType::Date64
                )
        }
        FieldType::Bytes => is_text || is_binary(column),
    }
}

fn is_binary(column: &DataType) -> bool {
    matches!(
        column,
        DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_)
    )
}

impl BoundField {
    fn column(&self, array: &ArrayRef) -> Result<Column, PipelineError> {
        let plain = match array.data_type() {
            DataType::Dictionary(_, value) => self.cast(array, value)?,
            _ => array.clone(),
        };
        let kind = plain.data_type().clone();
        let is_text = matches!(
            kind,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
        );
        if is_text {
            return Ok(Column::Text(texts(&self.cast(&plain, &DataType::Utf8)?)));
        }
        match self.field_type {
            FieldType::String => Ok(Column::Text(texts(&self.cast(&plain, &DataType::Utf8)?))),
            FieldType::Bytes => Ok(bytes(&self.cast(&plain, &DataType::Binary)?)),
            FieldType::Time => {
                let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
                Ok(times(&self.cast(&plain, &micros)?))
            }
            FieldType::Boolean => Ok(booleans(&self.cast(&plain, &DataType::Boolean)?)),
            FieldType::Number | FieldType::Integer => {
                Ok(numbers(&self.cast(&plain, &DataType::Float64)?))
            }
        }
    }

    fn cast(&self, array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, PipelineError> {
        if array.data_type() == wanted {
            return Ok(Arc::clone(array));
        }
        cast(array, wanted)
            .map_err(|error| PipelineError::Form(format!("column \"{}\": {error}", self.name)))
    }
}

fn texts(array: &ArrayRef) -> TextColumn {
    let mut texts = TextColumn::default();
    array
        .as_string::<i32>()
        .iter()
        .for_each(|text| texts.push(text));
    texts
}

fn bytes(array: &ArrayRef) -> Column {
    let values = array.as_binary::<i32>().iter();
    Column::Bytes(
        values
            .map(|value| value.map(Bytes::copy_from_slice))
            .collect(),
    )
}

fn booleans(array: &ArrayRef) -> Column {
    let values = array.as_boolean().iter();
    let numbers = values.map(|value| value.map_or(f64::NAN, |value| f64::from(u8::from(value))));
    Column::Numbers(numbers.collect())
}

fn times(array: &ArrayRef) -> Column {
    let micros = array.as_primitive::<TimestampMicrosecondType>().iter();
    Column::Numbers(
        micros
            .map(|micros| micros.map_or(f64::NAN, |micros| micros as f64))
            .collect(),
    )
}

fn numbers(array: &ArrayRef) -> Column {
    let array = array.as_primitive::<Float64Type>();
    if array.null_count() == 0 {
        return Column::Numbers(array.values().to_vec());
    }
    Column::Numbers(
        array
            .iter()
            .map(|number| number.unwrap_or(f64::NAN))
            .collect(),
    )
}
