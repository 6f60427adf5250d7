//! Requests, rendered once and sent many times.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tidegate_core::{DataType, Tensor, TensorView, with_element};
use tidegate_protocol::inference::infer_parameter::ParameterChoice;
use tidegate_protocol::inference::model_infer_request::InferInputTensor;
use tidegate_protocol::inference::{InferParameter, ModelInferRequest};

use crate::grpc;
use crate::target::{Protocol, Target, escape};

/// A request as it is sent.
#[derive(Clone, Debug)]
pub struct Payload {
    pub(crate) bytes: Bytes,
    pub(crate) rows: u64,
}

impl Payload {
    /// An inference request. A `deadline` is sent in the form of the protocol.
    pub fn infer(
        target: &Target,
        model: &str,
        inputs: &[(String, Tensor)],
        deadline: Option<Duration>,
    ) -> Self {
        let bytes = match target.protocol() {
            Protocol::RestJson => rest_json(target, model, inputs, deadline),
            Protocol::RestBinary => rest_binary(target, model, inputs, deadline),
            Protocol::Grpc => rpc(model, inputs, deadline),
        };
        Self {
            bytes,
            rows: inputs.first().map_or(1, |(_, tensor)| tensor.rows() as u64),
        }
    }

    /// Any bytes to any path: a POST, or a GET without bytes.
    pub fn raw(target: &Target, path: &str, body: Option<&[u8]>) -> Self {
        let slash = if path.starts_with('/') { "" } else { "/" };
        let bytes = match body {
            Some(body) => post(
                target,
                &format!("{slash}{path}"),
                "application/json",
                &[],
                body,
            ),
            None => format!("{}\r\n", target.head("GET", &format!("{slash}{path}"), &[])).into(),
        };
        Self { bytes, rows: 1 }
    }
}

fn post(
    target: &Target,
    path: &str,
    content_type: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Bytes {
    let length = body.len().to_string();
    let mut all = vec![
        ("content-type", content_type),
        ("content-length", length.as_str()),
    ];
    all.extend_from_slice(headers);
    let mut bytes = target.head("POST", path, &all).into_bytes();
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes.into()
}

fn infer_path(model: &str) -> String {
    format!("/v2/models/{}/infer", escape(model))
}

fn rest_json(
    target: &Target,
    model: &str,
    inputs: &[(String, Tensor)],
    deadline: Option<Duration>,
) -> Bytes {
    let mut body = String::from("{");
    if let Some(deadline) = deadline {
        body.push_str(&format!(
            "\"parameters\":{{\"timeout\":{}}},",
            deadline.as_micros()
        ));
    }
    // Written by hand, as JSON libraries write no NaN and no infinity.
    body.push_str("\"inputs\":[");
    for (at, (name, tensor)) in inputs.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let (name, shape) = (Value::from(name.as_str()), json!(&tensor.shape()[..]));
        body.push_str(&format!(
            "{comma}{{\"name\":{name},\"shape\":{shape},\"datatype\":\"{}\",",
            tensor.datatype()
        ));
        body.push_str(&format!("\"data\":[{}]}}", elements(tensor).join(",")));
    }
    body.push_str("]}");
    post(
        target,
        &infer_path(model),
        "application/json",
        &[],
        body.as_bytes(),
    )
}

/// Elements as JSON; NaN and the infinities as the bare words of Python's `json`.
fn elements(tensor: &Tensor) -> Vec<String> {
    match tensor.view() {
        TensorView::Strings(strings) => strings
            .iter()
            .map(|text| Value::from(String::from_utf8_lossy(text)).to_string())
            .collect(),
        TensorView::Fixed(bytes) if tensor.datatype() == DataType::Bool => {
            bytes.iter().map(|byte| (*byte != 0).to_string()).collect()
        }
        TensorView::Fixed(_) => with_element!(tensor.datatype(), T => {
            tensor.to_vec::<T>().into_iter().flatten().map(|element| number(element.to_string())).collect()
        }, else => Vec::new()),
    }
}

fn number(text: String) -> String {
    match text.as_str() {
        "inf" => "Infinity".to_owned(),
        "-inf" => "-Infinity".to_owned(),
        _ => text,
    }
}

fn rest_binary(
    target: &Target,
    model: &str,
    inputs: &[(String, Tensor)],
    deadline: Option<Duration>,
) -> Bytes {
    let tensors: Vec<Value> = inputs
        .iter()
        .map(|(name, tensor)| binary_header(name, tensor))
        .collect();
    // Outputs as bytes too: otherwise the server would spend its time on writing JSON.
    let header = json!({"inputs": tensors, "parameters": {"binary_data_output": true}}).to_string();
    let mut body = header.clone().into_bytes();
    inputs
        .iter()
        .for_each(|(_, tensor)| body.extend_from_slice(&tensor.wire()));
    let header_bytes = header.len().to_string();
    // With binary data, the deadline goes into a header, in seconds.
    let seconds = deadline.map(|deadline| deadline.as_secs_f64().to_string());
    let mut headers = vec![("inference-header-content-length", header_bytes.as_str())];
    headers.extend(
        seconds
            .as_deref()
            .map(|seconds| ("request-timeout", seconds)),
    );
    post(
        target,
        &infer_path(model),
        "application/octet-stream",
        &headers,
        &body,
    )
}

/// An input whose data follows the JSON as bytes.
fn binary_header(name: &str, tensor: &Tensor) -> Value {
    json!({
        "name": name,
        "shape": &tensor.shape()[..],
        "datatype": tensor.datatype().name(),
        "parameters": {"binary_data_size": tensor.byte_len()},
    })
}

