//! Messages to requests and answers to messages.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_core::{DataType, Element, Shape, StringArrayBuilder, Tensor, TensorError};
use tidegate_protocol::inference::infer_parameter::ParameterChoice;
use tidegate_protocol::inference::model_infer_response::InferOutputTensor;
use tidegate_protocol::inference::{
    InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse,
    ModelRepositoryParameter, model_infer_request, model_repository_parameter,
};
use tidegate_serving::{
    Encoded, ErrorCode, GivenModel, InferError, InferRequest, InferResponse, RequestedOutput,
    earlier,
};

use crate::limits::refuse_beyond;
use crate::named_fields::PIPELINE;
use crate::parameters::{Parameters, Value};
use crate::rest::{CONFIG, FILE};
use crate::sequences;
use crate::shared_memory::{SharedInput, SharedPart};

/// Most inputs, and most outputs, that a request may list.
const MAX_TENSORS: usize = 256;

/// A request as its message has it.
pub(crate) struct DecodedMessage {
    pub(crate) request: InferRequest,
    /// The inputs whose data is in shared memory. Their tensors are empty until it is read.
    pub(super) shared_inputs: Vec<SharedInput>,
    /// For each requested output, where in shared memory it is wanted.
    pub(super) shared_outputs: Vec<Option<SharedPart>>,
    /// Whether the inputs are fields of a pipeline, if the request says so.
    pub(super) are_fields: Option<bool>,
}

/// Reads a message; `timeout` is the client's `grpc-timeout`.
pub(crate) fn request(
    message: ModelInferRequest,
    timeout: Option<Duration>,
    received: Instant,
) -> Result<DecodedMessage, InferError> {
    let ModelInferRequest {
        parameters: settings,
        mut inputs,
        outputs,
        ..
    } = message;
    if inputs.len() > MAX_TENSORS || outputs.len() > MAX_TENSORS {
        let message = format!("the request lists more than {MAX_TENSORS} tensors");
        return Err(InferError::new(ErrorCode::TooManyInputs, message));
    }
    let settings = parameters(settings)?;
    let raw = message.raw_input_contents;
    let mut shared_inputs = Vec::new();
    for (position, tensor) in inputs.iter_mut().enumerate() {
        shared_inputs.extend(shared_input(position, tensor)?);
    }
    // The protocol has raw contents for all inputs or for none of them. Those in shared memory have
    // none.
    let with_contents = inputs.len() - shared_inputs.len();
    if !raw.is_empty() && raw.len() != with_contents {
        let message = format!(
            "there are {with_contents} inputs and {} raw contents",
            raw.len()
        );
        return Err(InferError::new(ErrorCode::InvalidBinary, message));
    }
    let (mut raw, mut shared) = (raw.into_iter(), shared_inputs.iter().peekable());
    let mut tensors = Vec::with_capacity(inputs.len());
    for (position, tensor) in inputs.into_iter().enumerate() {
        let is_shared = shared.next_if(|input| input.position == position);
        tensors.push(match is_shared {
            Some(_) => (tensor.name, SharedInput::placeholder()?),
            None => input(tensor, raw.next())?,
        });
    }
    let mut requested = Vec::with_capacity(outputs.len());
    let mut shared_outputs = Vec::new();
    for output in outputs {
        let settings = match output.parameters.is_empty() {
            true => Parameters::default(),
            false => parameters(output.parameters)?,
        };
        shared_outputs.push(SharedPart::of(&settings)?);
        requested.push(RequestedOutput {
            name: output.name,
            classes: settings.size("classification")?.unwrap_or(0),
        });
    }
    let client_deadline = timeout.and_then(|timeout| received.checked_add(timeout));
    Ok(DecodedMessage {
        request: InferRequest {
            inputs: tensors,
            outputs: requested,
            deadline: earlier(settings.deadline(received)?, client_deadline),
            priority: settings.priority()?,
            sequence: sequences::of_parameters(&settings)?,
            prediction: None,
        },
        shared_inputs,
        shared_outputs,
        are_fields: settings.flag(PIPELINE)?,
    })
}

/// The input as one of shared memory, if its parameters say that it is.
fn shared_input(
    position: usize,
    tensor: &mut model_infer_request::InferInputTensor,
) -> Result<Option<SharedInput>, InferError> {
    if tensor.parameters.is_empty() {
        return Ok(None);
    }
    let parameters = parameters(std::mem::take(&mut tensor.parameters))?;
    let Some(part) = SharedPart::of(&parameters)? else {
        return Ok(None);
    };
    let name = &tensor.name;
    if tensor.contents.is_some() {
        let message = format!("input \"{name}\" has both contents and shared memory");
        return Err(InferError::new(ErrorCode::MalformedRequest, message));
    }
    Ok(Some(SharedInput {
        position,
        datatype: datatype(name, &tensor.datatype)?,
        shape: Shape::from_wire(&tensor.shape).map_err(|error| wrong_tensor(name, error.into()))?,
        part,
    }))
}

fn datatype(input: &str, text: &str) -> Result<DataType, InferError> {
    text.parse()
        .map_err(|error: tidegate_core::UnknownDataType| {
            InferError::new(
                ErrorCode::UnknownDatatype,
                format!("input \"{input}\": {error}"),
            )
        })
}

