//! Tensors to ONNX Runtime's values and back.

use ort::session::SessionInputValue;
use ort::value::{DynMap, DynValue, TensorElementType, TensorRef, ValueType};
use tidegate_core::{DataType, Shape, StringArray, Tensor, TensorView, with_element};

use crate::RunError;

/// Wraps a tensor without copying fixed-width elements; its memory must be aligned.
pub(super) fn to_value<'a>(
    name: &str,
    tensor: &'a Tensor,
) -> Result<SessionInputValue<'a>, RunError> {
    let shape = ort::value::Shape::new(tensor.shape().iter().map(|extent| *extent as i64));
    let refused = |problem: String| RunError::Input {
        name: name.to_owned(),
        problem,
    };
    let from_ort =
        |error: ort::Error| refused(format!("is refused by the engine: {}", error.message()));
    match tensor.view() {
        TensorView::Strings(strings) => {
            let texts: Result<Vec<String>, _> = strings
                .iter()
                .map(|text| String::from_utf8(text.to_vec()))
                .collect();
            let texts =
                texts.map_err(|_| refused("holds a string that is not UTF-8".to_owned()))?;
            if texts.iter().any(|text| text.contains('\0')) {
                return Err(refused("holds a string with a NUL character".to_owned()));
            }
            Ok(
                ort::value::Tensor::from_string_array((shape, texts.as_slice()))
                    .map_err(from_ort)?
                    .into(),
            )
        }
        TensorView::Fixed(bytes) if tensor.datatype() == DataType::Bool => {
            let bools = bytemuck::checked::try_cast_slice::<u8, bool>(bytes)
                .map_err(|_| refused("holds a byte that is neither 0 nor 1".to_owned()))?;
            Ok(TensorRef::from_array_view((shape, bools))
                .map_err(from_ort)?
                .into())
        }
        TensorView::Fixed(_) => with_element!(tensor.datatype(), T => {
            let elements = tensor.as_slice::<T>().expect("the caller aligned the memory");
            Ok(TensorRef::from_array_view((shape, elements)).map_err(from_ort)?.into())
        }, else => unreachable!("BOOL and BYTES are handled above")),
    }
}

/// Copies an output out of the runtime's memory.
pub(super) fn from_value(value: &DynValue) -> Result<Tensor, RunError> {
    match value.dtype() {
        ValueType::Sequence(_) => class_scores(value),
        ValueType::Tensor { ty, shape, .. } => {
            let failed =
                |error: String| RunError::Engine(format!("an output cannot be read: {error}"));
            let from_ort = |error: ort::Error| failed(error.message().to_owned());
            let datatype = super::datatype(*ty)
                .ok_or_else(|| failed(format!("element type {ty} is not served")))?;
            let shape = Shape::from_wire(shape).map_err(|error| failed(error.to_string()))?;
            let tensor = match datatype {
                DataType::Bytes => {
                    let (_, texts) = value.try_extract_strings().map_err(from_ort)?;
                    Tensor::from_strings(shape, texts.into_iter().collect::<StringArray>())
                }
                DataType::Bool => {
                    let (_, bools) = value.try_extract_tensor::<bool>().map_err(from_ort)?;
                    let bytes: Vec<u8> = bools.iter().map(|bool| u8::from(*bool)).collect();
                    Tensor::from_wire(datatype, shape, bytes.into())
                }
                _ => with_element!(datatype, T => {
                    let (_, elements) = value.try_extract_tensor::<T>().map_err(from_ort)?;
                    Tensor::from_vec(shape, elements.to_vec())
                }, else => unreachable!("BOOL and BYTES are handled above")),
            };
            tensor.map_err(|error| failed(error.to_string()))
        }
        other => Err(RunError::Engine(format!(
            "an output is a {other}, which has no tensor form"
        ))),
    }
}

/// Whether a sequence of `kind` is what scikit-learn's exporters make of class probabilities
/// (ZipMap): for each row a map from the class to its probability.
pub(super) fn is_class_scores(kind: &ValueType) -> bool {
    matches!(
        kind,
        ValueType::Map {
            key: TensorElementType::Int64 | TensorElementType::String,
            value: TensorElementType::Float32
        }
    )
}

/// A sequence of class→score maps as one `[rows, classes]` tensor, its columns in the order of the
/// sorted classes, which is the order of scikit-learn's `classes_`.
fn class_scores(value: &DynValue) -> Result<Tensor, RunError> {
    let failed = |error: ort::Error| {
        RunError::Engine(format!("an output cannot be read: {}", error.message()))
    };
    let rows = value
        .try_extract_sequence::<ort::value::DynMapValueType>()
        .map_err(failed)?;
    let mut scores: Vec<f32> = Vec::new();
    for row in &rows {
        scores.extend(sorted_scores(row).map_err(failed)?);
    }
    let columns = if rows.is_empty() {
        0
    } else {
        scores.len() / rows.len()
    };
    let shape = Shape::new(&[rows.len(), columns]).and_then(|shape| {
        if shape.element_count() == scores.len() {
            Ok(shape)
        } else {
            Shape::new(&[scores.len()])
        }
    });
    let shape = shape.map_err(|error| RunError::Engine(error.to_string()))?;
    Tensor::from_vec(shape, scores).map_err(|error| RunError::Engine(error.to_string()))
}

fn sorted_scores(row: &DynMap) -> ort::Result<Vec<f32>> {
    let is_string = matches!(
        row.dtype(),
        ValueType::Map {
            key: TensorElementType::String,
            ..
        }
    );
    if is_string {
        let mut pairs = row.try_extract_key_values::<String, f32>()?;
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(pairs.into_iter().map(|(_, score)| score).collect())
    } else {
        let mut pairs = row.try_extract_key_values::<i64, f32>()?;
        pairs.sort_by_key(|(class, _)| *class);
        Ok(pairs.into_iter().map(|(_, score)| score).collect())
    }
}
