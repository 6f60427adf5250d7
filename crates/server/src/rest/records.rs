//! Records in, decisions out: `POST /v1/endpoints/NAME/predict`.

mod record_body;
mod record_run;

use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use http::HeaderMap;
use serde::Deserialize;
use tidegate_core::Signature;
use tidegate_gateway::{ClientCertificate, Credentials};
use tidegate_pipeline::BadRows;
use tidegate_serving::{
    Encoded, ErrorCode, Exchange, InferError, InferRequest, InferResponse, Received, RequestTrace,
    Target, Version, Via,
};

pub(crate) use self::record_body::RecordBody;
pub(super) use self::record_run::AnswerStyle;
pub(crate) use self::record_run::{RecordRun, not_loaded};
use utoipa::IntoParams;

use super::answer::ErrorBody;
use super::body;
use super::infer::{header_deadline, respond};
use super::openapi::{RecordPredictionsBody, RecordsBody};
use super::path::Path;
use crate::front_end::FrontEnd;
use crate::gateway_headers::GatewayHeaders;
use crate::request_memory;
use crate::sequences;
use crate::traces::TraceHeader;

/// Runs records through the pipeline of an endpoint's version: its steps before the model, the
/// model, and its steps after the model.
#[utoipa::path(post, path = "/v1/endpoints/{name}/predict", tag = "endpoints",
    params(("name" = String, Path), PredictOptions), request_body = RecordsBody,
    responses((status = 200, body = RecordPredictionsBody), (status = 400, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody),
        (status = 429, body = ErrorBody), (status = 500, body = ErrorBody), (status = 503, body = ErrorBody),
        (status = 504, body = ErrorBody)))]
pub(crate) async fn predict(
    State(front_end): State<Arc<FrontEnd>>,
    Path(endpoint): Path<String>,
    query: Result<Query<PredictOptions>, QueryRejection>,
    certificate: Option<Extension<ClientCertificate>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let trace = front_end
        .traces
        .begin(&headers, Via::RestRecords, &endpoint);
    let trace_header = trace.as_deref().map(TraceHeader::of);
    let credentials = Credentials::of(&headers).with_certificate(certificate.as_deref());
    let exchange = RecordsExchange {
        front_end: &front_end,
        credentials,
        endpoint,
        body: Some(body),
        received: RecordBody::default(),
        query: Some(query),
        run: RecordRun::default(),
        trace,
    };
    let answer = front_end.serving.answer(exchange).await;
    respond(&front_end, credentials, trace_header, answer)
}

/// Parameters of the URL.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct PredictOptions {
    /// Whether rows with values that cannot be used are answered with errors, and the others with
    /// predictions; otherwise the first of them fails the request.
    partial: bool,
}

impl PredictOptions {
    fn bad_rows(&self) -> BadRows {
        if self.partial {
            BadRows::FailAlone
        } else {
            BadRows::FailRequest
        }
    }
}

/// A request of records.
struct RecordsExchange<'a> {
    front_end: &'a FrontEnd,
    credentials: Credentials<'a>,
    endpoint: String,
    /// Taken when the body is read: only then is it known who asks.
    query: Option<Result<Query<PredictOptions>, QueryRejection>>,
    /// Taken when it is read.
    body: Option<Body>,
    /// The body: each version that may answer reads it by its own pipeline.
    received: RecordBody,
    run: RecordRun,
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
        if let Some(query) = self.query.take() {
            let query = query
                .map_err(|error| InferError::new(ErrorCode::MalformedRequest, error.body_text()))?;
            self.run = RecordRun::new(query.bad_rows());
        }
        let mut memory = request_memory::begin(&self.front_end.memory);
        let headers = self.credentials.headers();
        let body = self.body.take();
        let body = body::read(headers, body, self.front_end, &mut memory).await?;
        self.received = RecordBody::of(headers, body, &mut memory).await?;
        let at = Instant::now();
        let request = InferRequest {
            deadline: header_deadline(headers, at)?,
            sequence: sequences::of_headers(headers)?,
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
        let version = version.ok_or_else(not_loaded)?;
        let pipeline = version.pipeline();
        let pipeline = pipeline.ok_or_else(|| self.no_pipeline(version))?;
        let features = &self.front_end.features;
        self.run
            .before(pipeline, &self.received, received, version, features)
            .await
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
        let max_bytes = self.front_end.config.max_answer_bytes;
        let style = AnswerStyle::Named;
        let body = self
            .run
            .after(response, style, max_bytes, &mut memory)
            .await?;
        let (headers, config) = (self.credentials.headers(), &self.front_end.config);
        let (body, content_type) = (body.bytes, body.content_type);
        let mut encoded = body::encoded(body, content_type, headers, config, memory).await?;
        gateway.insert(encoded.answer.headers_mut());
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
        let code = if self.run.has_begun() {
            ErrorCode::NotReady
        } else {
            ErrorCode::NoPipeline
        };
        InferError::new(code, message)
    }
}
