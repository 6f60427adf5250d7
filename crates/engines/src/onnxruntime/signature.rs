//! The signature of a session.

use ort::session::Session;
use ort::value::{Outlet, TensorElementType, ValueType};
use tidegate_core::{DataType, Dim, Signature, TensorSpec};

use super::values;
use crate::LoadError;

/// Reads the inputs and outputs of a session. Initializers that a request may override are optional
/// inputs.
pub(super) fn of(session: &Session) -> Result<Signature, LoadError> {
    let mut inputs = Vec::new();
    for input in session.inputs() {
        inputs.push(input_spec(input.name(), input.dtype(), false)?);
    }
    // After the inputs: the positions of required inputs must be those of the session.
    for input in session.overridable_initializers() {
        inputs.push(input_spec(input.name(), input.dtype(), true)?);
    }
    let outputs = session.outputs().iter().map(output_spec);
    Ok(Signature {
        inputs,
        outputs: outputs.collect::<Result<_, _>>()?,
    })
}

fn input_spec(name: &str, kind: &ValueType, optional: bool) -> Result<TensorSpec, LoadError> {
    match kind {
        ValueType::Tensor { ty, shape, .. } => tensor_spec("input", name, *ty, shape, optional),
        _ => Err(unsupported(
            "input",
            name,
            format!("is a {kind}, only tensors can be sent in a request"),
        )),
    }
}

fn output_spec(output: &Outlet) -> Result<TensorSpec, LoadError> {
    let name = output.name();
    match output.dtype() {
        ValueType::Sequence(item) if values::is_class_scores(item) => Ok(TensorSpec {
            name: name.to_owned(),
            datatype: DataType::Fp32,
            dims: Some(vec![Dim::Any, Dim::Any]),
            optional: false,
        }),
        ValueType::Tensor { ty, shape, .. } => tensor_spec("output", name, *ty, shape, false),
        kind => Err(unsupported(
            "output",
            name,
            format!("is a {kind}, which has no tensor form"),
        )),
    }
}

fn tensor_spec(
    side: &'static str,
    name: &str,
    element: TensorElementType,
    extents: &[i64],
    optional: bool,
) -> Result<TensorSpec, LoadError> {
    let Some(datatype) = datatype(element) else {
        let problem = format!("has element type {element}, which is not supported");
        return Err(unsupported(side, name, problem));
    };
    // ONNX Runtime reports no extents for a scalar and for a tensor of unknown rank. It cannot be
    // told which of the two it is, so the shape of a request is not checked.
    let dims = match extents {
        [] => None,
        extents => Some(extents.iter().copied().map(Dim::from_wire).collect()),
    };
    Ok(TensorSpec {
        name: name.to_owned(),
        datatype,
        dims,
        optional,
    })
}

fn unsupported(side: &'static str, name: &str, problem: String) -> LoadError {
    LoadError::Unsupported {
        side,
        name: name.to_owned(),
        problem,
    }
}

/// Our data type for an element type of the runtime, if there is one.
pub(super) fn datatype(element: TensorElementType) -> Option<DataType> {
    Some(match element {
        TensorElementType::Bool => DataType::Bool,
        TensorElementType::Uint8 => DataType::Uint8,
        TensorElementType::Uint16 => DataType::Uint16,
        TensorElementType::Uint32 => DataType::Uint32,
        TensorElementType::Uint64 => DataType::Uint64,
        TensorElementType::Int8 => DataType::Int8,
        TensorElementType::Int16 => DataType::Int16,
        TensorElementType::Int32 => DataType::Int32,
        TensorElementType::Int64 => DataType::Int64,
        TensorElementType::Float16 => DataType::Fp16,
        TensorElementType::Bfloat16 => DataType::Bf16,
        TensorElementType::Float32 => DataType::Fp32,
        TensorElementType::Float64 => DataType::Fp64,
        TensorElementType::String => DataType::Bytes,
        _ => return None,
    })
}
