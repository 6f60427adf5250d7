//! What has happened on this server.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::QueryRejection;
use serde::{Deserialize, Serialize};
use tidegate_observe::MAX_EVENTS;
use tidegate_serving::{ErrorCode, InferError};
use utoipa::{IntoParams, ToSchema};

use super::answer::{ApiError, ErrorBody};
use crate::app::App;

/// Which events are wanted.
#[derive(Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// Only those of this name, or whose name begins with it and a full stop.
    name: String,
    /// Only those about this model.
    model: String,
    /// Only those with a larger number.
    after: u64,
    /// At most so many.
    #[param(maximum = 1000)]
    limit: u16,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            name: String::new(),
            model: String::new(),
            after: 0,
            limit: 100,
        }
    }
}

/// Something that happened once.
#[derive(Serialize, ToSchema)]
pub(crate) struct Event {
    /// Larger than that of every event before it.
    id: u64,
    /// When, in milliseconds since 1970.
    at_ms: u64,
    /// What, as in version.load_failed.
    name: String,
    /// The model or endpoint that it is about.
    #[serde(skip_serializing_if = "String::is_empty")]
    model: String,
    /// The version that it is about.
    #[serde(skip_serializing_if = "String::is_empty")]
    version: String,
    /// What else there is to say: numbers and texts.
    #[schema(value_type = Object)]
    fields: BTreeMap<String, serde_json::Value>,
}

/// The last thousand events, the newest first.
#[utoipa::path(get, path = "/api/events", tag = "operations", params(Wanted),
    responses((status = 200, body = Vec<Event>), (status = 400, body = ErrorBody)))]
pub(crate) async fn events(
    State(app): State<Arc<App>>,
    query: Result<axum::extract::Query<Wanted>, QueryRejection>,
) -> Result<Json<Vec<Event>>, ApiError> {
    let axum::extract::Query(wanted) =
        query.map_err(|error| InferError::new(ErrorCode::InvalidParameter, error.body_text()))?;
    let is_wanted = |event: &tidegate_observe::Event| {
        let of_name = wanted.name.is_empty()
            || event
                .name
                .strip_prefix(&wanted.name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        of_name
            && (wanted.model.is_empty() || wanted.model == event.model)
            && event.id > wanted.after
    };
    let events = app
        .alerting
        .events(is_wanted, usize::from(wanted.limit).min(MAX_EVENTS));
    let events = events.into_iter().map(|event| {
        let tidegate_observe::Event {
            id,
            at_ms,
            name,
            model,
            version,
            fields,
        } = event;
        Event {
            id,
            at_ms,
            name,
            model,
            version,
            fields,
        }
    });
    Ok(Json(events.collect()))
}