/// The bytes of a message's tensors.
pub(super) fn request_bytes(message: &ModelInferRequest) -> usize {
    let raw: usize = message.raw_input_contents.iter().map(Bytes::len).sum();
    let contents = message
        .inputs
        .iter()
        .filter_map(|input| input.contents.as_ref());
    raw + contents.map(contents_bytes).sum::<usize>()
}

fn contents_bytes(contents: &InferTensorContents) -> usize {
    let InferTensorContents {
        bool_contents,
        int_contents,
        int64_contents,
        uint_contents,
        uint64_contents,
        fp32_contents,
        fp64_contents,
        bytes_contents,
    } = contents;
    let four_bytes = int_contents.len() + uint_contents.len() + fp32_contents.len();
    let eight_bytes = int64_contents.len() + uint64_contents.len() + fp64_contents.len();
    let texts: usize = bytes_contents.iter().map(|text| text.len() + 32).sum();
    bool_contents.len() + 4 * four_bytes + 8 * eight_bytes + texts
}

/// Writes an answer; all data raw, as Triton does.
///
/// # Errors
/// [`ErrorCode::AnswerTooLarge`]: the transport encodes the message after the request was recorded,
/// so a message that it cannot send must be refused here.
pub(super) fn response(
    response: InferResponse,
    id: String,
    shared: &[Option<SharedPart>],
    max_bytes: usize,
) -> Result<Encoded<ModelInferResponse>, InferError> {
    let version = &response.version;
    let outputs = response.outputs.iter();
    let bytes = outputs.map(|output| output.tensor.byte_len()).sum();
    refuse_beyond(max_bytes, bytes)?;
    let mut message = ModelInferResponse {
        model_name: version.model().to_owned(),
        model_version: version.number().to_owned(),
        id,
        ..ModelInferResponse::default()
    };
    if response.cold_start {
        let flag = InferParameter {
            parameter_choice: Some(ParameterChoice::BoolParam(true)),
        };
        message.parameters.insert("cold_start".to_owned(), flag);
    }
    if let Some(prediction) = &response.prediction {
        let id = InferParameter {
            parameter_choice: Some(ParameterChoice::StringParam(prediction.id().to_string())),
        };
        message.parameters.insert("prediction_id".to_owned(), id);
    }
    if let Some(fallback) = &response.fallback {
        let reason = fallback.reason.name();
        for (name, text) in [("fallback", &*fallback.by), ("fallback_reason", reason)] {
            let parameter = InferParameter {
                parameter_choice: Some(ParameterChoice::StringParam(text.to_owned())),
            };
            message.parameters.insert(name.to_owned(), parameter);
        }
    }
    for (at, output) in response.outputs.iter().enumerate() {
        let part = shared.get(at).and_then(Option::as_ref);
        // Clients count on one entry for each output.
        let content = part.map_or_else(|| output.tensor.wire(), |_| Bytes::new());
        message.raw_output_contents.push(content);
        message.outputs.push(InferOutputTensor {
            name: version.signature().outputs[output.index].name.clone(),
            datatype: output.tensor.datatype().name().to_owned(),
            shape: output
                .tensor
                .shape()
                .iter()
                .map(|extent| *extent as i64)
                .collect(),
            parameters: part.map(shared_parameters).unwrap_or_default(),
            ..InferOutputTensor::default()
        });
    }
    Ok(Encoded {
        answer: message,
        bytes,
    })
}

/// The parameters of an output whose data is in shared memory.
fn shared_parameters(part: &SharedPart) -> HashMap<String, InferParameter> {
    let number =
        |number: u64| ParameterChoice::Int64Param(i64::try_from(number).unwrap_or(i64::MAX));
    let choices = [
        (
            SharedPart::REGION,
            ParameterChoice::StringParam(part.region.clone()),
        ),
        (SharedPart::OFFSET, number(part.offset)),
        (SharedPart::BYTES, number(part.bytes as u64)),
    ];
    let parameters = choices.into_iter().map(|(name, choice)| {
        let parameter_choice = Some(choice);
        (name.to_owned(), InferParameter { parameter_choice })
    });
    parameters.collect()
}

/// The configuration and the files that a load has.
pub(super) fn given_model(
    parameters: HashMap<String, ModelRepositoryParameter>,
) -> Result<GivenModel, InferError> {
    use model_repository_parameter::ParameterChoice::{BytesParam, StringParam};

    let mut given = GivenModel::default();
    for (name, parameter) in parameters {
        match (name.strip_prefix(FILE), parameter.parameter_choice) {
            (None, Some(StringParam(text))) if name == CONFIG => given.config = Some(text),
            (Some(file), Some(BytesParam(content))) => {
                given.files.push((file.to_owned(), content));
            }
            _ => {
                let shown: String = name.chars().take(128).collect();
                let message = format!(
                    "parameter {shown:?} is not supported: a load has \"config\" as text, and \
                     \"file:\" with a path as bytes"
                );
                return Err(InferError::new(ErrorCode::InvalidParameter, message));
            }
        }
    }
    Ok(given)
}

