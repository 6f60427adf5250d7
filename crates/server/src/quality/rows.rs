//! Captured predictions as tables.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, TimestampMillisecondArray, UInt32Array, UInt64Array,
};
use arrow_cast::display::array_value_to_string;
use arrow_schema::DataType;
use serde_json::{Map, Value, json};
use tidegate_columns::{of_tensor, whole};
use tidegate_core::{FieldType, Tensor, TensorSpec, TensorView};
use tidegate_pipeline::Column;
use tidegate_redaction::Redactor;
use tidegate_serving::{ExposedUser, Outcome, PredictionContent, Version};
use uuid::Uuid;

use super::columns::{
    ANSWERED, ARM, EXPERIMENT, LATENCY_US, OUTCOME, PREDICTION_ID, ROW, TENANT, TIME, USER,
};

/// What is known of a prediction beside its content.
pub(super) struct CapturedCall<'a> {
    pub(super) id: Uuid,
    pub(super) at_ms: u64,
    pub(super) tenant: &'a str,
    pub(super) outcome: Outcome,
    pub(super) took: Duration,
    /// Whose request it was, if that user takes part in an experiment.
    pub(super) exposure: Option<&'a ExposedUser>,
}

/// The column of an output of the model.
pub(super) fn output_column(name: &str) -> String {
    format!("output.{name}")
}

/// The rows of a prediction, redacted. Fields that are files are left out, and so is every column of
/// numbers whose name the configuration says is private.
///
/// # Errors
/// If a tensor has not one entry for each row.
pub(super) fn table(
    call: &CapturedCall<'_>,
    content: &PredictionContent,
    version: &Version,
    redactor: &Redactor,
) -> Result<RecordBatch, String> {
    let rows = content.rows;
    let mut columns = about(call, version, content);
    for (name, column) in &content.fields.columns {
        let is_private = is_private(name, redactor);
        if let Some(array) = field(name, column, version, redactor).filter(|_| !is_private) {
            columns.push((format!("field.{name}"), array));
        }
    }
    let signature = version.signature();
    // The inputs of a model with a pipeline follow from the fields.
    if content.fields.columns.is_empty() {
        let inputs = signature.inputs.iter().zip(&content.inputs);
        for (spec, tensor) in inputs {
            let is_private = has_private(version, &spec.name, redactor);
            if let Some(tensor) = tensor.as_ref().filter(|_| !is_private) {
                let array = tensor_column(spec, tensor, rows, redactor)?;
                columns.push((format!("input.{}", spec.name), array));
            }
        }
    }
    for output in &content.outputs {
        let spec = &signature.outputs[output.index];
        if !is_private(&spec.name, redactor) {
            let array = tensor_column(spec, &output.tensor, rows, redactor)?;
            columns.push((output_column(&spec.name), array));
        }
    }
    RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )
    .map_err(|error| error.to_string())
}

/// The rows of a prediction: those of its fields, or of its tensors if all of them have as many. Otherwise
/// all of it is one row.
pub(super) fn count(content: &PredictionContent) -> usize {
    let inputs = content.inputs.iter().flatten();
    let outputs = content.outputs.iter().map(|output| &output.tensor);
    let mut tensors = inputs.chain(outputs);
    let has_fields = !content.fields.columns.is_empty();
    match has_fields || tensors.all(|tensor| tensor.rows() == content.rows) {
        true => content.rows,
        false => 1,
    }
}

/// Whether the values of an input, or of one of its columns, are private.
fn has_private(version: &Version, input: &str, redactor: &Redactor) -> bool {
    let declared = &version.plan().manifest.signature.inputs;
    let declared = declared
        .iter()
        .filter(|one| one.name == input || one.name.is_empty());
    let declared = declared.flat_map(|one| one.columns.iter().map(|column| &column.name));
    let piped = version.plan().manifest.pipeline.iter();
    let piped = piped.flat_map(|pipeline| &pipeline.inputs);
    let piped = piped
        .filter(|one| one.name == input)
        .flat_map(|one| &one.columns);
    let mut columns = declared.chain(piped);
    is_private(input, redactor) || columns.any(|column| is_private(column, redactor))
}

fn about(
    call: &CapturedCall<'_>,
    version: &Version,
    content: &PredictionContent,
) -> Vec<(String, ArrayRef)> {
    let rows = content.rows;
    let text = |text: &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
            text, rows,
        )))
    };
    let at_ms = i64::try_from(call.at_ms).unwrap_or(i64::MAX);
    let time = TimestampMillisecondArray::from_iter_values(std::iter::repeat_n(at_ms, rows));
    let took_us = u64::try_from(call.took.as_micros()).unwrap_or(u64::MAX);
    let numbers = row_numbers(content).map(|row| u32::try_from(row).unwrap_or(u32::MAX));
    let outcome = match call.outcome {
        Outcome::Answered => ANSWERED,
        Outcome::Failed(code) => code.name(),
        Outcome::Abandoned => "abandoned",
    };
    let columns: [(&str, ArrayRef); 8] = [
        (PREDICTION_ID, text(&call.id.to_string())),
        (ROW, Arc::new(UInt32Array::from_iter_values(numbers))),
        (TIME, Arc::new(time.with_timezone("UTC"))),
        ("model", text(version.model())),
        // Not `version`: the folders of the partition have that name.
        ("model_version", text(version.number())),
        (TENANT, text(call.tenant)),
        (OUTCOME, text(outcome)),
        (
            LATENCY_US,
            Arc::new(UInt64Array::from_iter_values(std::iter::repeat_n(
                took_us, rows,
            ))),
        ),
    ];
    let exposure = call.exposure.map(|exposed| {
        [
            (EXPERIMENT, text(&exposed.experiment)),
            (ARM, text(&exposed.arm)),
            (USER, text(&format!("{:016x}", exposed.user))),
        ]
    });
    columns
        .into_iter()
        .chain(exposure.into_iter().flatten())
        .map(|(name, array)| (name.to_owned(), array))
        .collect()
}

