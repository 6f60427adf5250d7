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
use crate::sequences;
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
    let model = verb.unwrap_or(&target);
    let trace = front_end.traces.begin(&headers, Via::RestV1, model);
    let trace_header = trace.as_deref().map(TraceHeader::of);
    let credentials = Credentials::of(&headers).with_certificate(certificate.as_deref());
    let exchange = PredictExchange {
        front_end: &front_end,
        credentials,
        model,
        has_verb: verb.is_some(),
        body: Some(body),
        received: None,
        has_records: None,
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
    /// Whether its instances are records, once somebody has looked.
    has_records: Option<bool>,
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
            sequence: sequences::of_headers(self.credentials.headers())?,
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
        let pipeline = version.and_then(|version| Some((version, version.pipeline()?)));
        let may_have_records = pipeline.is_some() || self.records.has_begun();
        if may_have_records && self.has_records(&mut received.memory).await? {
            // Without a pipeline, it is a fallback that takes no records: the client did not choose it.
            let (version, pipeline) = pipeline.ok_or_else(not_loaded)?;
            let body = RecordBody::V1(self.received.clone().unwrap_or_default());
            let features = &self.front_end.features;
            return self
                .records
                .before(pipeline, &body, received, version, features)
                .await;
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
        // Moving a small body to another thread takes longer than decoding it.
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

impl PredictExchange<'_> {
    /// Whether the first instance is an object: a record, for a version with a pipeline.
    async fn has_records(&mut self, memory: &mut MemoryReservation) -> Result<bool, InferError> {
        if let Some(has_records) = self.has_records {
            return Ok(has_records);
        }
        let Some(body) = self.received.clone() else {
            return Ok(false);
        };
        let has_records = match begins_with_record(&body[..body.len().min(INLINE_BYTES)]) {
            None if body.len() > INLINE_BYTES => {
                run_codec(memory, move || begins_with_record(&body)).await?
            }
            looked => looked,
        };
        let has_records = has_records == Some(true);
        self.has_records = Some(has_records);
        Ok(has_records)
    }
}

/// Whether the first of the `instances` is an object; `None` if there are none in so much of a body.
fn begins_with_record(json: &[u8]) -> Option<bool> {
    let mut json = Jiter::new(json).with_allow_inf_nan();
    let mut is_instances = json.next_object().ok()?? == "instances";
    while !is_instances {
        json.next_skip().ok()?;
        is_instances = json.next_key().ok()?? == "instances";
    }
    Some(json.next_array().ok()? == Some(Peek::Object))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_before_the_instances_are_skipped() {
        for (body, expected) in [
            (r#"{"instances": [{"a": 1}]}"#, Some(true)),
            (r#"{"instances": [[1]], "x": {}}"#, Some(false)),
            (
                r#"{"signature_name": "s", "x": [{}], "instances": [{}]}"#,
                Some(true),
            ),
            (r#"{"x": NaN, "instances": [{}]}"#, Some(true)),
            (r#"{"x": 1}"#, None),
            (r#"{"x": "cut"#, None),
            ("[]", None),
        ] {
            assert_eq!(begins_with_record(body.as_bytes()), expected, "{body}");
        }
    }
}
