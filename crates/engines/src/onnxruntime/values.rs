//! Conversion of tensors to ONNX Runtime's values and back.

use ort::session::SessionInputValue;
use ort::value::{DynMap, DynMapValueType, DynValue, TensorElementType, TensorRef, ValueType};
use tidegate_core::{DataType, Shape, StringArray, Tensor, TensorView, with_element};

use super::{signature, strings};
use crate::RunError;

/// Wraps a tensor without a copy of fixed-width elements. Its memory must be aligned.
pub(super) fn to_value<'a>(
    name: &str,
    tensor: &'a Tensor,
) -> Result<SessionInputValue<'a>, RunError> {
    match tensor.view() {
        TensorView::Strings(strings) => strings_to_value(name, tensor, strings),
        TensorView::Fixed(bytes) if tensor.datatype() == DataType::Bool => {
            let bools = bytemuck::checked::try_cast_slice::<u8, bool>(bytes)
                .map_err(|_| RunError::input(name, "holds a byte that is neither 0 nor 1"))?;
            let value = TensorRef::from_array_view((shape_of(tensor), bools));
            Ok(value.map_err(|error| refused(name, &error))?.into())
        }
        TensorView::Fixed(_) => with_element!(tensor.datatype(), T => {
            let elements = tensor.as_slice::<T>().expect("the caller aligned the memory");
            let value = TensorRef::from_array_view((shape_of(tensor), elements));
            Ok(value.map_err(|error| refused(name, &error))?.into())
        }, else => unreachable!("BOOL and BYTES are handled above")),
    }
}

/// Strings go in with their lengths, as the protocol has them: an image or a serialized message has
/// NUL bytes and is not UTF-8.
fn strings_to_value(
    name: &str,
    tensor: &Tensor,
    strings: &StringArray,
) -> Result<SessionInputValue<'static>, RunError> {
    let empty = vec![""; strings.len()];
    let value = ort::value::Tensor::from_string_array((shape_of(tensor), empty.as_slice()));
    let mut value = value.map_err(|error| refused(name, &error))?;
    for (at, bytes) in strings.iter().enumerate() {
        strings::set(&mut value, at, bytes).map_err(|error| refused(name, &error))?;
    }
    Ok(value.into())
}

fn shape_of(tensor: &Tensor) -> ort::value::Shape {
    ort::value::Shape::new(tensor.shape().iter().map(|extent| *extent as i64))
}

fn refused(name: &str, error: &ort::Error) -> RunError {
    RunError::input(
        name,
        format!("is refused by the engine: {}", error.message()),
    )
}

/// Copies an output out of the runtime's memory. `classes` are the names of its columns, if the graph
/// has any for it.
pub(super) fn from_value(value: &DynValue, classes: Option<&[String]>) -> Result<Tensor, RunError> {
    match value.dtype() {
        ValueType::Sequence(_) => class_scores(value, classes),
        ValueType::Tensor { ty, shape, .. } => {
            let datatype = signature::datatype(*ty).ok_or_else(|| {
                RunError::unreadable_output(format!("element type {ty} is not supported"))
            })?;
            let shape = Shape::from_wire(shape).map_err(RunError::unreadable_output)?;
            tensor_from_value(value, datatype, shape)
        }
        other => Err(RunError::Engine(format!(
            "an output is a {other}, which has no tensor form"
        ))),
    }
}

fn tensor_from_value(
    value: &DynValue,
    datatype: DataType,
    shape: Shape,
) -> Result<Tensor, RunError> {
    let tensor = match datatype {
        DataType::Bytes => {
            let strings = strings::read(value, shape.element_count()).map_err(unreadable)?;
            Tensor::from_strings(shape, strings)
        }
        DataType::Bool => {
            let (_, bools) = value.try_extract_tensor::<bool>().map_err(unreadable)?;
            let bytes: Vec<u8> = bools.iter().map(|bool| u8::from(*bool)).collect();
            Tensor::from_wire(datatype, shape, bytes.into())
        }
        _ => with_element!(datatype, T => {
            let (_, elements) = value.try_extract_tensor::<T>().map_err(unreadable)?;
            Tensor::copy_of(shape, elements)
        }, else => unreachable!("BOOL and BYTES are handled above")),
    };
    tensor.map_err(RunError::unreadable_output)
}

fn unreadable(error: ort::Error) -> RunError {
    RunError::unreadable_output(error.message())
}

/// Whether a sequence of `kind` holds class probabilities in the form that scikit-learn's exporters
/// make (the ZipMap operator): for each row a map from the class to its probability.
pub(super) fn is_class_scores(kind: &ValueType) -> bool {
    matches!(
        kind,
        ValueType::Map {
            key: TensorElementType::Int64 | TensorElementType::String,
            value: TensorElementType::Float32
        }
    )
}

/// A sequence of class→score maps as one `[rows, classes]` tensor. The columns are in the order of
/// the graph's classes, where these are known, else in the order of the sorted classes, which is that
/// of scikit-learn's `classes_`.
fn class_scores(value: &DynValue, classes: Option<&[String]>) -> Result<Tensor, RunError> {
    let rows = value
        .try_extract_sequence::<DynMapValueType>()
        .map_err(unreadable)?;
    let mut scores: Vec<f32> = Vec::new();
    for row in &rows {
        let mut pairs = sorted_scores(row).map_err(unreadable)?;
        if let Some(classes) = classes {
            pairs.sort_by_key(|(class, _)| classes.iter().position(|name| name == class));
        }
        scores.extend(pairs.into_iter().map(|(_, score)| score));
    }
    let columns = scores.len().checked_div(rows.len()).unwrap_or(0);
    let is_rectangular = rows.len() * columns == scores.len();
    let extents: &[usize] = if is_rectangular {
        &[rows.len(), columns]
    } else {
        &[scores.len()]
    };
    let shape = Shape::new(extents).map_err(|error| RunError::Engine(error.to_string()))?;
    Tensor::from_vec(shape, scores).map_err(|error| RunError::Engine(error.to_string()))
}

/// The classes of a row with their scores, in the order of the classes.
fn sorted_scores(row: &DynMap) -> ort::Result<Vec<(String, f32)>> {
    if let ValueType::Map {
        key: TensorElementType::String,
        ..
    } = row.dtype()
    {
        let mut pairs = row.try_extract_key_values::<String, f32>()?;
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        return Ok(pairs);
    }
    let mut pairs = row.try_extract_key_values::<i64, f32>()?;
    pairs.sort_by_key(|(class, _)| *class);
    let pairs = pairs.into_iter();
    Ok(pairs
        .map(|(class, score)| (class.to_string(), score))
        .collect())
}