fn rpc(model: &str, inputs: &[(String, Tensor)], deadline: Option<Duration>) -> Bytes {
    let timeout = deadline.map(|deadline| {
        // In microseconds, as the protocol has it in its parameters.
        let micros = i64::try_from(deadline.as_micros()).unwrap_or(i64::MAX);
        (
            "timeout".to_owned(),
            InferParameter {
                parameter_choice: Some(ParameterChoice::Int64Param(micros)),
            },
        )
    });
    let tensors = inputs.iter().map(|(name, tensor)| InferInputTensor {
        name: name.clone(),
        datatype: tensor.datatype().name().to_owned(),
        shape: tensor.shape().iter().map(|extent| *extent as i64).collect(),
        ..InferInputTensor::default()
    });
    grpc::frame(&ModelInferRequest {
        model_name: model.to_owned(),
        parameters: timeout.into_iter().collect(),
        inputs: tensors.collect(),
        raw_input_contents: inputs.iter().map(|(_, tensor)| tensor.wire()).collect(),
        ..ModelInferRequest::default()
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use tidegate_core::{Shape, StringArray};

    use super::*;

    fn rendered(protocol: Protocol, headers: &[(String, String)]) -> (TcpListener, Target) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::new(
            protocol,
            &listener.local_addr().unwrap().to_string(),
            headers,
        )
        .unwrap();
        (listener, target)
    }

    fn inputs() -> Vec<(String, Tensor)> {
        let shape = Shape::new(&[2, 2]).unwrap();
        let numbers =
            Tensor::from_vec(shape.clone(), vec![1.5f32, f32::NAN, f32::INFINITY, -0.1]).unwrap();
        let texts: StringArray = ["a\"b", "é", "", "x"].into_iter().collect();
        vec![
            ("x".to_owned(), numbers),
            (
                "text".to_owned(),
                Tensor::from_strings(shape, texts).unwrap(),
            ),
        ]
    }

    fn split(bytes: &Bytes) -> (String, Vec<u8>) {
        let at = bytes
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap();
        (
            String::from_utf8(bytes[..at].to_vec()).unwrap(),
            bytes[at + 4..].to_vec(),
        )
    }

    #[test]
    fn json_has_the_tensors_and_the_deadline() {
        let (_listener, target) = rendered(Protocol::RestJson, &[]);
        let payload = Payload::infer(&target, "m", &inputs(), Some(Duration::from_millis(50)));
        let (head, body) = split(&payload.bytes);
        assert!(
            head.starts_with("POST /v2/models/m/infer HTTP/1.1\r\nhost: 127.0.0.1:"),
            "{head}"
        );
        assert!(
            head.contains(&format!("content-length: {}", body.len())),
            "{head}"
        );
        assert_eq!(
            String::from_utf8(body).unwrap(),
            "{\"parameters\":{\"timeout\":50000},\"inputs\":[\
             {\"name\":\"x\",\"shape\":[2,2],\"datatype\":\"FP32\",\"data\":[1.5,NaN,Infinity,-0.1]},\
             {\"name\":\"text\",\"shape\":[2,2],\"datatype\":\"BYTES\",\"data\":[\"a\\\"b\",\"é\",\"\",\"x\"]}]}"
        );
        assert_eq!(payload.rows, 2);
    }

    #[test]
    fn binary_tells_where_the_json_ends() {
        let (_listener, target) = rendered(Protocol::RestBinary, &[]);
        let (head, body) =
            split(&Payload::infer(&target, "m", &inputs(), Some(Duration::from_millis(50))).bytes);
        assert!(head.contains("request-timeout: 0.05"), "{head}");
        let length = head
            .split("inference-header-content-length: ")
            .nth(1)
            .unwrap();
        let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
        let header: Value = serde_json::from_slice(&body[..length]).unwrap();
        assert_eq!(header["inputs"][0]["parameters"]["binary_data_size"], 16);
        assert_eq!(&body[length..length + 4], 1.5f32.to_le_bytes());
        assert_eq!(
            body.len(),
            length
                + inputs()
                    .iter()
                    .map(|(_, tensor)| tensor.byte_len())
                    .sum::<usize>()
        );
    }

    #[test]
    fn grpc_carries_raw_contents() {
        let (_listener, target) = rendered(Protocol::Grpc, &[]);
        let payload = Payload::infer(&target, "m", &inputs(), Some(Duration::from_millis(50)));
        let message: ModelInferRequest = grpc::message(&[payload.bytes]).unwrap();
        assert_eq!(
            (
                message.model_name.as_str(),
                message.inputs[1].datatype.as_str()
            ),
            ("m", "BYTES")
        );
        assert_eq!(&message.raw_input_contents[0][..4], 1.5f32.to_le_bytes());
        assert_eq!(
            message.parameters["timeout"].parameter_choice,
            Some(ParameterChoice::Int64Param(50_000))
        );
    }

    #[test]
    fn the_users_headers_win() {
        let own = [
            ("Content-Type".to_owned(), "text/plain".to_owned()),
            ("x-key".to_owned(), "k".to_owned()),
        ];
        let (_listener, target) = rendered(Protocol::RestJson, &own);
        let (head, body) = split(&Payload::raw(&target, "echo", Some(b"hi")).bytes);
        assert!(head.starts_with("POST /echo HTTP/1.1"), "{head}");
        assert!(
            head.contains("content-type: text/plain") && !head.contains("application/json"),
            "{head}"
        );
        assert!(head.contains("x-key: k"), "{head}");
        assert_eq!(body, b"hi");
        assert!(
            Payload::raw(&target, "/v2", None)
                .bytes
                .starts_with(b"GET /v2 HTTP/1.1\r\n")
        );
    }
}
