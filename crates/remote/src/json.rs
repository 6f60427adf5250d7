//! Requests and answers of the protocol's REST, in JSON and with the binary tensor data extension.

mod elements;

use bytes::Bytes;
use jiter::{Jiter, JiterError, Peek};
use serde::Serialize;
use tidegate_core::{DataType, Shape, Tensor};

use self::elements::write_elements;
use crate::call::{Answer, Call};
use crate::failure::{CallFailure, shown};

/// Most outputs of an answer.
const MAX_OUTPUTS: usize = 256;

/// A body, and the length of its JSON where binary data follows it.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) body: Vec<u8>,
    pub(crate) json_bytes: Option<usize>,
}

#[derive(Serialize)]
struct InputHead<'a> {
    name: &'a str,
    shape: &'a [usize],
    datatype: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<BinarySize>,
}

#[derive(Serialize)]
struct BinarySize {
    binary_data_size: usize,
}

/// Writes a request. Values in JSON are exact: floats are written with all digits of a double.
pub(crate) fn encode(call: &Call, is_binary: bool) -> Result<Encoded, CallFailure> {
    let mut body = Vec::new();
    body.extend_from_slice(b"{\"inputs\":[");
    for (at, (name, tensor)) in call.given().enumerate() {
        if at > 0 {
            body.push(b',');
        }
        let head = InputHead {
            name,
            shape: tensor.shape(),
            datatype: tensor.datatype().name(),
            parameters: is_binary.then(|| BinarySize {
                binary_data_size: tensor.byte_len(),
            }),
        };
        serde_json::to_writer(&mut body, &head).expect("a vector takes all that is written");
        if !is_binary {
            // Into the object that was just closed.
            body.pop();
            body.extend_from_slice(b",\"data\":[");
            write_elements(&mut body, name, tensor)?;
            body.extend_from_slice(b"]}");
        }
    }
    body.push(b']');
    if is_binary {
        body.extend_from_slice(b",\"parameters\":{\"binary_data_output\":true}");
    }
    body.push(b'}');
    let json_bytes = is_binary.then_some(body.len());
    if is_binary {
        for (_, tensor) in call.given() {
            body.extend_from_slice(&tensor.wire());
        }
    }
    Ok(Encoded { body, json_bytes })
}

/// Reads an answer, whose first `json_bytes` are JSON.
pub(crate) fn decode(body: &Bytes, json_bytes: usize) -> Result<Answer, CallFailure> {
    if json_bytes > body.len() {
        let problem = format!(
            "answered with a header of {json_bytes} bytes in a body of {}",
            body.len()
        );
        return Err(CallFailure::invalid(problem));
    }
    let text = &body[..json_bytes];
    let mut rest = body.slice(json_bytes..);
    // Python writes NaN and the infinities as bare words.
    let mut json = Jiter::new(text).with_allow_inf_nan();
    let (version, heads) = read_answer(&mut json, text).map_err(|error| garbage(&error))?;
    let outputs = heads
        .into_iter()
        .map(|head| head.tensor(&mut rest))
        .collect::<Result<Vec<_>, _>>()?;
    if !rest.is_empty() {
        let problem = format!(
            "answered with {} bytes that belong to no output",
            rest.len()
        );
        return Err(CallFailure::invalid(problem));
    }
    Ok(Answer { version, outputs })
}

fn garbage(error: &JiterError) -> CallFailure {
    CallFailure::invalid(format!(
        "answered with what is not an answer of the protocol: {error}"
    ))
}

/// An output as the JSON has it. Its data may stand before its type.
#[derive(Default)]
struct OutputHead<'j> {
    name: String,
    datatype: String,
    shape: Vec<i64>,
    data: Option<&'j [u8]>,
    binary_bytes: Option<usize>,
}

