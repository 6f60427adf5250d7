//! The KServe v1 protocol: `POST /v1/models/NAME:predict`.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::{Extension, Json};
use bytes::Bytes;
use http::HeaderMap;
use jiter::{Jiter, Peek};
use serde::Serialize;
use tidegate_core::Signature;
use tidegate_gateway::{ClientCertificate, Credentials};
use tidegate_serving::{
    Encoded, ErrorCode, Exchange, InferError, InferRequest, InferResponse, MemoryReservation,
    Received, RequestTrace, Target, Version, Via,
};
use utoipa::ToSchema;

use super::answer::ErrorBody;
use super::body;
use super::health::{ModelReadiness, NotReady};
use super::infer::{header_deadline, respond};
use super::openapi::{InstancesBody, PredictionsBody};
use super::path::Path;
use super::records::{AnswerStyle, RecordBody, RecordRun, not_loaded};
use crate::ServerConfig;
use crate::codec::{INLINE_BYTES, decoded_bytes_at_most, encoded_bytes, run_codec};
use crate::front_end::FrontEnd;
use crate::gateway_headers::GatewayHeaders;
use crate::json::{decode_instances, encode_predictions};
use crate::request_memory;
use crate::traces::TraceHeader;

/// The models that answer.
#[derive(Serialize, ToSchema)]
pub(crate) struct ModelList {
    models: Vec<String>,
}

/// The models that answer.
#[utoipa::path(get, path = "/v1/models", tag = "v1", responses((status = 200, body = ModelList)))]
pub(crate) async fn models(State(front_end): State<Arc<FrontEnd>>) -> Json<ModelList> {
    let models = front_end.serving.models().all();
    Json(ModelList {
        models: models.iter().map(|model| model.name().to_owned()).collect(),
    })
}

/// Whether a model answers.
#[utoipa::path(get, path = "/v1/models/{model}", tag = "v1", params(("model" = String, Path)),
    responses((status = 200, body = ModelReadiness), (status = 404, body = NotReady), (status = 503, body = NotReady)))]
pub(crate) async fn model(
    State(front_end): State<Arc<FrontEnd>>,
    Path(model): Path<String>,
    request: Request,
) -> Response {
    let would_answer = front_end.serving.would_answer(&model, None);
    ModelReadiness::respond(front_end.serving.gateway(), &request, model, would_answer)
}

/// Runs inference on the default version of a model with a single input: each instance is a row.
#[utoipa::path(post, path = "/v1/models/{model}:predict", tag = "v1", params(("model" = String, Path)),
    request_body = InstancesBody,
    responses((status = 200, body = PredictionsBody), (status = 400, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody),
        (status = 429, body = ErrorBody), (status = 500, body = ErrorBody), (status = 503, body = ErrorBody),
        (status = 504, body = ErrorBody)))]
pub(crate) async fn predict(
    State(front_end): State<Arc<FrontEnd>>,
    Path(target): Path<String>,
    certificate: Option<Extension<ClientCertificate>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    // A parameter of the router is a whole segment of the path, so the verb is taken off here.
    let verb = target.strip_suffix(":predict");
    let trace = front_end.traces.begin(&headers, Via::RestV1);
    let trace_header = trace.as_deref().map(TraceHeader::of);
    let credentials = Credentials::of(&headers).with_certificate(certificate.as_deref());
    let exchange = PredictExchange {
        front_end: &front_end,
        credentials,
        model: verb.unwrap_or(&target),
        has_verb: verb.is_some(),
        body: Some(body),
        received: None,
        records: RecordRun::default(),
        trace,
    };
    let answer = front_end.serving.answer(exchange).await;
    respond(&front_end, credentials, trace_header, answer)
}

/// A request of KServe v1.
struct PredictExchange<'a> {
    front_end: &'a FrontEnd,
    credentials: Credentials<'a>,
    model: &'a str,
    /// Whether the path says what to do with the model. One that does not is counted as a failure.
    has_verb: bool,
    /// Taken when it is read.
    body: Option<Body>,
    /// The body, until it is decoded: instances have no types of their own. Records stay: each version
    /// that may answer reads them by its own pipeline.
    received: Option<Bytes>,
    records: RecordRun,
    trace: Option<Box<RequestTrace>>,
}

