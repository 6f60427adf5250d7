//! Inference over REST.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use tidegate_core::Signature;
use tidegate_gateway::{ClientCertificate, Credentials, Permission};
use tidegate_serving::{
    Encoded, ErrorCode, Exchange, InferError, InferRequest, InferResponse, MemoryReservation,
    Received, RequestTrace, Target, Version, Via, earlier,
};

use super::answer::{ApiError, ErrorBody};
use super::body;
use super::path::Path;
use super::raw;
use crate::audit::{DeniedAction, is_denial};
use crate::codec::{
    INLINE_BYTES, SMALL_OUTPUTS_BYTES, decoded_bytes_at_most, encoded_bytes, run_codec,
};
use crate::front_end::FrontEnd;
use crate::gateway_headers::GatewayHeaders;
use crate::json::{DecodedRequest, decode_infer, encode_infer};
use crate::named_fields::{NamedFields, PIPELINE};
use crate::request_memory;
use crate::rest::openapi::{InferRequestBody, InferResponseBody};
use crate::sequences;
use crate::shared_memory::{SharedMemory, SharedPart};
use crate::traces::TraceHeader;

/// The length of the JSON in a body that has binary data behind it.
const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");
/// How long the client waits, in seconds.
const REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("request-timeout");

/// Runs inference on the default version of a model.
#[utoipa::path(post, path = "/v2/models/{model}/infer", tag = "inference", params(("model" = String, Path)),
    request_body = InferRequestBody,
    responses((status = 200, body = InferResponseBody), (status = 400, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody),
        (status = 429, body = ErrorBody), (status = 500, body = ErrorBody), (status = 503, body = ErrorBody),
        (status = 504, body = ErrorBody)))]
pub(crate) async fn infer(
    State(front_end): State<Arc<FrontEnd>>,
    Path(model): Path<String>,
    certificate: Option<Extension<ClientCertificate>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let target = Target {
        endpoint: model,
        version: None,
    };
    let memory = request_memory::begin(&front_end.memory);
    let certificate = certificate.as_deref();
    let credentials = Credentials::of(&headers).with_certificate(certificate);
    handle(&front_end, target, credentials, body, memory).await
}

/// Runs inference on a version of a model.
#[utoipa::path(post, path = "/v2/models/{model}/versions/{version}/infer", tag = "inference",
    params(("model" = String, Path), ("version" = String, Path)), request_body = InferRequestBody,
    responses((status = 200, body = InferResponseBody), (status = 400, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody),
        (status = 429, body = ErrorBody), (status = 500, body = ErrorBody), (status = 503, body = ErrorBody),
        (status = 504, body = ErrorBody)))]
pub(crate) async fn infer_version(
    State(front_end): State<Arc<FrontEnd>>,
    Path((model, version)): Path<(String, String)>,
    certificate: Option<Extension<ClientCertificate>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let target = Target {
        endpoint: model,
        version: Some(version),
    };
    let memory = request_memory::begin(&front_end.memory);
    let certificate = certificate.as_deref();
    let credentials = Credentials::of(&headers).with_certificate(certificate);
    handle(&front_end, target, credentials, body, memory).await
}

/// Answers a request to a target, for the router and for the fast path beside it.
pub(crate) async fn handle(
    front_end: &FrontEnd,
    target: Target,
    credentials: Credentials<'_>,
    body: impl body::Arriving,
    memory: MemoryReservation,
) -> Response {
    let headers = credentials.headers();
    let trace = front_end.traces.begin(headers, Via::Rest, &target.endpoint);
    let trace_header = trace.as_deref().map(TraceHeader::of);
    let exchange = InferExchange {
        front_end,
        credentials,
        target,
        body: Some(body),
        memory,
        trace,
        form: AnswerForm::default(),
        raw: None,
        fields: NamedFields::default(),
    };
    let answer = front_end.serving.answer(exchange).await;
    respond(front_end, credentials, trace_header, answer)
}

/// The answer of the pipeline as a response that names the trace of its request.
pub(super) fn respond(
    front_end: &FrontEnd,
    credentials: Credentials<'_>,
    trace_header: Option<TraceHeader>,
    answer: Result<Response, InferError>,
) -> Response {
    let failed = answer.is_err();
    let mut response = answer.unwrap_or_else(|error| refused(front_end, credentials, error));
    if let Some((name, value)) = trace_header.and_then(|header| header.pair(failed)) {
        response.headers_mut().insert(name, value);
    }
    response
}

fn refused(front_end: &FrontEnd, credentials: Credentials<'_>, error: InferError) -> Response {
    let denied = is_denial(error.code).then(|| {
        let gateway = front_end.serving.gateway();
        DeniedAction::new(Permission::Call.name(), gateway, credentials)
    });
    let mut response = ApiError::from(error).into_response();
    if let Some(denied) = denied {
        response.extensions_mut().insert(denied);
    }
    response
}

