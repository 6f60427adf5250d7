//! `GET /api/replicas`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use tidegate_gateway::Permission;
use tidegate_serving::{ErrorCode, InferError};
use utoipa::{OpenApi, ToSchema};

use super::{GroupStatus, Replicas};
use crate::rest::{ApiError, ErrorBody};
use crate::routes::Routes;

#[derive(OpenApi)]
#[openapi(paths(replicas))]
struct Description;

pub(crate) fn description() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

pub(super) fn routes(replicas: Arc<Replicas>) -> Routes<()> {
    Routes::described_by(description())
        .get("/api/replicas", Permission::ViewOperations, self::replicas)
        .with_state(replicas)
}

/// A group of replicas, as one of them sees it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Group {
    group: String,
    /// The server that answers.
    name: String,
    /// The replica that sends the alerts of the group; absent while it is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    tells_alerts: Option<String>,
    replicas: Vec<Replica>,
    /// When this server last exchanged counts with the others, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    exchanged_ms: Option<u64>,
    /// Why the last exchange failed; absent if it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// A server of a group that exchanged counts within the last minute.
#[derive(Serialize, ToSchema)]
pub(crate) struct Replica {
    name: String,
    /// When it last exchanged counts, in milliseconds since 1970.
    seen_ms: i64,
}

/// The replicas of this server's group, and whether they are reached.
#[utoipa::path(get, path = "/api/replicas", tag = "operations", responses((status = 200, body = Group),
    (status = 404, description = "the server is alone", body = ErrorBody)))]
async fn replicas(State(replicas): State<Arc<Replicas>>) -> Result<Json<Group>, ApiError> {
    let Some(status) = replicas.status() else {
        let message = "this server has no group: replicas.group is not set";
        return Err(InferError::new(ErrorCode::NotFound, message).into());
    };
    Ok(Json(status.into()))
}

impl From<GroupStatus> for Group {
    fn from(status: GroupStatus) -> Self {
        let replicas = status.replicas.into_iter().map(|replica| Replica {
            name: replica.name,
            seen_ms: replica.seen_ms,
        });
        Self {
            group: status.group,
            name: status.name,
            tells_alerts: status.alert_sender,
            replicas: replicas.collect(),
            exchanged_ms: status.exchanged_ms,
            problem: status.problem,
        }
    }
}
