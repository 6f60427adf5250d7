//! The model repository extension of the protocol: what is there, load, unload.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use tidegate_serving::{ErrorCode, GivenModel, InferError};
use utoipa::ToSchema;

use super::answer::{ApiError, ErrorBody};
use super::body;
use super::path::Path;
use crate::audit::AuditStates;
use crate::describe;
use crate::front_end::FrontEnd;
use crate::request_memory;

/// These bodies are small, and read into a tree that takes many times their size.
const MAX_CONTROL_BYTES: usize = 1 << 20;

/// The parameter of a load that has a model configuration in JSON.
pub(crate) const CONFIG: &str = "config";
/// Before the path of a file in the name of its parameter.
pub(crate) const FILE: &str = "file:";

/// Which models to list.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct IndexRequest {
    /// Only models that answer.
    ready: bool,
}

/// A version, or a model that has none loaded.
#[derive(Serialize, ToSchema)]
pub(crate) struct IndexEntry {
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    version: String,
    /// READY, LOADING, UNLOADING or UNAVAILABLE.
    state: &'static str,
    /// Why it does not answer, or why it could not be reloaded.
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    /// Its state in more detail: absent, fetching, verifying, loading, warming, ready,
    /// draining, unloaded, failed or stale.
    stage: &'static str,
    /// Its aliases.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    aliases: Vec<String>,
    /// Whether it answers requests that name no version.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    default: bool,
    /// The memory that it takes, in bytes, if it is loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<u64>,
}

/// Settings of a load or unload.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct ControlRequest {
    /// For a load: `config` has a model configuration in JSON, `file:1/model.onnx` a file in base64.
    /// For an unload: `unload_dependents` is accepted and has no effect.
    #[schema(value_type = Object)]
    parameters: serde_json::Map<String, serde_json::Value>,
}

/// Every loaded version, and every model that is not loaded, with the reason.
#[utoipa::path(post, path = "/v2/repository/index", tag = "repository", request_body = IndexRequest,
    responses((status = 200, body = Vec<IndexEntry>), (status = 400, body = ErrorBody)))]
pub(crate) async fn index(
    State(front_end): State<Arc<FrontEnd>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Vec<IndexEntry>>, ApiError> {
    let request: IndexRequest = optional_json(&front_end, &headers, body).await?;
    let index = front_end.index().await?;
    let entries = index.into_iter().map(|entry| {
        let (state, reason) = describe::state(&entry.state);
        IndexEntry {
            state,
            reason,
            stage: entry.state.name(),
            name: entry.name,
            version: entry.version,
            aliases: entry.aliases,
            default: entry.is_default,
            memory_bytes: entry.memory_bytes,
        }
    });
    Ok(Json(
        entries
            .filter(|entry| !request.ready || entry.state == "READY")
            .collect(),
    ))
}

/// Loads or reloads a model; the loaded version answers until the new one does.
#[utoipa::path(post, path = "/v2/repository/models/{model}/load", tag = "repository",
    params(("model" = String, Path)), request_body = ControlRequest,
    responses((status = 200, description = "it is loaded"), (status = 400, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 405, body = ErrorBody)))]
pub(crate) async fn load(
    State(front_end): State<Arc<FrontEnd>>,
    Path(model): Path<String>,
    states: AuditStates,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, ApiError> {
    // Files make it as large as a request for inference.
    let max_bytes = front_end.config.max_body_bytes;
    let request: ControlRequest = json_at_most(max_bytes, &front_end, &headers, body).await?;
    states.before(front_end.versions_of(&model));
    let loaded = front_end.load(model.clone(), given(request)?).await;
    states.after(front_end.versions_of(&model));
    loaded?;
    Ok(StatusCode::OK)
}

/// The configuration and the files of a load.
fn given(request: ControlRequest) -> Result<GivenModel, InferError> {
    let mut given = GivenModel::default();
    for (name, value) in request.parameters {
        let serde_json::Value::String(text) = value else {
            return Err(wrong(&name, "a string"));
        };
        if name == CONFIG {
            given.config = Some(text);
        } else if let Some(file) = name.strip_prefix(FILE) {
            let content = STANDARD.decode(text);
            let content = content.map_err(|_| wrong(&name, "in base64"))?;
            given.files.push((file.to_owned(), content.into()));
        } else {
            return Err(wrong(&name, "\"config\", or \"file:\" and a path"));
        }
    }
    Ok(given)
}

fn wrong(name: &str, wanted: &str) -> InferError {
    let shown: String = name.chars().take(128).collect();
    let message = format!("parameter {shown:?} of a load must be {wanted}");
    InferError::new(ErrorCode::InvalidParameter, message)
}

/// Takes a model out of service; requests that have started are finished.
#[utoipa::path(post, path = "/v2/repository/models/{model}/unload", tag = "repository",
    params(("model" = String, Path)), request_body = ControlRequest,
    responses((status = 200, description = "it is unloaded"), (status = 400, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 405, body = ErrorBody)))]
pub(crate) async fn unload(
    State(front_end): State<Arc<FrontEnd>>,
    Path(model): Path<String>,
    states: AuditStates,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, ApiError> {
    // Read all the same, so that a malformed body is refused.
    let _: ControlRequest = optional_json(&front_end, &headers, body).await?;
    states.before(front_end.versions_of(&model));
    let unloaded = front_end.unload(model.clone()).await;
    states.after(front_end.versions_of(&model));
    unloaded?;
    Ok(StatusCode::OK)
}

/// A JSON body that clients may leave out.
pub(super) async fn optional_json<T: Default + for<'de> Deserialize<'de>>(
    front_end: &FrontEnd,
    headers: &HeaderMap,
    body: Body,
) -> Result<T, InferError> {
    let max_bytes = front_end.config.max_body_bytes.min(MAX_CONTROL_BYTES);
    json_at_most(max_bytes, front_end, headers, body).await
}

async fn json_at_most<T: Default + for<'de> Deserialize<'de>>(
    max_bytes: usize,
    front_end: &FrontEnd,
    headers: &HeaderMap,
    body: Body,
) -> Result<T, InferError> {
    let mut memory = request_memory::begin(&front_end.memory);
    let config = &front_end.config;
    let body = body::read_at_most(max_bytes, headers, body, config, &mut memory).await?;
    if body.is_empty() {
        return Ok(T::default());
    }
    body::parse(&body)
}