/// A request of the Open Inference Protocol over REST.
struct InferExchange<'a, B> {
    front_end: &'a FrontEnd,
    credentials: Credentials<'a>,
    target: Target,
    /// Taken when it is read.
    body: Option<B>,
    /// What the request takes, until it is received.
    memory: MemoryReservation,
    trace: Option<Box<RequestTrace>>,
    form: AnswerForm,
    /// A body that is nothing but the bytes of the only input, until the signature is known.
    raw: Option<Bytes>,
    /// The inputs, if they are fields of a pipeline.
    fields: NamedFields,
}

/// How the client wants its answer.
#[derive(Clone, Default)]
struct AnswerForm {
    id: Option<String>,
    /// For each requested output, whether it is wanted as binary data, if the request says so.
    binary: Vec<Option<bool>>,
    /// Whether the others are.
    all_binary: bool,
    /// For each requested output, where in shared memory it is wanted; empty if none is.
    shared: Vec<Option<SharedPart>>,
    /// Where they are written.
    shared_memory: Option<Arc<SharedMemory>>,
}

impl AnswerForm {
    fn is_binary(&self, output: usize) -> bool {
        let own = self.binary.get(output).copied().flatten();
        own.unwrap_or(self.all_binary)
    }

    /// Writes an answer, and gives the memory of its outputs back.
    fn encode(
        &self,
        response: InferResponse,
        max_bytes: usize,
    ) -> Result<(Vec<u8>, Option<usize>), InferError> {
        let shared = match &self.shared_memory {
            None => Vec::new(),
            Some(memory) => memory.write_outputs(&self.shared, &response)?,
        };
        encode_infer(
            &response,
            self.id.as_deref(),
            |output| self.is_binary(output),
            &shared,
            max_bytes,
        )
    }
}

impl<B: body::Arriving> Exchange for InferExchange<'_, B> {
    type Answer = Response;

    fn credentials(&self) -> Credentials<'_> {
        self.credentials
    }

    fn take_target(&mut self) -> Target {
        std::mem::take(&mut self.target)
    }

    async fn receive(&mut self) -> Result<Received, InferError> {
        let mut memory = std::mem::take(&mut self.memory);
        let body = self.body.take();
        let body = body::read(
            self.credentials.headers(),
            body,
            self.front_end,
            &mut memory,
        )
        .await?;
        let at = Instant::now();
        let json_bytes = json_bytes(self.credentials.headers(), &body)?;
        // Without the header it is an empty body, which is a mistake and no raw request.
        if json_bytes == 0 && self.credentials.headers().contains_key(HEADER_LENGTH) {
            return self.receive_raw(body, at, memory);
        }
        let mut decoded = decode(body, json_bytes, &mut memory).await?;
        if !decoded.shared_inputs.is_empty() {
            let shared = std::mem::take(&mut decoded.shared_inputs);
            let regions = &self.front_end.shared_memory;
            // Boxed: other requests need not carry the place for it.
            Box::pin(regions.read_inputs(shared, &mut decoded.inputs, &mut memory)).await?;
        }
        let parameters = decoded.parameters;
        self.fields = NamedFields::new(parameters.flag(PIPELINE)?);
        self.form = AnswerForm {
            id: decoded.id,
            binary: decoded.binary,
            all_binary: parameters.flag("binary_data_output")?.unwrap_or(false),
            shared_memory: decoded
                .shared_outputs
                .iter()
                .any(Option::is_some)
                .then(|| self.front_end.shared_memory.clone()),
            shared: decoded.shared_outputs,
        };
        if let (Some(trace), Some(id)) = (&mut self.trace, &self.form.id) {
            trace.set_id(id);
        }
        let request = InferRequest {
            inputs: decoded.inputs,
            outputs: decoded.outputs,
            deadline: earlier(
                parameters.deadline(at)?,
                header_deadline(self.credentials.headers(), at)?,
            ),
            priority: parameters.priority()?,
            sequence: sequences::of_parameters(&parameters)?,
            prediction: None,
        };
        Ok(Received {
            request,
            at,
            memory,
        })
    }

    fn take_trace(&mut self) -> Option<Box<RequestTrace>> {
        self.trace.take()
    }

    async fn decode_inputs(
        &mut self,
        received: &mut Received,
        signature: &Signature,
        version: Option<&Arc<Version>>,
    ) -> Result<(), InferError> {
        if let Some(bytes) = self.raw.take() {
            received.request.inputs = raw::decode(bytes, signature)?;
            self.fields = NamedFields::new(Some(false));
        }
        if self.fields.are_tensors(version) {
            return Ok(());
        }
        let features = &self.front_end.features;
        // Boxed: requests of tensors need not carry the place for it.
        Box::pin(self.fields.before(received, version, features)).await
    }

    fn max_answer_bytes(&self) -> usize {
        self.front_end.config.max_answer_bytes
    }

    async fn encode(
        &mut self,
        mut response: InferResponse,
    ) -> Result<Encoded<Response>, InferError> {
        if self.fields.have_run() {
            response = Box::pin(self.fields.after(response)).await?;
        }
        let mut memory = std::mem::take(&mut response.memory);
        let gateway = GatewayHeaders::take(&mut response);
        let max_bytes = self.front_end.config.max_answer_bytes;
        let (body, json_bytes) = if memory.bytes() <= SMALL_OUTPUTS_BYTES {
            self.form.encode(response, max_bytes)?
        } else {
            let bytes = encoded_bytes(&response, |output| self.form.is_binary(output));
            memory.grow(bytes, ErrorCode::AnswerTooLarge)?;
            let form = self.form.clone();
            run_codec(&mut memory, move || form.encode(response, max_bytes)).await??
        };
        let content_type = match json_bytes {
            Some(_) => "application/octet-stream",
            None => "application/json",
        };
        let mut encoded = body::encoded(
            body,
            content_type,
            self.credentials.headers(),
            &self.front_end.config,
            memory,
        )
        .await?;
        gateway.insert(encoded.answer.headers_mut());
        if let Some(json_bytes) = json_bytes {
            let headers = encoded.answer.headers_mut();
            headers.insert(HEADER_LENGTH, HeaderValue::from(json_bytes));
        }
        Ok(encoded)
    }
}

