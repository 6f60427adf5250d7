//! The group of replicas that this server is one of.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use tidegate_serving::{ErrorCode, InferError};
use utoipa::ToSchema;

use super::answer::{ApiError, ErrorBody};
use crate::app::App;
use crate::replicas::GroupStatus;

/// A group of replicas, as one of them sees it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Group {
    group: String,
    /// The server that answers.
    name: String,
    /// The replica that tells people of the alerts that all have; absent while it is not certain.
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

/// A server of a group that was heard of within a minute.
#[derive(Serialize, ToSchema)]
pub(crate) struct Replica {
    name: String,
    /// When it was last heard of, in milliseconds since 1970.
    seen_ms: i64,
}

/// The replicas of this server's group, and whether they are reached.
#[utoipa::path(get, path = "/api/replicas", tag = "operations", responses((status = 200, body = Group),
    (status = 404, description = "the server is alone", body = ErrorBody)))]
pub(crate) async fn replicas(State(app): State<Arc<App>>) -> Result<Json<Group>, ApiError> {
    let Some(replicas) = &app.replicas else {
        let message = "this server is alone: replicas.group in its configuration names no group";
        return Err(InferError::new(ErrorCode::NotFound, message).into());
    };
    let GroupStatus {
        group,
        name,
        teller,
        replicas,
        exchanged_ms,
        problem,
    } = replicas.status();
    let replicas = replicas
        .into_iter()
        .map(|replica| Replica {
            name: replica.name,
            seen_ms: replica.seen_ms,
        })
        .collect();
    Ok(Json(Group {
        group,
        name,
        tells_alerts: teller,
        replicas,
        exchanged_ms,
        problem,
    }))
}
