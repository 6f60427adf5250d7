//! Inference over REST.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use tidegate_serving::{ErrorCode, InferError, InferRequest, InferResponse, RequestTrace, Via};

use super::answer::{ErrorBody, Refusal};
use super::body;
use super::path::Path;
use crate::app::App;
use crate::compression::Encoding;
use crate::json::{DecodedRequest, decode_infer, encode_infer};
use crate::parameters::earlier;
use crate::rest::openapi::{InferRequestBody, InferResponseBody};
use crate::traces::Told;

/// The length of the JSON in a body that has binary data behind it.
const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");
/// How long the client waits, in seconds.
const REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("request-timeout");

/// Asks the newest version of a model.
#[utoipa::path(post, path = "/v2/models/{model}/infer", tag = "inference", params(("model" = String, Path)),
    request_body = InferRequestBody,
    responses((status = 200, body = InferResponseBody), (status = 400, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody),
        (status = 429, body = ErrorBody), (status = 500, body = ErrorBody), (status = 503, body = ErrorBody),
        (status = 504, body = ErrorBody)))]
pub(crate) async fn infer(
    State(app): State<Arc<App>>,
    Path(model): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    handle(&app, model, None, &headers, body).await
}

/// Asks a version of a model.
#[utoipa::path(post, path = "/v2/models/{model}/versions/{version}/infer", tag = "inference",
    params(("model" = String, Path), ("version" = String, Path)), request_body = InferRequestBody,
    responses((status = 200, body = InferResponseBody), (status = 400, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody),
        (status = 429, body = ErrorBody), (status = 500, body = ErrorBody), (status = 503, body = ErrorBody),
        (status = 504, body = ErrorBody)))]
pub(crate) async fn infer_version(
    State(app): State<Arc<App>>,
    Path((model, version)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    handle(&app, model, Some(version), &headers, body).await
}

/// Answers a request for a model and, where it names one, a version.
pub(crate) async fn handle(
    app: &App,
    model: String,
    version: Option<String>,
    headers: &HeaderMap,
    body: impl body::Arriving,
) -> Response {
    let trace = app.traces.begin(headers, Via::Rest);
    let told = trace.as_deref().map(Told::of);
    let answer = answer(app, model, version, headers, body, trace).await;
    tell(told, answer.map_err(Refusal::from))
}

/// Says in an answer which trace its request stands in.
pub(super) fn tell(told: Option<Told>, answer: Result<Response, Refusal>) -> Response {
    let failed = answer.is_err();
    let mut response = answer.unwrap_or_else(IntoResponse::into_response);
    if let Some((name, value)) = told.and_then(|told| told.header(failed)) {
        response.headers_mut().insert(name, value);
    }
    response
}

async fn answer(
    app: &App,
    model: String,
    version: Option<String>,
    headers: &HeaderMap,
    body: impl body::Arriving,
    mut trace: Option<Box<RequestTrace>>,
) -> Result<Response, InferError> {
    let Received {
        request,
        wanted,
        at,
    } = match receive(app, headers, body).await {
        Ok(received) => received,
        Err(error) => {
            app.serving
                .metrics()
                .refused(error.code, trace, Instant::now());
            return Err(error);
        }
    };
    if let (Some(trace), Some(id)) = (&mut trace, &wanted.id) {
        trace.set_id(id);
    }
    let response = app
        .serving
        .infer(
            InferRequest {
                model,
                version,
                trace,
                ..request
            },
            at,
        )
        .await?;
    let is_binary = |at: usize| {
        wanted
            .binary
            .get(at)
            .copied()
            .flatten()
            .unwrap_or(wanted.all_binary)
    };
    send(app, headers, &response, wanted.id.as_deref(), is_binary).await
}

/// A request that has arrived and been read, for a model that its path names.
struct Received {
    request: InferRequest,
    wanted: Wanted,
    /// When its last byte arrived.
    at: Instant,
}

/// How the answer should look.
struct Wanted {
    id: Option<String>,
    /// For each requested output, whether it is wanted as binary data, if the request says so.
    binary: Vec<Option<bool>>,
    /// Whether the others are.
    all_binary: bool,
}

async fn receive(
    app: &App,
    headers: &HeaderMap,
    body: impl body::Arriving,
) -> Result<Received, InferError> {
    let body = body::read(headers, body, &app.config).await?;
    let at = Instant::now();
    let header_bytes = header_bytes(headers, &body)?;
    let DecodedRequest {
        id,
        inputs,
        outputs,
        parameters,
        binary,
    } = decode_infer(&body, header_bytes)?;
    let all_binary = parameters.flag("binary_data_output")?.unwrap_or(false);
    let deadline = earlier(parameters.deadline(at)?, header_deadline(headers, at)?);
    let priority = parameters.priority()?;
    let request = InferRequest {
        inputs,
        outputs,
        deadline,
        priority,
        ..InferRequest::default()
    };
    Ok(Received {
        request,
        wanted: Wanted {
            id,
            binary,
            all_binary,
        },
        at,
    })
}

async fn send(
    app: &App,
    headers: &HeaderMap,
    response: &InferResponse,
    id: Option<&str>,
    binary: impl Fn(usize) -> bool,
) -> Result<Response, InferError> {
    let (body, header_bytes) = encode_infer(response, id, binary)?;
    let content_type = if header_bytes.is_some() {
        "application/octet-stream"
    } else {
        "application/json"
    };
    let version = &response.version;
    let mut response =
        body::answer(body, content_type, Encoding::accepted(headers), &app.config).await?;
    version.count_sent(body::bytes(&response));
    if let Some(header_bytes) = header_bytes {
        response
            .headers_mut()
            .insert(HEADER_LENGTH, HeaderValue::from(header_bytes));
    }
    Ok(response)
}

/// Where the JSON ends and binary data begins.
fn header_bytes(headers: &HeaderMap, body: &Bytes) -> Result<usize, InferError> {
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
    Ok(received.checked_add(timeout))
}
