//! Whether the server, a model or a version can answer.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use tidegate_serving::{ErrorCode, InferError};
use utoipa::ToSchema;

use super::answer::{ApiError, ErrorBody};
use super::path::Path;
use crate::app::App;
use crate::describe::{EXTENSIONS, SERVER_NAME, SERVER_VERSION};

/// What the server is.
#[derive(Serialize, ToSchema)]
pub(crate) struct ServerMetadata {
    name: &'static str,
    version: &'static str,
    /// Extensions of the protocol that are served.
    extensions: &'static [&'static str],
}

/// What the server is.
#[utoipa::path(get, path = "/v2", tag = "server", responses((status = 200, body = ServerMetadata)))]
pub(crate) async fn server() -> Json<ServerMetadata> {
    Json(ServerMetadata {
        name: SERVER_NAME,
        version: SERVER_VERSION,
        extensions: EXTENSIONS,
    })
}

/// Whether the process answers at all.
#[utoipa::path(get, path = "/v2/health/live", tag = "server", responses((status = 200, description = "it does")))]
pub(crate) async fn live() -> StatusCode {
    StatusCode::OK
}

/// How a server that is ready is.
#[derive(Serialize, ToSchema)]
pub(crate) struct Readiness {
    /// `ready`, or `degraded` if something that traffic need not wait for is not as it should be.
    status: &'static str,
    /// What that is: versions of the registry that could not be loaded, or that the registry cannot
    /// be read.
    problems: Vec<String>,
}

/// Whether traffic should be sent here: every model that was found in a folder answers, every
/// pinned model of the registry does, and the server is not stopping.
#[utoipa::path(get, path = "/v2/health/ready", tag = "server",
    responses((status = 200, body = Readiness), (status = 503, body = ErrorBody)))]
pub(crate) async fn ready(State(app): State<Arc<App>>) -> Result<Json<Readiness>, ApiError> {
    if app.ready() {
        let problems = app.serving.problems();
        let status = if problems.is_empty() {
            "ready"
        } else {
            "degraded"
        };
        return Ok(Json(Readiness { status, problems }));
    }
    let message = "the server is starting or stopping, or a model could not be loaded: see /v2/repository/index";
    Err(InferError::new(ErrorCode::NotReady, message).into())
}

/// Whether a model answers.
#[utoipa::path(get, path = "/v2/models/{model}/ready", tag = "models", params(("model" = String, Path)),
    responses((status = 200, description = "it does"), (status = 404, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
pub(crate) async fn model_ready(
    State(app): State<Arc<App>>,
    Path(model): Path<String>,
) -> Result<StatusCode, ApiError> {
    app.serving.would_answer(&model, None)?;
    Ok(StatusCode::OK)
}

/// Whether a version answers.
#[utoipa::path(get, path = "/v2/models/{model}/versions/{version}/ready", tag = "models",
    params(("model" = String, Path), ("version" = String, Path)),
    responses((status = 200, description = "it does"), (status = 404, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
pub(crate) async fn version_ready(
    State(app): State<Arc<App>>,
    Path((model, version)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    app.serving.would_answer(&model, Some(&version))?;
    Ok(StatusCode::OK)
}
