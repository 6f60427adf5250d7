//! Answers of gRPC, with raw or typed contents.

use bytes::Bytes;
use tidegate_core::{DataType, Element, Shape, StringArrayBuilder, Tensor, TensorError};
use tidegate_protocol::inference::model_infer_response::InferOutputTensor;
use tidegate_protocol::inference::{InferTensorContents, ModelInferResponse};

use crate::call::Answer;
use crate::failure::{CallFailure, shown};

pub(super) fn read(message: ModelInferResponse) -> Result<Answer, CallFailure> {
    let raw = message.raw_output_contents;
    if !raw.is_empty() && raw.len() != message.outputs.len() {
        let problem = format!(
            "answered with {} outputs and {} raw contents",
            message.outputs.len(),
            raw.len()
        );
        return Err(CallFailure::invalid(problem));
    }
    let mut raw = raw.into_iter();
    let mut outputs = Vec::with_capacity(message.outputs.len());
    for output in message.outputs {
        let name = output.name.clone();
        let tensor = tensor(output, raw.next()).map_err(|problem| {
            let name = shown(&name);
            CallFailure::invalid(format!("answered output \"{name}\" so that {problem}"))
        })?;
        outputs.push((name, tensor));
    }
    Ok(Answer {
        version: message.model_version,
        outputs,
    })
}

fn tensor(output: InferOutputTensor, raw: Option<Bytes>) -> Result<Tensor, String> {
    let datatype: Result<DataType, _> = output.datatype.parse();
    let datatype =
        datatype.map_err(|_| format!("its data type is \"{}\"", shown(&output.datatype)))?;
    let shape = Shape::from_wire(&output.shape).map_err(|problem| problem.to_string())?;
    // Some servers send a message without values beside the raw contents.
    let typed_contents = output
        .contents
        .filter(|contents| *contents != InferTensorContents::default());
    let built = match (raw, typed_contents) {
        (Some(_), Some(_)) => return Err("it has data twice".to_owned()),
        (Some(raw), None) => Tensor::from_wire(datatype, shape, raw),
        (None, contents) => return typed(datatype, shape, contents.unwrap_or_default()),
    };
    built.map_err(|problem| problem.to_string())
}

/// Typed contents: narrow types are sent in wider fields.
fn typed(
    datatype: DataType,
    shape: Shape,
    contents: InferTensorContents,
) -> Result<Tensor, String> {
    let built = match datatype {
        DataType::Bool => {
            let flags = contents.bool_contents.iter();
            let bytes: Vec<u8> = flags.map(|flag| u8::from(*flag)).collect();
            Tensor::from_wire(datatype, shape, bytes.into())
        }
        DataType::Int8 => narrow::<i8, _>(shape, &contents.int_contents)?,
        DataType::Int16 => narrow::<i16, _>(shape, &contents.int_contents)?,
        DataType::Int32 => Tensor::from_vec(shape, contents.int_contents),
        DataType::Int64 => Tensor::from_vec(shape, contents.int64_contents),
        DataType::Uint8 => narrow::<u8, _>(shape, &contents.uint_contents)?,
        DataType::Uint16 => narrow::<u16, _>(shape, &contents.uint_contents)?,
        DataType::Uint32 => Tensor::from_vec(shape, contents.uint_contents),
        DataType::Uint64 => Tensor::from_vec(shape, contents.uint64_contents),
        DataType::Fp32 => Tensor::from_vec(shape, contents.fp32_contents),
        DataType::Fp64 => Tensor::from_vec(shape, contents.fp64_contents),
        DataType::Bytes => {
            let mut strings = StringArrayBuilder::default();
            contents
                .bytes_contents
                .iter()
                .for_each(|text| strings.push(text));
            Tensor::from_strings(shape, strings.finish())
        }
        DataType::Fp16 | DataType::Bf16 => {
            return Err(format!("it is {datatype}, which has no typed contents"));
        }
    };
    built.map_err(|problem| problem.to_string())
}

fn narrow<T: Element + TryFrom<W>, W: Copy>(
    shape: Shape,
    wide: &[W],
) -> Result<Result<Tensor, TensorError>, String> {
    let elements: Result<Vec<T>, _> = wide.iter().map(|value| T::try_from(*value)).collect();
    let elements = elements.map_err(|_| format!("a value is not a valid {}", T::DATATYPE))?;
    Ok(Tensor::from_vec(shape, elements))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(datatype: &str, contents: Option<InferTensorContents>) -> InferOutputTensor {
        InferOutputTensor {
            name: "y".to_owned(),
            datatype: datatype.to_owned(),
            shape: vec![2],
            contents,
            ..InferOutputTensor::default()
        }
    }

    fn answer(output: InferOutputTensor, raw: &[&[u8]]) -> Result<Tensor, String> {
        let raw = raw.iter().map(|raw| Bytes::copy_from_slice(raw));
        let message = ModelInferResponse {
            outputs: vec![output],
            raw_output_contents: raw.collect(),
            ..ModelInferResponse::default()
        };
        let mut answer = read(message).map_err(|failure| failure.message)?;
        Ok(answer.outputs.remove(0).1)
    }

    #[test]
    fn raw_and_typed_contents_are_the_same() {
        let typed = InferTensorContents {
            int_contents: vec![-1, 7],
            ..InferTensorContents::default()
        };
        let typed = answer(output("INT8", Some(typed)), &[]).unwrap();
        for contents in [None, Some(InferTensorContents::default())] {
            let raw = answer(output("INT8", contents), &[&[255, 7]]).unwrap();
            assert_eq!(typed.wire(), raw.wire());
        }
    }

    #[test]
    fn contents_that_do_not_fit_are_refused() {
        let wide = InferTensorContents {
            int_contents: vec![128, 0],
            ..InferTensorContents::default()
        };
        assert!(answer(output("INT8", Some(wide.clone())), &[]).is_err());
        assert!(answer(output("FP32", Some(wide.clone())), &[]).is_err());
        assert!(answer(output("INT32", Some(wide)), &[&[0; 8]]).is_err());
        assert!(answer(output("FP32", None), &[&[0; 4]]).is_err());
        assert!(answer(output("FP32", None), &[&[0; 8], &[0; 8]]).is_err());
        assert!(answer(output("FP31", None), &[&[0; 8]]).is_err());
    }
}
