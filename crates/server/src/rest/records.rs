//! Records in, decisions out: `POST /v1/endpoints/NAME/predict`.

use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use tidegate_core::{Signature, Tensor};
use tidegate_gateway::{ClientCertificate, Credentials};
use tidegate_pipeline::{Pipeline, Run};
use tidegate_serving::{
    Encoded, ErrorCode, Exchange, InferError, InferRequest, InferResponse, Received, RequestTrace,
    Target, Version, Via,
};

use super::answer::ErrorBody;
use super::body;
use super::infer::{header_deadline, respond};
use super::openapi::{RecordPredictionsBody, RecordsBody};
use super::path::Path;
use crate::codec::{INLINE_BYTES, run_codec};
use crate::front_end::FrontEnd;
use crate::traces::TraceHeader;
use crate::{cache_headers, fallback_headers, limit_headers, request_memory};

/// Runs records through the pipeline of an endpoint's version: its steps before the model, the
/// model, and its steps after the model.
#[utoipa::path(post, path = "/v1/endpoints/{name}/predict", tag = "endpoints",
    params(("name" = String, Path)), request_body = RecordsBody,
    responses((status = 200, body = RecordPredictionsBody), (status = 400, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody),
        (status = 429, body = ErrorBody), (status = 500, body = ErrorBody), (status = 503, body = ErrorBody),
        (status = 504, body = ErrorBody)))]
pub(crate) async fn predict(
    State(front_end): State<Arc<FrontEnd>>,
    Path(endpoint): Path<String>,
    certificate: Option<Extension<ClientCertificate>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let trace = front_end.traces.begin(&headers, Via::RestRecords);
    let trace_header = trace.as_deref().map(TraceHeader::of);
    let credentials = Credentials::of(&headers).with_certificate(certificate.as_deref());
    let exchange = RecordsExchange {
        front_end: &front_end,
        credentials,
        endpoint,
        body: Some(body),
        received: Bytes::new(),
        run: None,
        trace,
    };
    let answer = front_end.serving.answer(exchange).await;
    respond(&front_end, credentials, trace_header, answer)
}

/// A request of records.
struct RecordsExchange<'a> {
    front_end: &'a FrontEnd,
    credentials: Credentials<'a>,
    endpoint: String,
    /// Taken when it is read.
    body: Option<Body>,
    /// The body: each version that may answer reads it by its own pipeline.
    received: Bytes,
    /// The pipeline that has read it last, and what its steps before the model have made.
    run: Option<(Arc<Pipeline>, Run)>,
    trace: Option<Box<RequestTrace>>,
}

