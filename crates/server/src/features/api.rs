//! The API of the embedded store, under `/api/features`.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use http::HeaderMap;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tidegate_features::{Embedded, EmbeddedError, FeatureRow, exact_json};
use tidegate_gateway::Permission::ManageFeatures;
use tidegate_serving::{ErrorCode, InferError, MemoryReservation};
use utoipa::{OpenApi, ToSchema};

use super::Features;
use crate::audit::AuditStates;
use crate::clock::now_ms;
use crate::request_memory;
use crate::rest::{ApiError, ErrorBody, body};
use crate::routes::Routes;

/// The largest body of these requests, in bytes.
const MAX_BODY_BYTES: usize = 16 << 20;

#[derive(OpenApi)]
#[openapi(paths(put, get, delete))]
struct Description;

fn description() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

pub(super) fn routes(features: Arc<Features>) -> Routes<()> {
    // Features are personal data: reading them is recorded too.
    Routes::described_by(description())
        .put("/api/features", ManageFeatures, put)
        .audited("features.put", "features")
        .post("/api/features/get", ManageFeatures, get)
        .audited("features.get", "features")
        .post("/api/features/delete", ManageFeatures, delete)
        .audited("features.delete", "features")
        .with_state(features)
}

/// Features to write.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FeatureRows {
    /// Each `{"view": "driver", "entity": {"driver_id": 7}, "features": {"rate": 0.5}, "event_time":
    /// "2026-01-31T12:00:00Z"}`; without `event_time` it is of now.
    #[schema(value_type = Vec<Object>)]
    rows: Vec<FeatureRow>,
}

/// What became of them.
#[derive(Serialize, ToSchema)]
pub(crate) struct FeaturesPut {
    /// Values that were written.
    written: u64,
    /// Values that were left out, since the store has newer ones.
    older: u64,
}

/// An entity of a view.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FeatureEntity {
    /// The view.
    view: String,
    /// The value of each join key; only when features are deleted it may be left out, for all entities
    /// of the view.
    #[serde(default)]
    #[schema(value_type = Object)]
    entity: Map<String, Value>,
}

/// The features of an entity.
#[derive(Serialize, ToSchema)]
pub(crate) struct FeatureValues {
    /// In the order of their names.
    features: Vec<FeatureOfEntity>,
}

/// A feature of an entity.
#[derive(Serialize, ToSchema)]
pub(crate) struct FeatureOfEntity {
    /// Its name.
    feature: String,
    /// Its value.
    #[schema(value_type = Object)]
    value: Value,
    /// When the value was true, in milliseconds since 1970.
    event_ms: i64,
}

/// How many values were removed.
#[derive(Serialize, ToSchema)]
pub(crate) struct FeaturesDeleted {
    deleted: u64,
}

/// Writes features to the embedded store, all or none. A value that is older than that of the store is
/// left out.
#[utoipa::path(put, path = "/api/features", tag = "features", request_body = FeatureRows,
    responses((status = 200, body = FeaturesPut), (status = 400, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
pub(crate) async fn put(
    State(features): State<Arc<Features>>,
    states: AuditStates,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<FeaturesPut>, ApiError> {
    let (wanted, _memory): (FeatureRows, _) = features.wanted(&headers, body).await?;
    let store = features.embedded()?;
    let now_ms = i64::try_from(now_ms()).unwrap_or(i64::MAX);
    let outcome = store.put(&wanted.rows, now_ms).await;
    let outcome = outcome.map_err(store_error)?;
    states.after(json!(outcome));
    let (written, older) = (outcome.written, outcome.older);
    Ok(Json(FeaturesPut { written, older }))
}

/// All features of an entity in the embedded store.
#[utoipa::path(post, path = "/api/features/get", tag = "features", request_body = FeatureEntity,
    responses((status = 200, body = FeatureValues), (status = 400, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
pub(crate) async fn get(
    State(features): State<Arc<Features>>,
    states: AuditStates,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<FeatureValues>, ApiError> {
    let (wanted, _memory): (FeatureEntity, _) = features.wanted(&headers, body).await?;
    states.resource(&wanted.view);
    let stored = features.embedded()?.get(&wanted.row()).await;
    let stored = stored.map_err(store_error)?.into_iter();
    let values = stored.map(|stored| FeatureOfEntity {
        feature: stored.feature,
        value: stored.value,
        event_ms: stored.event_ms,
    });
    let features = values.collect();
    Ok(Json(FeatureValues { features }))
}

/// Removes an entity, or a whole view, from the embedded store.
#[utoipa::path(post, path = "/api/features/delete", tag = "features", request_body = FeatureEntity,
    responses((status = 200, body = FeaturesDeleted), (status = 400, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
pub(crate) async fn delete(
    State(features): State<Arc<Features>>,
    states: AuditStates,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<FeaturesDeleted>, ApiError> {
    let (wanted, _memory): (FeatureEntity, _) = features.wanted(&headers, body).await?;
    states.resource(&wanted.view);
    let deleted = features.embedded()?.delete(&wanted.row()).await;
    let deleted = deleted.map_err(store_error)?;
    states.after(json!({"deleted": deleted}));
    Ok(Json(FeaturesDeleted { deleted }))
}

impl Features {
    /// The JSON value of a body, and the memory that it takes.
    async fn wanted<T: DeserializeOwned>(
        &self,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(T, MemoryReservation), InferError> {
        let mut memory = request_memory::begin(&self.memory);
        let max_bytes = self.server.max_body_bytes.min(MAX_BODY_BYTES);
        let body = body::read_at_most(max_bytes, headers, body, &self.server, &mut memory).await?;
        let wanted = exact_json(&body).map_err(|problem| {
            let message = format!("the body cannot be read: {problem}");
            InferError::new(ErrorCode::MalformedJson, message)
        })?;
        let wanted = serde_json::from_value(wanted).map_err(|error| {
            let message = format!("the body cannot be read: {error}");
            InferError::new(ErrorCode::MalformedRequest, message)
        })?;
        Ok((wanted, memory))
    }

    fn embedded(&self) -> Result<&Embedded, InferError> {
        let message = "this server has no data folder, so it has no embedded feature store";
        let embedded = self.stores.embedded();
        embedded.ok_or_else(|| InferError::new(ErrorCode::NotFound, message))
    }
}

impl FeatureEntity {
    fn row(self) -> FeatureRow {
        FeatureRow {
            view: self.view,
            entity: self.entity.into_iter().collect(),
            ..FeatureRow::default()
        }
    }
}

fn store_error(error: EmbeddedError) -> InferError {
    let code = match error {
        EmbeddedError::Row { .. } | EmbeddedError::TooMany(_) => ErrorCode::InvalidParameter,
        EmbeddedError::Full | EmbeddedError::Database { .. } => ErrorCode::FeaturesUnavailable,
    };
    InferError::new(code, error.to_string())
}
