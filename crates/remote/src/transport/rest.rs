//! REST of the Open Inference Protocol.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, StatusCode, header};
use reqwest::{RequestBuilder, Response, Url};
use serde::Deserialize;
use tidegate_core::{Signature, TraceContext};
use tidegate_engines::UpstreamFailure;

use super::metadata::{self, TensorMetadata};
use super::{Authorities, Credentials};
use crate::call::{Answer, Call};
use crate::config::{Endpoint, RemoteConfig};
use crate::failure::{CallFailure, causes, shown};
use crate::json;

const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");
const REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("request-timeout");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// The extension of the protocol that sends tensors as they are in memory.
const BINARY_EXTENSION: &str = "binary_tensor_data";
/// How much of an answer that is an error is read, in bytes.
const MAX_ERROR_BYTES: usize = 64 << 10;
/// The largest description of a server or model, in bytes.
const MAX_METADATA_BYTES: usize = 4 << 20;

/// The connections to all servers of a version.
#[derive(Clone)]
pub(super) struct RestClient(reqwest::Client);

impl RestClient {
    pub(super) fn new(
        config: &RemoteConfig,
        authorities: Option<&Authorities>,
    ) -> Result<Self, String> {
        let mut client = reqwest::Client::builder()
            .connect_timeout(config.connect_timeout)
            .pool_max_idle_per_host(config.max_in_flight)
            .http1_only()
            // A redirect could take inputs and the token to another host.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")));
        if let Some(authorities) = authorities {
            client = client.tls_certs_only(authorities.certificates.iter().cloned());
        }
        client.build().map(Self).map_err(|error| causes(&error))
    }
}

/// One server.
pub(crate) struct RestTransport {
    client: RestClient,
    credentials: Arc<Credentials>,
    server: Url,
    server_ready: Url,
    model: Url,
    model_ready: Url,
    infer: Url,
    max_answer_bytes: usize,
    /// Whether the server takes tensors as they are in memory. JSON until it has said so.
    is_binary: AtomicBool,
}

#[derive(Deserialize)]
struct ServerMetadata {
    #[serde(default)]
    extensions: Vec<String>,
}

#[derive(Deserialize)]
struct ModelMetadata {
    #[serde(default)]
    inputs: Option<Vec<Tensor>>,
    #[serde(default)]
    outputs: Option<Vec<Tensor>>,
}

#[derive(Deserialize)]
struct Tensor {
    name: String,
    datatype: String,
    #[serde(default)]
    shape: Vec<i64>,
}

#[derive(Deserialize)]
struct ErrorBody {
    error: String,
}

impl RestTransport {
    pub(super) fn new(
        endpoint: &Endpoint,
        config: &RemoteConfig,
        client: RestClient,
        credentials: Arc<Credentials>,
    ) -> Result<Self, String> {
        let mut model = vec!["v2", "models", &config.model];
        if let Some(version) = &config.version {
            model.extend(["versions", version]);
        }
        Ok(Self {
            client,
            credentials,
            server: url(endpoint, &["v2"])?,
            server_ready: url(endpoint, &["v2", "health", "ready"])?,
            model_ready: url(endpoint, &[&model[..], &["ready"]].concat())?,
            infer: url(endpoint, &[&model[..], &["infer"]].concat())?,
            model: url(endpoint, &model)?,
            max_answer_bytes: config.max_answer_bytes,
            is_binary: AtomicBool::new(false),
        })
    }

    pub(super) async fn infer(&self, call: &Call) -> Result<Answer, CallFailure> {
        let encoded = json::encode(call, self.is_binary.load(Ordering::Relaxed))?;
        let mut request = self.client.0.post(self.infer.clone());
        request = match encoded.json_bytes {
            None => request.header(header::CONTENT_TYPE, "application/json"),
            Some(bytes) => request
                .header(header::CONTENT_TYPE, "application/octet-stream")
                .header(HEADER_LENGTH, bytes),
        };
        let left = call.deadline.saturating_duration_since(Instant::now());
        request = request.header(REQUEST_TIMEOUT, format!("{:.6}", left.as_secs_f64()));
        request = trace(request, call.trace.as_ref());
        let response = self.send(request.body(encoded.body)).await?;
        let json_bytes = header_length(&response)?;
        let body = read(response, self.max_answer_bytes).await?;
        json::decode(&body, json_bytes.unwrap_or(body.len()))
    }

    pub(super) async fn ready(&self) -> Result<(), CallFailure> {
        for url in [&self.server_ready, &self.model_ready] {
            let response = self.send(self.client.0.get(url.clone())).await?;
            // To its end, so that the connection can be used again.
            read(response, MAX_METADATA_BYTES).await?;
        }
        Ok(())
    }

    pub(super) async fn signature(&self) -> Result<Option<Signature>, CallFailure> {
        // Servers need not describe themselves; without that they get JSON.
        if let Ok(server) = self.get::<ServerMetadata>(&self.server).await {
            let is_binary = server
                .extensions
                .iter()
                .any(|name| name == BINARY_EXTENSION);
            self.is_binary.store(is_binary, Ordering::Relaxed);
        }
        let model: ModelMetadata = self.get(&self.model).await?;
        let inputs = model.inputs.unwrap_or_default();
        let outputs = model.outputs.unwrap_or_default();
        metadata::signature(tensors(inputs), tensors(outputs))
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, url: &Url) -> Result<T, CallFailure> {
        let response = self.send(self.client.0.get(url.clone())).await?;
        let body = read(response, MAX_METADATA_BYTES).await?;
        serde_json::from_slice(&body).map_err(|error| {
            CallFailure::invalid(format!(
                "describes itself so that it cannot be read: {error}"
            ))
        })
    }

