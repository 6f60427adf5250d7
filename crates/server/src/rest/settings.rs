//! The trace and logging extensions of the protocol.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use http::HeaderMap;
use serde_json::{Map, Value};
use tidegate_serving::{ErrorCode, InferError};

use super::answer::{ApiError, ErrorBody};
use super::path::Path;
use super::repository::optional_json;
use crate::audit::AuditStates;
use crate::front_end::FrontEnd;
use crate::log_settings::LogSettingsBody;
use crate::traces::{TraceSetting, TraceSettingsBody};

/// Which traces are kept of models without settings of their own.
#[utoipa::path(get, path = "/v2/trace/setting", tag = "settings",
    responses((status = 200, body = TraceSettingsBody)))]
pub(crate) async fn trace(State(front_end): State<Arc<FrontEnd>>) -> Json<TraceSettingsBody> {
    Json(front_end.traces.settings.show(None))
}

/// Which traces of a model are kept.
#[utoipa::path(get, path = "/v2/models/{model}/trace/setting", tag = "settings",
    params(("model" = String, Path)),
    responses((status = 200, body = TraceSettingsBody), (status = 404, body = ErrorBody)))]
pub(crate) async fn trace_of_model(
    State(front_end): State<Arc<FrontEnd>>,
    Path(model): Path<String>,
) -> Result<Json<TraceSettingsBody>, ApiError> {
    Ok(Json(front_end.trace_settings(&model)?))
}

/// Changes which traces are kept, until the server ends: `trace_level` is `OFF` or `TIMESTAMPS`, and one
/// of `trace_rate` requests is traced. `null` stands for what is configured.
#[utoipa::path(post, path = "/v2/trace/setting", tag = "settings", request_body = TraceSettingsBody,
    responses((status = 200, body = TraceSettingsBody), (status = 400, body = ErrorBody),
        (status = 413, body = ErrorBody)))]
pub(crate) async fn change_trace(
    State(front_end): State<Arc<FrontEnd>>,
    states: AuditStates,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<TraceSettingsBody>, ApiError> {
    let settings = trace_settings(optional_json(&front_end, &headers, body).await?)?;
    change_traces(&front_end, "", &settings, &states)
}

/// Changes which traces of a model are kept. `null` stands for the settings of all models.
#[utoipa::path(post, path = "/v2/models/{model}/trace/setting", tag = "settings",
    params(("model" = String, Path)), request_body = TraceSettingsBody,
    responses((status = 200, body = TraceSettingsBody), (status = 400, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 413, body = ErrorBody)))]
pub(crate) async fn change_trace_of_model(
    State(front_end): State<Arc<FrontEnd>>,
    Path(model): Path<String>,
    states: AuditStates,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<TraceSettingsBody>, ApiError> {
    let settings = trace_settings(optional_json(&front_end, &headers, body).await?)?;
    change_traces(&front_end, &model, &settings, &states)
}

/// Which lines the log has.
#[utoipa::path(get, path = "/v2/logging", tag = "settings",
    responses((status = 200, body = LogSettingsBody), (status = 405, body = ErrorBody)))]
pub(crate) async fn log(
    State(front_end): State<Arc<FrontEnd>>,
) -> Result<Json<LogSettingsBody>, ApiError> {
    Ok(Json(front_end.log.show()?))
}

/// Changes which lines the log has, until the server ends. `null` stands for what is configured.
#[utoipa::path(post, path = "/v2/logging", tag = "settings", request_body = LogSettingsBody,
    responses((status = 200, body = LogSettingsBody), (status = 400, body = ErrorBody),
        (status = 405, body = ErrorBody), (status = 413, body = ErrorBody)))]
pub(crate) async fn change_log(
    State(front_end): State<Arc<FrontEnd>>,
    states: AuditStates,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<LogSettingsBody>, ApiError> {
    let settings: Map<String, Value> = optional_json(&front_end, &headers, body).await?;
    states.before(front_end.log.audit_state());
    let changed = front_end.log.change(&settings);
    states.after(front_end.log.audit_state());
    changed?;
    Ok(Json(front_end.log.show()?))
}

fn change_traces(
    front_end: &FrontEnd,
    model: &str,
    settings: &[TraceSetting],
    states: &AuditStates,
) -> Result<Json<TraceSettingsBody>, ApiError> {
    states.before(front_end.trace_state(model));
    let changed = front_end.change_traces(model, settings);
    states.after(front_end.trace_state(model));
    changed?;
    Ok(Json(front_end.trace_settings(model)?))
}

/// Settings in JSON.
fn trace_settings(settings: Map<String, Value>) -> Result<Vec<TraceSetting>, InferError> {
    settings.into_iter().map(trace_setting).collect()
}

/// A value is text, a number, a list of these, or `null`.
fn trace_setting((name, value): (String, Value)) -> Result<TraceSetting, InferError> {
    let values = match value {
        Value::Null => Vec::new(),
        Value::Array(values) => values
            .into_iter()
            .map(setting_text)
            .collect::<Result<_, _>>()?,
        value => vec![setting_text(value)?],
    };
    Ok((name, values))
}

fn setting_text(value: Value) -> Result<String, InferError> {
    match value {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        _ => {
            let message = "a trace setting is text, a list of texts, or null";
            Err(InferError::new(ErrorCode::InvalidParameter, message))
        }
    }
}