impl<B> InferExchange<'_, B> {
    /// A request without JSON, whose answer is binary too.
    fn receive_raw(
        &mut self,
        body: Bytes,
        at: Instant,
        memory: MemoryReservation,
    ) -> Result<Received, InferError> {
        self.raw = Some(body);
        self.form.all_binary = true;
        let request = InferRequest {
            deadline: header_deadline(self.credentials.headers(), at)?,
            sequence: sequences::of_headers(self.credentials.headers())?,
            ..InferRequest::default()
        };
        Ok(Received {
            request,
            at,
            memory,
        })
    }
}

/// Decodes a body; one with much JSON beside the thread that has the connection.
async fn decode(
    body: Bytes,
    json_bytes: usize,
    memory: &mut MemoryReservation,
) -> Result<DecodedRequest, InferError> {
    if json_bytes <= INLINE_BYTES {
        return decode_infer(&body, json_bytes);
    }
    let received = memory.bytes();
    memory.grow(
        decoded_bytes_at_most(&body[..json_bytes]),
        ErrorCode::BodyTooLarge,
    )?;
    let decoded = run_codec(memory, move || decode_infer(&body, json_bytes)).await??;
    let tensors = decoded.inputs.iter();
    let decoded_bytes: usize = tensors.map(|(_, tensor)| tensor.byte_len()).sum();
    memory.shrink_to(received + decoded_bytes);
    Ok(decoded)
}

/// Where the JSON ends and binary data begins.
fn json_bytes(headers: &HeaderMap, body: &Bytes) -> Result<usize, InferError> {
    let Some(value) = headers.get(HEADER_LENGTH) else {
        return Ok(body.len());
    };
    let length: Option<usize> = value
        .to_str()
        .ok()
        .and_then(|length| length.trim().parse().ok());
    match length {
        Some(length) if length <= body.len() => Ok(length),
        Some(length) => Err(InferError::new(
            ErrorCode::InvalidBinary,
            format!(
                "header {HEADER_LENGTH} is {length}, the body has {} bytes",
                body.len()
            ),
        )),
        None => Err(InferError::new(
            ErrorCode::InvalidParameter,
            format!("header {HEADER_LENGTH} must be a number of bytes"),
        )),
    }
}

/// The deadline by the client's `Request-Timeout`.
pub(super) fn header_deadline(
    headers: &HeaderMap,
    received: Instant,
) -> Result<Option<Instant>, InferError> {
    let Some(value) = headers.get(REQUEST_TIMEOUT) else {
        return Ok(None);
    };
    let seconds: Option<f64> = value
        .to_str()
        .ok()
        .and_then(|seconds| seconds.trim().parse().ok());
    let timeout = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let timeout = timeout.ok_or_else(|| {
        let message = format!("header {REQUEST_TIMEOUT} must be a number of seconds from 0");
        InferError::new(ErrorCode::InvalidParameter, message)
    })?;
    // A time beyond the range of the clock is no deadline.
    Ok(received.checked_add(timeout))
}