/// Reads a `grpc-timeout` header: up to eight digits and a unit.
pub(super) fn timeout(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => amount.checked_mul(3600).map(Duration::from_secs),
        "M" => amount.checked_mul(60).map(Duration::from_secs),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

fn parameters(fields: HashMap<String, InferParameter>) -> Result<Parameters, InferError> {
    let mut parameters = Parameters::default();
    for (name, parameter) in fields {
        let value = match parameter.parameter_choice {
            Some(ParameterChoice::BoolParam(flag)) => Some(Value::Bool(flag)),
            Some(ParameterChoice::Int64Param(number)) => Some(Value::Int(number)),
            Some(ParameterChoice::Uint64Param(number)) => {
                Some(i64::try_from(number).map_or(Value::Large(number), Value::Int))
            }
            Some(ParameterChoice::DoubleParam(number)) => Some(Value::Float(number)),
            Some(ParameterChoice::StringParam(text)) => Some(Value::Text(text)),
            // Parameters that this server does not know are ignored, with or without a value.
            None if Parameters::is_known(&name) => {
                let message = format!("parameter \"{name}\" has no value");
                return Err(InferError::new(ErrorCode::InvalidParameter, message));
            }
            None => None,
        };
        parameters.insert(&name, value)?;
    }
    Ok(parameters)
}

fn input(
    tensor: model_infer_request::InferInputTensor,
    raw: Option<Bytes>,
) -> Result<(String, Tensor), InferError> {
    let name = tensor.name;
    let datatype = datatype(&name, &tensor.datatype)?;
    let shape =
        Shape::from_wire(&tensor.shape).map_err(|error| wrong_tensor(&name, error.into()))?;
    let built = match (raw, tensor.contents) {
        (Some(_), Some(_)) => {
            let message = format!("input \"{name}\" has both contents and raw contents");
            return Err(InferError::new(ErrorCode::MalformedRequest, message));
        }
        (Some(raw), None) => Tensor::from_wire(datatype, shape, raw),
        // A client leaves the contents out if a tensor has no elements.
        (None, contents) => {
            return typed(&name, datatype, shape, contents.unwrap_or_default()).map(|t| (name, t));
        }
    };
    let tensor = built.map_err(|error| wrong_tensor(&name, error))?;
    Ok((name, tensor))
}

/// Typed contents: narrow types are sent in wider fields.
fn typed(
    name: &str,
    datatype: DataType,
    shape: Shape,
    contents: InferTensorContents,
) -> Result<Tensor, InferError> {
    let built = match datatype {
        DataType::Bool => {
            let bytes: Vec<u8> = contents
                .bool_contents
                .iter()
                .map(|flag| u8::from(*flag))
                .collect();
            // First: the error then counts elements, as the client does, and not bytes.
            counted(&shape, bytes.len())
                .and_then(|()| Tensor::from_wire(datatype, shape, bytes.into()))
        }
        DataType::Int8 => narrow::<i8, _>(name, shape, &contents.int_contents)?,
        DataType::Int16 => narrow::<i16, _>(name, shape, &contents.int_contents)?,
        DataType::Int32 => Tensor::from_vec(shape, contents.int_contents),
        DataType::Int64 => Tensor::from_vec(shape, contents.int64_contents),
        DataType::Uint8 => narrow::<u8, _>(name, shape, &contents.uint_contents)?,
        DataType::Uint16 => narrow::<u16, _>(name, shape, &contents.uint_contents)?,
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
            let message = format!(
                "input \"{name}\" is {datatype}, which has no typed contents: send raw contents"
            );
            return Err(InferError::new(ErrorCode::DatatypeMismatch, message));
        }
    };
    built.map_err(|error| wrong_tensor(name, error))
}

fn wrong_tensor(name: &str, error: TensorError) -> InferError {
    InferError::new(
        ErrorCode::from(&error),
        format!("input \"{name}\": {error}"),
    )
}

fn counted(shape: &Shape, found: usize) -> Result<(), TensorError> {
    if shape.element_count() == found {
        return Ok(());
    }
    Err(TensorError::ElementCount {
        shape: shape.clone(),
        found,
    })
}

fn narrow<T: Element + TryFrom<W>, W: Copy>(
    name: &str,
    shape: Shape,
    wide: &[W],
) -> Result<Result<Tensor, TensorError>, InferError> {
    let elements: Result<Vec<T>, _> = wide.iter().map(|value| T::try_from(*value)).collect();
    let elements = elements.map_err(|_| {
        let message = format!(
            "input \"{name}\" has a value that is not a valid {}",
            T::DATATYPE
        );
        InferError::new(ErrorCode::DatatypeMismatch, message)
    })?;
    Ok(Tensor::from_vec(shape, elements))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_have_units() {
        assert_eq!(timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(timeout("3S"), Some(Duration::from_secs(3)));
        assert_eq!(timeout("1H"), Some(Duration::from_secs(3600)));
        for wrong in ["", "5", "S", "-1S", "1é"] {
            assert_eq!(timeout(wrong), None, "{wrong}");
        }
    }
}
