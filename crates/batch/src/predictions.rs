//! What a version predicts, as columns.

use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, StringBuilder};
use arrow_array::types::{Float32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{ArrayRef, ArrowPrimitiveType, BooleanArray, PrimitiveArray};
use arrow_schema::{DataType as ArrowType, Field, FieldRef, TimeUnit};
use tidegate_columns::{column_type, element_type, list, list_of};
use tidegate_pipeline::{Answer, ResponseType};
use tidegate_serving::Version;

/// The columns that a version predicts: the fields of its pipeline's answer, or its outputs.
pub(crate) fn fields(version: &Version) -> Vec<FieldRef> {
    match version.pipeline() {
        Some(pipeline) => {
            let fields = pipeline.response_types();
            fields
                .map(|(name, kind)| field(name, of_response(kind)))
                .collect()
        }
        None => {
            let outputs = version.signature().outputs.iter();
            outputs
                .map(|spec| field(&spec.name, column_type(spec)))
                .collect()
        }
    }
}

fn field(name: &str, data_type: ArrowType) -> FieldRef {
    Arc::new(Field::new(name, data_type, true))
}

fn of_response(kind: ResponseType) -> ArrowType {
    match kind {
        ResponseType::Number => ArrowType::Float64,
        ResponseType::Single => ArrowType::Float32,
        ResponseType::Integer => ArrowType::Int64,
        ResponseType::Boolean => ArrowType::Boolean,
        ResponseType::Time => ArrowType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ResponseType::Text => ArrowType::Utf8,
        ResponseType::Bytes => ArrowType::Binary,
        ResponseType::Tensor(datatype) => list_of(element_type(datatype)),
        // As the endpoint writes it.
        ResponseType::Array => ArrowType::Utf8,
    }
}

/// The columns of an answer of the pipeline.
pub(crate) fn of_answer(version: &Version, answer: &Answer<'_>) -> Result<Vec<ArrayRef>, String> {
    let mut columns = Vec::new();
    for (at, (name, kind)) in version
        .pipeline()
        .iter()
        .flat_map(|p| p.response_types())
        .enumerate()
    {
        let column = of_field(answer, at, kind);
        columns.push(column.ok_or_else(|| format!("the answer has no values of \"{name}\""))?);
    }
    Ok(columns)
}

fn of_field(answer: &Answer<'_>, at: usize, kind: ResponseType) -> Option<ArrayRef> {
    let rows = 0..answer.rows();
    Some(match kind {
        ResponseType::Number => of_numbers::<Float64Type>(answer.numbers(at)?, |value| value),
        ResponseType::Single => {
            of_numbers::<Float32Type>(answer.numbers(at)?, |value| value as f32)
        }
        ResponseType::Integer => of_numbers::<Int64Type>(answer.numbers(at)?, |value| value as i64),
        ResponseType::Time => {
            let values = answer.numbers(at)?.iter().map(|value| finite(*value));
            let micros = values.map(|value| value.map(|value| value as i64));
            let array: PrimitiveArray<TimestampMicrosecondType> = micros.collect();
            Arc::new(array.with_timezone("UTC"))
        }
        ResponseType::Boolean => {
            let values = answer.numbers(at)?.iter().map(|value| finite(*value));
            let flags = values.map(|value| value.map(|value| value != 0.0));
            Arc::new(flags.collect::<BooleanArray>())
        }
        ResponseType::Text => {
            let mut texts = StringBuilder::new();
            rows.for_each(|row| texts.append_option(answer.text(at, row)));
            Arc::new(texts.finish())
        }
        ResponseType::Bytes => {
            let mut values = BinaryBuilder::new();
            rows.for_each(|row| values.append_option(answer.bytes(at, row)));
            Arc::new(values.finish())
        }
        ResponseType::Tensor(_) => list(answer.tensor(at)?, answer.rows())?,
        ResponseType::Array => {
            let mut texts = StringBuilder::new();
            for row in rows {
                let mut json = Vec::new();
                answer.encode_value(at, row, &mut json);
                texts.append_value(std::str::from_utf8(&json).ok()?);
            }
            Arc::new(texts.finish())
        }
    })
}

/// A number that JSON has; the others stand for missing ones, as in the answers of an endpoint.
fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

fn of_numbers<T: ArrowPrimitiveType>(numbers: &[f64], of: fn(f64) -> T::Native) -> ArrayRef {
    let values = numbers.iter().map(|value| finite(*value).map(of));
    Arc::new(values.collect::<PrimitiveArray<T>>())
}
