//! Inputs that the server sets: flags, and the id of the sequence.

use tidegate_core::{DataType, FlagInput, Shape, StringArray, Tensor, TensorSpec, bf16, f16};

use super::{SequenceId, SequenceRequest};
use crate::{ErrorCode, InferError};

/// An input that the server sets.
#[derive(Debug)]
pub(super) enum Control {
    /// Whether a sequence begins, in the form of the model: no, then yes.
    Start([Tensor; 2]),
    /// Whether it ends.
    End([Tensor; 2]),
    /// That the row belongs to a request.
    Ready(Tensor),
    /// The id of the sequence.
    CorrelationId {
        name: String,
        datatype: DataType,
        shape: Shape,
    },
}

impl Control {
    /// The input for a request.
    pub(super) fn tensor(&self, request: &SequenceRequest) -> Result<Tensor, InferError> {
        match self {
            Self::Start(flags) => Ok(flags[usize::from(request.start)].clone()),
            Self::End(flags) => Ok(flags[usize::from(request.end)].clone()),
            Self::Ready(flag) => Ok(flag.clone()),
            Self::CorrelationId {
                name,
                datatype,
                shape,
            } => id_tensor(&request.id, *datatype, shape.clone()).ok_or_else(|| {
                let message = format!(
                    "sequence_id {} is no {datatype}, which the model's input \"{name}\" takes",
                    request.id
                );
                InferError::new(ErrorCode::InvalidParameter, message)
            }),
        }
    }
}

/// The two values of a flag, no and yes, for an input of one element.
pub(super) fn flags(spec: &TensorSpec, flag: &FlagInput) -> Result<[Tensor; 2], String> {
    let shape = one_element(spec)?;
    let off = number_tensor(spec.datatype, shape.clone(), flag.off);
    let on = number_tensor(spec.datatype, shape, flag.on);
    match (off, on) {
        (Some(off), Some(on)) => Ok([off, on]),
        _ => Err(format!(
            "input \"{}\" is {}, which {} and {} are not",
            spec.name, spec.datatype, flag.off, flag.on
        )),
    }
}

/// The input for ids.
pub(super) fn correlation_id(spec: &TensorSpec) -> Result<Control, String> {
    use DataType::{Bytes, Int32, Int64, Uint32, Uint64};

    if !matches!(spec.datatype, Uint64 | Int64 | Uint32 | Int32 | Bytes) {
        return Err(format!(
            "input \"{}\" is {}, an id of a sequence is UINT64, INT64, UINT32, INT32 or BYTES",
            spec.name, spec.datatype
        ));
    }
    Ok(Control::CorrelationId {
        name: spec.name.clone(),
        datatype: spec.datatype,
        shape: one_element(spec)?,
    })
}

/// The shape of an input with one element for each request.
fn one_element(spec: &TensorSpec) -> Result<Shape, String> {
    let dims = spec.dims.as_deref().unwrap_or_default();
    if dims.iter().any(|dim| !dim.accepts(1)) {
        let (name, shape) = (&spec.name, spec.wire_shape());
        return Err(format!(
            "input \"{name}\" has shape {shape:?}, it must have one element for each request"
        ));
    }
    // An input of unknown rank takes what Triton gives.
    let rank = spec.dims.as_ref().map_or(1, Vec::len);
    Shape::new(&vec![1; rank]).map_err(|error| error.to_string())
}

/// `None` if the data type does not hold the number.
fn number_tensor(datatype: DataType, shape: Shape, number: f64) -> Option<Tensor> {
    let tensor = match datatype {
        DataType::Bool => {
            let byte = u8::from(number != 0.0);
            Tensor::from_wire(datatype, shape, vec![byte].into())
        }
        DataType::Fp16 => Tensor::from_vec(shape, vec![f16::from_f64(number)]),
        DataType::Bf16 => Tensor::from_vec(shape, vec![bf16::from_f64(number)]),
        DataType::Fp32 => Tensor::from_vec(shape, vec![number as f32]),
        DataType::Fp64 => Tensor::from_vec(shape, vec![number]),
        DataType::Bytes => return None,
        _ if number.fract() != 0.0 => return None,
        integer => return integer_tensor(integer, shape, number as i128),
    };
    tensor.ok()
}

fn id_tensor(id: &SequenceId, datatype: DataType, shape: Shape) -> Option<Tensor> {
    match (id, datatype) {
        (SequenceId::Text(text), DataType::Bytes) => text_tensor(shape, text),
        (SequenceId::Number(number), DataType::Bytes) => text_tensor(shape, &number.to_string()),
        (SequenceId::Text(_), _) => None,
        (SequenceId::Number(number), integer) => {
            integer_tensor(integer, shape, i128::from(*number))
        }
    }
}

fn text_tensor(shape: Shape, text: &str) -> Option<Tensor> {
    let strings: StringArray = std::iter::once(text.to_owned()).collect();
    Tensor::from_strings(shape, strings).ok()
}

/// `None` for a number that the data type does not hold.
fn integer_tensor(datatype: DataType, shape: Shape, number: i128) -> Option<Tensor> {
    let tensor = match datatype {
        DataType::Int8 => Tensor::from_vec(shape, vec![i8::try_from(number).ok()?]),
        DataType::Int16 => Tensor::from_vec(shape, vec![i16::try_from(number).ok()?]),
        DataType::Int32 => Tensor::from_vec(shape, vec![i32::try_from(number).ok()?]),
        DataType::Int64 => Tensor::from_vec(shape, vec![i64::try_from(number).ok()?]),
        DataType::Uint8 => Tensor::from_vec(shape, vec![u8::try_from(number).ok()?]),
        DataType::Uint16 => Tensor::from_vec(shape, vec![u16::try_from(number).ok()?]),
        DataType::Uint32 => Tensor::from_vec(shape, vec![u32::try_from(number).ok()?]),
        DataType::Uint64 => Tensor::from_vec(shape, vec![u64::try_from(number).ok()?]),
        _ => return None,
    };
    tensor.ok()
}
