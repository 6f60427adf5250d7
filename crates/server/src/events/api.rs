//! `GET /api/events`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::QueryRejection;
use serde::{Deserialize, Serialize};
use tidegate_gateway::Permission;
use tidegate_observe::MAX_EVENTS;
use tidegate_serving::{ErrorCode, InferError};
use utoipa::{IntoParams, OpenApi, ToSchema};

use super::EventJournal;
use crate::rest::{ApiError, ErrorBody};
use crate::routes::Routes;

#[derive(OpenApi)]
#[openapi(paths(events))]
struct Description;

pub(crate) fn description() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

pub(super) fn routes(journal: Arc<EventJournal>) -> Routes<()> {
    Routes::described_by(description())
        .get("/api/events", Permission::ViewOperations, events)
        .with_state(journal)
}

/// Which events are wanted.
#[derive(Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventFilter {
    /// Only those of this name, and those whose name begins with it and a full stop.
    name: String,
    /// Only those about this model.
    model: String,
    /// Only those with a larger number.
    after: u64,
    /// The largest number of events to return.
    #[param(maximum = 1000)]
    limit: u16,
}

impl Default for EventFilter {
    fn default() -> Self {
        Self {
            name: String::new(),
            model: String::new(),
            after: 0,
            limit: 100,
        }
    }
}

impl EventFilter {
    fn takes(&self, event: &tidegate_observe::Event) -> bool {
        let has_name = self.name.is_empty()
            || event
                .name
                .strip_prefix(&self.name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        has_name && (self.model.is_empty() || self.model == event.model) && event.id > self.after
    }
}

/// Something that happened once.
#[derive(Serialize, ToSchema)]
pub(crate) struct Event {
    /// Larger than that of every event before it.
    id: u64,
    /// The time, in milliseconds since 1970.
    at_ms: u64,
    /// Its name, such as version.load_failed.
    name: String,
    /// The model or endpoint that it is about.
    #[serde(skip_serializing_if = "String::is_empty")]
    model: String,
    /// The version that it is about.
    #[serde(skip_serializing_if = "String::is_empty")]
    version: String,
    /// Further numbers and texts.
    #[schema(value_type = Object)]
    fields: BTreeMap<String, serde_json::Value>,
}

/// The last thousand events, the newest first.
#[utoipa::path(get, path = "/api/events", tag = "operations", params(EventFilter),
    responses((status = 200, body = Vec<Event>), (status = 400, body = ErrorBody)))]
async fn events(
    State(journal): State<Arc<EventJournal>>,
    query: Result<axum::extract::Query<EventFilter>, QueryRejection>,
) -> Result<Json<Vec<Event>>, ApiError> {
    let axum::extract::Query(filter) =
        query.map_err(|error| InferError::new(ErrorCode::InvalidParameter, error.body_text()))?;
    let limit = usize::from(filter.limit).min(MAX_EVENTS);
    let events = journal.newest(|event| filter.takes(event), limit);
    Ok(Json(events.into_iter().map(Event::from).collect()))
}

impl From<tidegate_observe::Event> for Event {
    fn from(event: tidegate_observe::Event) -> Self {
        Self {
            id: event.id,
            at_ms: event.at_ms,
            name: event.name,
            model: event.model,
            version: event.version,
            fields: event.fields,
        }
    }
}
