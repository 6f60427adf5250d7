//! The KServe v1 protocol: `POST /v1/models/NAME:predict`.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use serde::Serialize;
use tidegate_serving::{ErrorCode, InferError, InferRequest, RequestTrace, Via};
use utoipa::ToSchema;

use super::answer::{ErrorBody, Refusal};
use super::body;
use super::infer::{header_deadline, tell};
use super::openapi::{InstancesBody, PredictionsBody};
use super::path::Path;
use crate::app::App;
use crate::compression::Encoding;
use crate::json::{decode_instances, encode_predictions};
use crate::traces::Told;

/// The models that answer.
#[derive(Serialize, ToSchema)]
pub(crate) struct ModelList {
    models: Vec<String>,
}

/// Whether a model answers.
#[derive(Serialize, ToSchema)]
pub(crate) struct ModelStatus {
    name: String,
    ready: bool,
}

/// The models that answer.
#[utoipa::path(get, path = "/v1/models", tag = "v1", responses((status = 200, body = ModelList)))]
pub(crate) async fn models(State(app): State<Arc<App>>) -> Json<ModelList> {
    let models = app.serving.models().all();
    Json(ModelList {
        models: models.iter().map(|model| model.name().to_owned()).collect(),
    })
}

/// Whether a model answers.
#[utoipa::path(get, path = "/v1/models/{model}", tag = "v1", params(("model" = String, Path)),
    responses((status = 200, body = ModelStatus), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn model(
    State(app): State<Arc<App>>,
    Path(model): Path<String>,
) -> Result<Json<ModelStatus>, Refusal> {
    app.serving.would_answer(&model, None)?;
    Ok(Json(ModelStatus {
        name: model,
        ready: true,
    }))
}

/// Asks the newest version of a model with a single input: each instance is a row.
#[utoipa::path(post, path = "/v1/models/{model}:predict", tag = "v1", params(("model" = String, Path)),
    request_body = InstancesBody,
    responses((status = 200, body = PredictionsBody), (status = 400, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody),
        (status = 429, body = ErrorBody), (status = 500, body = ErrorBody), (status = 503, body = ErrorBody),
        (status = 504, body = ErrorBody)))]
pub(crate) async fn predict(
    State(app): State<Arc<App>>,
    Path(target): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let trace = app.traces.begin(&headers, Via::RestV1);
    let told = trace.as_deref().map(Told::of);
    tell(
        told,
        answer(&app, &target, &headers, body, trace)
            .await
            .map_err(Refusal::from),
    )
}

async fn answer(
    app: &App,
    target: &str,
    headers: &HeaderMap,
    body: Body,
    trace: Option<Box<RequestTrace>>,
) -> Result<Response, InferError> {
    let Some(model) = target.strip_suffix(":predict") else {
        return Err(InferError::new(
            ErrorCode::NotFound,
            "post to /v1/models/NAME:predict",
        ));
    };
    let (request, received) = match receive(app, model, headers, body).await {
        Ok(received) => received,
        Err(error) => {
            app.serving
                .metrics()
                .refused(error.code, trace, Instant::now());
            return Err(error);
        }
    };
    let response = app
        .serving
        .infer(InferRequest { trace, ..request }, received)
        .await?;
    let body = encode_predictions(&response)?;
    let answer = body::answer(
        body,
        "application/json",
        Encoding::accepted(headers),
        &app.config,
    )
    .await?;
    response.version.count_sent(body::bytes(&answer));
    Ok(answer)
}

/// Reads and decodes a request; the second value is when its last byte arrived.
async fn receive(
    app: &App,
    model: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<(InferRequest, Instant), InferError> {
    let (version, _) = app
        .serving
        .demand(model, None, header_deadline(headers, Instant::now())?)
        .await?;
    let body = body::read(headers, body, &app.config).await?;
    let received = Instant::now();
    let request = InferRequest {
        model: model.to_owned(),
        version: Some(version.number().to_owned()),
        inputs: decode_instances(&body, version.signature())?,
        deadline: header_deadline(headers, received)?,
        ..InferRequest::default()
    };
    Ok((request, received))
}
