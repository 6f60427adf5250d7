//! What a version predicts, as columns.

use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, StringBuilder};
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, BooleanArray, ListArray, PrimitiveArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType as ArrowType, Field, FieldRef, TimeUnit};
use tidegate_core::{DataType, Dim, Element, Tensor, TensorSpec, bf16};
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
                .map(|spec| field(&spec.name, of_output(spec)))
                .collect()
        }
    }
}

fn field(name: &str, data_type: ArrowType) -> FieldRef {
    Arc::new(Field::new(name, data_type, true))
}

fn list_of(item: ArrowType) -> ArrowType {
    ArrowType::List(item_field(item))
}

fn item_field(item: ArrowType) -> FieldRef {
    Arc::new(Field::new("item", item, false))
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
        ResponseType::Tensor(datatype) => list_of(element(datatype)),
        // As the endpoint writes it.
        ResponseType::Array => ArrowType::Utf8,
    }
}

fn of_output(spec: &TensorSpec) -> ArrowType {
    let element = element(spec.datatype);
    match is_scalar(spec) {
        true => element,
        false => list_of(element),
    }
}

/// Whether an output has one value for each row.
fn is_scalar(spec: &TensorSpec) -> bool {
    let Some(dims) = &spec.dims else {
        return false;
    };
    let mut others = dims.iter().skip(1);
    others.all(|dim| *dim == Dim::Fixed(1))
}

fn element(datatype: DataType) -> ArrowType {
    match datatype {
        DataType::Bool => ArrowType::Boolean,
        DataType::Uint8 => ArrowType::UInt8,
        DataType::Uint16 => ArrowType::UInt16,
        DataType::Uint32 => ArrowType::UInt32,
        DataType::Uint64 => ArrowType::UInt64,
        DataType::Int8 => ArrowType::Int8,
        DataType::Int16 => ArrowType::Int16,
        DataType::Int32 => ArrowType::Int32,
        DataType::Int64 => ArrowType::Int64,
        DataType::Fp16 => ArrowType::Float16,
        // Arrow has no such type; single precision has all of its values.
        DataType::Bf16 | DataType::Fp32 => ArrowType::Float32,
        DataType::Fp64 => ArrowType::Float64,
        DataType::Bytes => ArrowType::Utf8,
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

/// The column of an output of the signature.
pub(crate) fn of_tensor(
    spec: &TensorSpec,
    tensor: &Tensor,
    rows: usize,
) -> Result<ArrayRef, String> {
    let column = match is_scalar(spec) {
        true => values(tensor),
        false => list(tensor, rows),
    };
    let column = column.filter(|column| column.len() == rows);
    column.ok_or_else(|| {
        let (name, shape) = (&spec.name, tensor.shape());
        format!("output \"{name}\" of shape {shape} is no column of {rows} rows")
    })
}

/// The values of a tensor, a list of equal length for each row.
fn list(tensor: &Tensor, rows: usize) -> Option<ArrayRef> {
    if tensor.rows() != rows {
        return None;
    }
    let values = values(tensor)?;
    let width = values.len().checked_div(rows)?;
    let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(width, rows));
    let item = item_field(values.data_type().clone());
    Some(Arc::new(
        ListArray::try_new(item, offsets, values, None).ok()?,
    ))
}

/// All values of a tensor.
fn values(tensor: &Tensor) -> Option<ArrayRef> {
    Some(match tensor.datatype() {
        DataType::Bool => {
            let flags = tensor.wire().iter().map(|byte| Some(*byte != 0)).collect();
            let flags: BooleanArray = flags;
            Arc::new(flags)
        }
        DataType::Uint8 => plain::<UInt8Type>(tensor)?,
        DataType::Uint16 => plain::<UInt16Type>(tensor)?,
        DataType::Uint32 => plain::<UInt32Type>(tensor)?,
        DataType::Uint64 => plain::<UInt64Type>(tensor)?,
        DataType::Int8 => plain::<Int8Type>(tensor)?,
        DataType::Int16 => plain::<Int16Type>(tensor)?,
        DataType::Int32 => plain::<Int32Type>(tensor)?,
        DataType::Int64 => plain::<Int64Type>(tensor)?,
        DataType::Fp16 => plain::<Float16Type>(tensor)?,
        DataType::Fp32 => plain::<Float32Type>(tensor)?,
        DataType::Fp64 => plain::<Float64Type>(tensor)?,
        DataType::Bf16 => {
            let values = tensor.to_vec::<bf16>()?.into_iter().map(f32::from);
            Arc::new(PrimitiveArray::<Float32Type>::from_iter_values(values))
        }
        DataType::Bytes => {
            let tidegate_core::TensorView::Strings(strings) = tensor.view() else {
                return None;
            };
            let mut texts = StringBuilder::new();
            for value in strings.iter() {
                texts.append_value(std::str::from_utf8(value).ok()?);
            }
            Arc::new(texts.finish())
        }
    })
}

fn plain<T>(tensor: &Tensor) -> Option<ArrayRef>
where
    T: ArrowPrimitiveType,
    T::Native: Element,
{
    let values = tensor.to_vec::<T::Native>()?;
    Some(Arc::new(PrimitiveArray::<T>::from_iter_values(values)))
}