impl Exchange for PredictExchange<'_> {
    type Answer = Response;

    fn credentials(&self) -> Credentials<'_> {
        self.credentials
    }

    fn take_target(&mut self) -> Target {
        Target {
            endpoint: self.model.to_owned(),
            version: None,
        }
    }

    async fn receive(&mut self) -> Result<Received, InferError> {
        if !self.has_verb {
            let message = "post to /v1/models/NAME:predict";
            return Err(InferError::new(ErrorCode::NotFound, message));
        }
        let mut memory = request_memory::begin(&self.front_end.memory);
        let body = self.body.take();
        let body = body::read(
            self.credentials.headers(),
            body,
            self.front_end,
            &mut memory,
        )
        .await?;
        self.received = Some(body);
        let at = Instant::now();
        let request = InferRequest {
            deadline: header_deadline(self.credentials.headers(), at)?,
            ..InferRequest::default()
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
        if self.records.has_begun() && version.is_none() {
            // An answer of the configuration goes through the pipeline of the version that has failed.
            return Ok(());
        }
        if let (Some(version), Some(body)) = (version, &self.received)
            && let Some(pipeline) = version.pipeline()
            && has_records(body)
        {
            let body = RecordBody::Json(body.clone());
            let features = &self.front_end.features;
            return self
                .records
                .before(pipeline, &body, received, version, features)
                .await;
        }
        if self.records.has_begun() && self.received.as_deref().is_some_and(has_records) {
            // A fallback that takes no records: the client did not choose it.
            return Err(not_loaded());
        }
        if self.records.has_begun() {
            // This version takes tensors.
            self.records = RecordRun::default();
            received.request.outputs = Vec::new();
        }
        // It stays until it is decoded: a fallback tries again what failed for want of memory.
        let Some(body) = self.received.clone() else {
            return Ok(());
        };
        if body.len() <= INLINE_BYTES {
            received.request.inputs = decode_instances(&body, signature)?;
            self.received = None;
            return Ok(());
        }
        let memory = &mut received.memory;
        memory.grow(decoded_bytes_at_most(&body), ErrorCode::BodyTooLarge)?;
        let signature = signature.clone();
        let inputs = run_codec(memory, move || decode_instances(&body, &signature)).await??;
        memory.shrink_to(inputs.iter().map(|(_, tensor)| tensor.byte_len()).sum());
        received.request.inputs = inputs;
        self.received = None;
        Ok(())
    }

    fn max_answer_bytes(&self) -> usize {
        self.front_end.config.max_answer_bytes
    }

    async fn encode(
        &mut self,
        mut response: InferResponse,
    ) -> Result<Encoded<Response>, InferError> {
        let mut memory = std::mem::take(&mut response.memory);
        let gateway = GatewayHeaders::take(&mut response);
        let (headers, config) = (self.credentials.headers(), &self.front_end.config);
        let max_bytes = config.max_answer_bytes;
        if self.records.has_begun() {
            let style = AnswerStyle::Plain;
            let body = self
                .records
                .after(response, style, max_bytes, &mut memory)
                .await?;
            return answer(body.bytes, headers, config, gateway, memory).await;
        }
        let bytes = encoded_bytes(&response, |_| false);
        memory.grow(bytes, ErrorCode::AnswerTooLarge)?;
        let body = if bytes <= INLINE_BYTES {
            encode_predictions(&response, max_bytes)?
        } else {
            run_codec(&mut memory, move || {
                encode_predictions(&response, max_bytes)
            })
            .await??
        };
        answer(body, headers, config, gateway, memory).await
    }
}

async fn answer(
    body: Vec<u8>,
    headers: &HeaderMap,
    config: &ServerConfig,
    gateway: GatewayHeaders,
    memory: MemoryReservation,
) -> Result<Encoded<Response>, InferError> {
    let mut encoded = body::encoded(body, "application/json", headers, config, memory).await?;
    gateway.insert(encoded.answer.headers_mut());
    Ok(encoded)
}

/// Whether the first member is `instances`, and the first of these an object: a record, for a version
/// with a pipeline.
fn has_records(body: &[u8]) -> bool {
    let mut json = Jiter::new(body);
    json.next_object() == Ok(Some("instances")) && json.next_array() == Ok(Some(Peek::Object))
}