    /// Sends a request; gives the answer if it is a good one.
    async fn send(&self, mut request: RequestBuilder) -> Result<Response, CallFailure> {
        if let Some(token) = self.credentials.header() {
            request = request.header(header::AUTHORIZATION, token);
        }
        let response = request.send().await.map_err(not_sent)?;
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(response);
        }
        let body = read_start(response).await;
        Err(refused(status, &reason(&body)))
    }
}

fn url(endpoint: &Endpoint, segments: &[&str]) -> Result<Url, String> {
    let mut url = Url::parse(&endpoint.url).map_err(|problem| problem.to_string())?;
    let mut path = url
        .path_segments_mut()
        .map_err(|()| format!("{} has no path", endpoint.name))?;
    // Segments are escaped: a model's name may have any letters.
    path.pop_if_empty().extend(segments);
    drop(path);
    Ok(url)
}

fn trace(mut request: RequestBuilder, trace: Option<&TraceContext>) -> RequestBuilder {
    if let Some(trace) = trace {
        request = request.header(TRACEPARENT, trace.traceparent());
        let state = trace.state.as_deref().map(HeaderValue::from_str);
        if let Some(Ok(state)) = state {
            request = request.header(TRACESTATE, state);
        }
    }
    request
}

fn tensors(tensors: Vec<Tensor>) -> Vec<TensorMetadata> {
    let tensors = tensors.into_iter().map(|tensor| TensorMetadata {
        name: tensor.name,
        datatype: tensor.datatype,
        shape: tensor.shape,
    });
    tensors.collect()
}

/// Where the JSON of an answer ends, if binary data follows it.
fn header_length(response: &Response) -> Result<Option<usize>, CallFailure> {
    let Some(value) = response.headers().get(HEADER_LENGTH) else {
        return Ok(None);
    };
    let length = value
        .to_str()
        .ok()
        .and_then(|text| text.trim().parse().ok());
    let invalid = || {
        CallFailure::invalid(format!(
            "answered with a header {HEADER_LENGTH} that is no number"
        ))
    };
    length.map(Some).ok_or_else(invalid)
}

/// A request without an answer.
fn not_sent(error: reqwest::Error) -> CallFailure {
    let error = error.without_url();
    if is_garbage(&error) {
        return CallFailure::invalid("answered with what is not HTTP").because_of(&error);
    }
    if error.is_connect() {
        return CallFailure::not_reached(&error);
    }
    if error.is_builder() {
        return CallFailure::rejected("cannot be asked").because_of(&error);
    }
    CallFailure::unavailable("closed the connection")
        .because_of(&error)
        .after_run()
}

fn is_garbage(error: &reqwest::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            return error.is_parse();
        }
        cause = error.source();
    }
    false
}

/// An answer that is not one with the status 200.
fn refused(status: StatusCode, reason: &str) -> CallFailure {
    let code = status.as_u16();
    match code {
        503 => CallFailure::unavailable(format!("is not ready (503): {reason}")),
        404 => CallFailure::unavailable(format!("does not have the model (404): {reason}")),
        408 | 504 => CallFailure::timed_out(format!("was too late ({code}): {reason}")).after_run(),
        429 => CallFailure::new(
            UpstreamFailure::Overloaded,
            format!("has too many requests (429): {reason}"),
        ),
        401 | 403 => CallFailure::new(
            UpstreamFailure::Failed,
            format!("refuses the credentials of this server ({code}): {reason}"),
        ),
        400..=499 => CallFailure::rejected(format!("refuses the request ({code}): {reason}")),
        500..=599 => CallFailure::new(
            UpstreamFailure::Failed,
            format!("failed ({code}): {reason}"),
        )
        .after_run(),
        _ => CallFailure::invalid(format!("answered with the status {code}")),
    }
}

/// What an error says: the protocol has it as JSON.
fn reason(body: &[u8]) -> String {
    match serde_json::from_slice::<ErrorBody>(body) {
        Ok(error) => shown(&error.error),
        Err(_) => shown(&String::from_utf8_lossy(body)),
    }
}

async fn read(mut response: Response, max_bytes: usize) -> Result<Bytes, CallFailure> {
    let announced = response.content_length().unwrap_or(0);
    if announced > max_bytes as u64 {
        return Err(too_large(max_bytes));
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(broken_off)? {
        if body.len() + chunk.len() > max_bytes {
            return Err(too_large(max_bytes));
        }
        if body.is_empty() && chunk.len() as u64 == announced {
            return Ok(chunk);
        }
        if body.is_empty() {
            body.reserve(announced as usize);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// As much of a body as is of use in a message. The connection is not used again if there is more.
async fn read_start(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = MAX_ERROR_BYTES - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == MAX_ERROR_BYTES {
            break;
        }
    }
    body
}

/// The connection ended within an answer.
fn broken_off(error: reqwest::Error) -> CallFailure {
    let error = error.without_url();
    if is_garbage(&error) {
        return CallFailure::invalid("answered with what is not HTTP").because_of(&error);
    }
    CallFailure {
        // What has arrived could have been acted on.
        may_retry: false,
        ..CallFailure::unavailable("broke its answer off")
            .because_of(&error)
            .after_run()
    }
}

fn too_large(max_bytes: usize) -> CallFailure {
    CallFailure::invalid(format!(
        "answered with more than {max_bytes} bytes (remote.max_answer_bytes)"
    ))
}