/// The numbers of the rows in the request.
fn row_numbers(content: &PredictionContent) -> impl Iterator<Item = usize> + '_ {
    let kept = content.fields.rows.as_deref();
    (0..content.rows).map(move |row| {
        kept.and_then(|kept| kept.get(row))
            .map_or(row, |kept| *kept)
    })
}

/// Whether the values of a name are private, whatever they are.
pub(super) fn is_private(name: &str, redactor: &Redactor) -> bool {
    redactor.named(name, "0") != "0"
}

/// The values of a field; `None` for files and tensors.
fn field(name: &str, column: &Column, version: &Version, redactor: &Redactor) -> Option<ArrayRef> {
    let numbers = match column {
        Column::Numbers(numbers) => numbers,
        Column::Text(texts) => {
            let mut redacted = StringBuilder::new();
            for text in texts.iter() {
                redacted.append_option(text.map(|text| redactor.named(name, text)));
            }
            return Some(Arc::new(redacted.finish()));
        }
        Column::Bytes(_) | Column::Tensor(_) => return None,
    };
    let values = numbers
        .iter()
        .map(|number| (!number.is_nan()).then_some(*number));
    Some(match field_type(name, version) {
        Some(FieldType::Boolean) => {
            let flags = values.map(|value| value.map(|value| value != 0.0));
            Arc::new(flags.collect::<BooleanArray>())
        }
        Some(FieldType::Integer) => {
            let whole = values.map(|value| value.map(|value| value as i64));
            Arc::new(whole.collect::<Int64Array>())
        }
        Some(FieldType::Time) => {
            let micros = values.map(|value| value.map(|value| value as i64));
            Arc::new(
                micros
                    .collect::<TimestampMicrosecondArray>()
                    .with_timezone("UTC"),
            )
        }
        _ => Arc::new(values.collect::<Float64Array>()),
    })
}

fn field_type(name: &str, version: &Version) -> Option<FieldType> {
    let mut types = version.pipeline()?.field_types();
    types
        .find(|(field, ..)| *field == name)
        .map(|(_, kind, _)| kind)
}

fn tensor_column(
    spec: &TensorSpec,
    tensor: &Tensor,
    rows: usize,
    redactor: &Redactor,
) -> Result<ArrayRef, String> {
    if let TensorView::Strings(strings) = tensor.view() {
        let redacted = strings
            .iter()
            .map(|text| redactor.element(&spec.name, text))
            .map(|text| String::from_utf8_lossy(&text).into_owned());
        let redacted = redacted.collect();
        let redacted = Tensor::from_strings(tensor.shape().clone(), redacted);
        let redacted = redacted.map_err(|error| error.to_string())?;
        return plain_column(spec, &redacted, rows);
    }
    plain_column(spec, tensor, rows)
}

/// A model without batches has one row, whatever the shapes of its tensors are.
fn plain_column(spec: &TensorSpec, tensor: &Tensor, rows: usize) -> Result<ArrayRef, String> {
    match of_tensor(spec, tensor, rows) {
        Ok(column) => Ok(column),
        Err(problem) if rows == 1 => whole(tensor).ok_or(problem),
        Err(problem) => Err(problem),
    }
}

/// Values of a list that are shown, at most.
const SHOWN_VALUES: usize = 64;

/// A row of a table as JSON, for people. Of long lists the first values are shown, with their number.
pub(super) fn json_row(batch: &RecordBatch, row: usize) -> Value {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns());
    let values = columns.filter(|(_, column)| !column.is_null(row));
    values
        .map(|(field, column)| (field.name().clone(), json_value(column, row)))
        .collect::<Map<_, _>>()
        .into()
}

fn json_value(column: &ArrayRef, row: usize) -> Value {
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row).into(),
        DataType::Boolean => column.as_boolean().value(row).into(),
        DataType::List(_) => json_list(&column.as_list::<i32>().value(row)),
        DataType::Timestamp(..) => display(column, row).into(),
        // What JSON does not have, such as NaN, stays a text.
        _ => serde_json::from_str(&display(column, row))
            .unwrap_or_else(|_| display(column, row).into()),
    }
}

fn json_list(values: &ArrayRef) -> Value {
    let shown = (0..values.len().min(SHOWN_VALUES)).map(|at| json_value(values, at));
    let shown: Vec<Value> = shown.collect();
    match values.len() > SHOWN_VALUES {
        true => json!({ "values": values.len(), "first": shown }),
        false => shown.into(),
    }
}

fn display(column: &ArrayRef, row: usize) -> String {
    array_value_to_string(column, row).unwrap_or_default()
}
