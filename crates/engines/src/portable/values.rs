//! Conversion of tensors to tract's tensors and back.

use tidegate_core::{DataType, Shape, StringArray, Tensor, TensorView};
use tract_onnx::prelude as tract;
use tract_onnx::prelude::tract_ndarray::ArrayD;

use crate::RunError;

pub(super) fn to_tract(name: &str, tensor: &Tensor) -> Result<tract::Tensor, RunError> {
    let converted = match tensor.view() {
        TensorView::Strings(strings) => {
            let texts: Result<Vec<String>, _> = strings
                .iter()
                .map(|text| String::from_utf8(text.to_vec()))
                .collect();
            let texts =
                texts.map_err(|_| RunError::input(name, "holds a string that is not UTF-8"))?;
            let array = ArrayD::from_shape_vec(&tensor.shape()[..], texts);
            return array
                .map(tract::Tensor::from)
                .map_err(|error| RunError::input(name, error.to_string()));
        }
        TensorView::Fixed(bytes) if tensor.datatype() == DataType::Bool => {
            let bools: Vec<bool> = bytes.iter().map(|byte| *byte != 0).collect();
            tract::Tensor::from_shape(tensor.shape(), &bools)
        }
        TensorView::Fixed(_) if tensor.datatype() == DataType::Bf16 => {
            let problem = "is BF16, which this engine does not support";
            return Err(RunError::input(name, problem));
        }
        TensorView::Fixed(_) => fixed_to_tract(tensor),
    };
    converted.map_err(|error| RunError::input(name, error.to_string()))
}

fn fixed_to_tract(tensor: &Tensor) -> tract::TractResult<tract::Tensor> {
    macro_rules! build {
        ($rust:ty) => {{
            let elements = tensor
                .to_vec::<$rust>()
                .expect("the element type was matched");
            tract::Tensor::from_shape(tensor.shape(), &elements)
        }};
    }
    match tensor.datatype() {
        DataType::Uint8 => build!(u8),
        DataType::Uint16 => build!(u16),
        DataType::Uint32 => build!(u32),
        DataType::Uint64 => build!(u64),
        DataType::Int8 => build!(i8),
        DataType::Int16 => build!(i16),
        DataType::Int32 => build!(i32),
        DataType::Int64 => build!(i64),
        DataType::Fp16 => build!(tidegate_core::f16),
        DataType::Fp32 => build!(f32),
        DataType::Fp64 => build!(f64),
        DataType::Bf16 | DataType::Bool | DataType::Bytes => unreachable!("handled by the caller"),
    }
}

pub(super) fn from_tract(value: &tract::Tensor) -> Result<Tensor, RunError> {
    if value.datum_type() == tract::DatumType::TDim {
        // Arithmetic on shapes that reached an output.
        let numbers = value
            .cast_to::<i64>()
            .map_err(RunError::unreadable_output)?;
        return from_tract(&numbers);
    }
    let shape = Shape::new(value.shape()).map_err(RunError::unreadable_output)?;
    let datatype = datatype(value.datum_type())?;
    let tensor = match datatype {
        DataType::Bytes => {
            let texts = value
                .to_plain_array_view::<String>()
                .map_err(RunError::unreadable_output)?;
            Tensor::from_strings(shape, texts.iter().collect::<StringArray>())
        }
        DataType::Bool => {
            let bools = value
                .to_plain_array_view::<bool>()
                .map_err(RunError::unreadable_output)?;
            let bytes: Vec<u8> = bools.iter().map(|bool| u8::from(*bool)).collect();
            Tensor::from_wire(datatype, shape, bytes.into())
        }
        _ => Tensor::from_wire(datatype, shape, value.as_bytes().to_vec().into()),
    };
    tensor
        .map(Tensor::aligned)
        .map_err(RunError::unreadable_output)
}

fn datatype(element: tract::DatumType) -> Result<DataType, RunError> {
    Ok(match element {
        tract::DatumType::Bool => DataType::Bool,
        tract::DatumType::U8 => DataType::Uint8,
        tract::DatumType::U16 => DataType::Uint16,
        tract::DatumType::U32 => DataType::Uint32,
        tract::DatumType::U64 => DataType::Uint64,
        tract::DatumType::I8 => DataType::Int8,
        tract::DatumType::I16 => DataType::Int16,
        tract::DatumType::I32 => DataType::Int32,
        tract::DatumType::I64 => DataType::Int64,
        tract::DatumType::F16 => DataType::Fp16,
        tract::DatumType::F32 => DataType::Fp32,
        tract::DatumType::F64 => DataType::Fp64,
        tract::DatumType::String => DataType::Bytes,
        other => {
            let problem = format!("element type {other:?} is not supported");
            return Err(RunError::unreadable_output(problem));
        }
    })
}