impl Exchange for RecordsExchange<'_> {
    type Answer = Response;

    fn credentials(&self) -> Credentials<'_> {
        self.credentials
    }

    fn take_target(&mut self) -> Target {
        Target {
            endpoint: std::mem::take(&mut self.endpoint),
            version: None,
        }
    }

    async fn receive(&mut self) -> Result<Received, InferError> {
        let mut memory = request_memory::begin(&self.front_end.memory);
        let headers = self.credentials.headers();
        let body = self.body.take();
        self.received = body::read(headers, body, self.front_end, &mut memory).await?;
        let at = Instant::now();
        let request = InferRequest {
            deadline: header_deadline(headers, at)?,
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
        _signature: &Signature,
        version: Option<&Arc<Version>>,
    ) -> Result<(), InferError> {
        let pipeline = match version {
            Some(version) => version
                .pipeline()
                .ok_or_else(|| self.no_pipeline(version))?,
            // An answer of the configuration goes through the pipeline of the version that has failed.
            None if self.run.is_some() => return Ok(()),
            None => return Err(not_loaded()),
        };
        if let Some((earlier, _)) = &self.run
            && Arc::ptr_eq(earlier, pipeline)
        {
            return Ok(());
        }
        let memory = &mut received.memory;
        // Before the body is read: a short one can have very many rows of missing values.
        let bytes = pipeline.bytes_at_most(&self.received);
        memory.grow(bytes, ErrorCode::BodyTooLarge)?;
        let mut run = if bytes <= INLINE_BYTES {
            run_before(pipeline, &self.received)?
        } else {
            let (pipeline, body) = (pipeline.clone(), self.received.clone());
            run_codec(memory, move || run_before(&pipeline, &body)).await??
        };
        received.request.inputs = run.take_inputs();
        received.request.outputs =
            version.map_or_else(Vec::new, |version| version.pipeline_outputs());
        self.run = Some((pipeline.clone(), run));
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
        let (limits, cache) = (response.limits.take(), response.cache);
        let fallback = response.fallback.take();
        let (pipeline, run) = self.run.take().ok_or_else(not_loaded)?;
        // The columns of the request live on: steps after the model can use them.
        let bytes = run.bytes();
        memory.grow(bytes, ErrorCode::AnswerTooLarge)?;
        let max_bytes = self.front_end.config.max_answer_bytes;
        let body = if bytes <= INLINE_BYTES {
            encode(&pipeline, response, run, max_bytes)?
        } else {
            run_codec(&mut memory, move || {
                encode(&pipeline, response, run, max_bytes)
            })
            .await??
        };
        let (headers, config) = (self.credentials.headers(), &self.front_end.config);
        memory.resize(body.len(), ErrorCode::AnswerTooLarge)?;
        let mut encoded = body::encoded(body, "application/json", headers, config, memory).await?;
        if let Some(cache) = cache {
            cache_headers::insert(encoded.answer.headers_mut(), cache);
        }
        if let Some(fallback) = fallback {
            fallback_headers::insert(encoded.answer.headers_mut(), &fallback);
        }
        if let Some(limits) = limits {
            limit_headers::insert(encoded.answer.headers_mut(), &limits);
        }
        Ok(encoded)
    }
}

impl RecordsExchange<'_> {
    /// A version that takes no records. The client did not name it if it is a fallback.
    fn no_pipeline(&self, version: &Version) -> InferError {
        let (model, number) = (version.model(), version.number());
        let message = format!(
            "version {number} of \"{model}\" has no section [pipeline] in its model.toml, so it \
             takes no records; send tensors to /v2/models/{model}/infer"
        );
        let code = match self.run {
            None => ErrorCode::NoPipeline,
            Some(_) => ErrorCode::NotReady,
        };
        InferError::new(code, message)
    }
}

fn run_before(pipeline: &Pipeline, body: &[u8]) -> Result<Run, InferError> {
    let records = pipeline.read(body)?;
    Ok(pipeline.before(records)?)
}

/// Runs the steps after the model, and writes the answer.
fn encode(
    pipeline: &Pipeline,
    response: InferResponse,
    run: Run,
    max_bytes: usize,
) -> Result<Vec<u8>, InferError> {
    let version = &response.version;
    let outputs = response.outputs.into_iter();
    let outputs: Vec<(usize, Tensor)> = outputs
        .map(|output| (output.index, output.tensor))
        .collect();
    let answer = pipeline.after(run, &outputs)?;
    let mut json = Vec::with_capacity(256);
    json.extend_from_slice(b"{\"model_name\":");
    push_text(&mut json, version.model());
    json.extend_from_slice(b",\"model_version\":");
    push_text(&mut json, version.number());
    json.extend_from_slice(b",\"predictions\":");
    answer.encode(&mut json);
    if !answer.flagged().is_empty() {
        json.extend_from_slice(b",\"flagged\":");
        answer.encode_flagged(&mut json);
    }
    json.push(b'}');
    if json.len() > max_bytes {
        let bytes = json.len();
        let message = format!(
            "the answer has {bytes} bytes, the maximum is {max_bytes} (server.max_answer_bytes)"
        );
        return Err(InferError::new(ErrorCode::AnswerTooLarge, message));
    }
    Ok(json)
}

fn push_text(json: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(json, text).expect("a vector takes all text");
}

fn not_loaded() -> InferError {
    let message = "no version is loaded whose pipeline could read the records";
    InferError::new(ErrorCode::NotReady, message)
}