/// The version and the outputs.
fn read_answer<'j>(
    json: &mut Jiter<'j>,
    text: &'j [u8],
) -> Result<(String, Vec<OutputHead<'j>>), JiterError> {
    let mut version = String::new();
    let mut heads = Vec::new();
    let mut key = json.next_object()?.map(str::to_owned);
    while let Some(name) = key {
        match name.as_str() {
            "model_version" if json.peek()? == Peek::String => {
                json.next_str()?.clone_into(&mut version)
            }
            "outputs" => {
                let mut next = json.next_array()?;
                while next.is_some() && heads.len() <= MAX_OUTPUTS {
                    heads.push(read_output(json, text)?);
                    next = json.array_step()?;
                }
            }
            _ => json.next_skip()?,
        }
        key = json.next_key()?.map(str::to_owned);
    }
    json.finish()?;
    Ok((version, heads))
}

fn read_output<'j>(json: &mut Jiter<'j>, text: &'j [u8]) -> Result<OutputHead<'j>, JiterError> {
    let mut head = OutputHead::default();
    let mut key = json.next_object()?.map(str::to_owned);
    while let Some(name) = key {
        match name.as_str() {
            "name" => json.next_str()?.clone_into(&mut head.name),
            "datatype" => json.next_str()?.clone_into(&mut head.datatype),
            "shape" => head.shape = read_shape(json)?,
            "data" => {
                json.peek()?;
                let start = json.current_index();
                json.next_skip()?;
                head.data = Some(&text[start..json.current_index()]);
            }
            "parameters" if json.peek()? == Peek::Object => {
                head.binary_bytes = read_parameters(json)?;
            }
            _ => json.next_skip()?,
        }
        key = json.next_key()?.map(str::to_owned);
    }
    Ok(head)
}

fn read_shape(json: &mut Jiter<'_>) -> Result<Vec<i64>, JiterError> {
    let mut shape = Vec::new();
    let mut next = json.next_array()?;
    while let Some(peek) = next {
        let number = json.known_number_bytes(peek)?;
        // What is not a whole number becomes an extent that no shape can have.
        let extent = std::str::from_utf8(number)
            .ok()
            .and_then(|text| text.parse().ok());
        if shape.len() <= Shape::MAX_RANK {
            shape.push(extent.unwrap_or(-1));
        }
        next = json.array_step()?;
    }
    Ok(shape)
}

/// The number of bytes after the JSON that an output has.
fn read_parameters(json: &mut Jiter<'_>) -> Result<Option<usize>, JiterError> {
    let mut bytes = None;
    let mut key = json.next_object()?.map(str::to_owned);
    while let Some(name) = key {
        if name == "binary_data_size" {
            let number = json.next_number_bytes()?;
            bytes = std::str::from_utf8(number)
                .ok()
                .and_then(|text| text.parse().ok());
        } else {
            json.next_skip()?;
        }
        key = json.next_key()?.map(str::to_owned);
    }
    Ok(bytes)
}

impl OutputHead<'_> {
    /// The output with its name; takes its bytes from `rest` if it has some there.
    fn tensor(self, rest: &mut Bytes) -> Result<(String, Tensor), CallFailure> {
        let built = self.build(rest);
        let named = built.map_err(|problem| {
            let name = shown(&self.name);
            CallFailure::invalid(format!("answered output \"{name}\" so that {problem}"))
        });
        Ok((self.name, named?))
    }

    fn build(&self, rest: &mut Bytes) -> Result<Tensor, String> {
        let datatype: DataType = self
            .datatype
            .parse()
            .map_err(|_| format!("its data type is \"{}\"", shown(&self.datatype)))?;
        let shape = Shape::from_wire(&self.shape).map_err(|problem| problem.to_string())?;
        match (self.binary_bytes, self.data) {
            (Some(bytes), None) if bytes <= rest.len() => {
                let data = rest.split_to(bytes);
                Tensor::from_wire(datatype, shape, data).map_err(|problem| problem.to_string())
            }
            (Some(bytes), None) => Err(format!(
                "{bytes} bytes are announced, {} are there",
                rest.len()
            )),
            (None, Some(data)) => elements::read(data, datatype, shape),
            (Some(_), Some(_)) => Err("it has data twice".to_owned()),
            (None, None) => Err("it has no data".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests;
