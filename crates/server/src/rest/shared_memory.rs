//! The shared memory extensions of the protocol: which regions are registered.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;

use super::answer::{ApiError, ErrorBody};
use super::path::Path;
use super::repository::optional_json;
use crate::audit::AuditStates;
use crate::front_end::FrontEnd;
use crate::shared_memory::{RegionStatus, no_cuda_shared_memory};

/// The region to register.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct RegisterRequest {
    /// The name of the shared memory object, as for `shm_open`.
    key: String,
    /// Where the region begins in the object, in bytes.
    offset: u64,
    /// The size of the region, in bytes.
    byte_size: u64,
}

/// All registered regions.
#[utoipa::path(get, path = "/v2/systemsharedmemory/status", tag = "shared memory",
    responses((status = 200, body = Vec<RegionStatus>), (status = 400, body = ErrorBody)))]
pub(crate) async fn all(
    State(front_end): State<Arc<FrontEnd>>,
) -> Result<Json<Vec<RegionStatus>>, ApiError> {
    Ok(Json(front_end.shared_memory.status(None)?))
}

/// One registered region, in a list of one.
#[utoipa::path(get, path = "/v2/systemsharedmemory/region/{region}/status", tag = "shared memory",
    params(("region" = String, Path)),
    responses((status = 200, body = Vec<RegionStatus>), (status = 400, body = ErrorBody), (status = 405, body = ErrorBody)))]
pub(crate) async fn one(
    State(front_end): State<Arc<FrontEnd>>,
    Path(region): Path<String>,
) -> Result<Json<Vec<RegionStatus>>, ApiError> {
    Ok(Json(front_end.shared_memory.status(Some(&region))?))
}

/// Registers a part of a shared memory object of this machine.
#[utoipa::path(post, path = "/v2/systemsharedmemory/region/{region}/register", tag = "shared memory",
    params(("region" = String, Path)), request_body = RegisterRequest,
    responses((status = 200, description = "it is registered"), (status = 400, body = ErrorBody), (status = 405, body = ErrorBody)))]
pub(crate) async fn register(
    State(front_end): State<Arc<FrontEnd>>,
    Path(region): Path<String>,
    states: AuditStates,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let request: RegisterRequest = optional_json(&front_end, &headers, body).await?;
    let memory = &front_end.shared_memory;
    states.before(memory.audit_state());
    let registered = memory.register(RegionStatus {
        name: region,
        key: request.key,
        offset: request.offset,
        byte_size: request.byte_size,
    });
    states.after(memory.audit_state());
    registered?;
    Ok(StatusCode::OK)
}

/// Forgets a region.
#[utoipa::path(post, path = "/v2/systemsharedmemory/region/{region}/unregister", tag = "shared memory",
    params(("region" = String, Path)),
    responses((status = 200, description = "it is not registered"), (status = 405, body = ErrorBody)))]
pub(crate) async fn unregister(
    State(front_end): State<Arc<FrontEnd>>,
    Path(region): Path<String>,
    states: AuditStates,
) -> Result<StatusCode, ApiError> {
    forget(&front_end, Some(&region), &states)
}

/// Forgets all regions.
#[utoipa::path(post, path = "/v2/systemsharedmemory/unregister", tag = "shared memory",
    responses((status = 200, description = "none is registered"), (status = 405, body = ErrorBody)))]
pub(crate) async fn unregister_all(
    State(front_end): State<Arc<FrontEnd>>,
    states: AuditStates,
) -> Result<StatusCode, ApiError> {
    forget(&front_end, None, &states)
}

fn forget(
    front_end: &FrontEnd,
    region: Option<&str>,
    states: &AuditStates,
) -> Result<StatusCode, ApiError> {
    let memory = &front_end.shared_memory;
    states.before(memory.audit_state());
    let forgotten = memory.unregister(region);
    states.after(memory.audit_state());
    forgotten?;
    Ok(StatusCode::OK)
}

/// The registered regions of CUDA shared memory: none.
#[utoipa::path(get, path = "/v2/cudasharedmemory/status", tag = "shared memory",
    responses((status = 200, body = Vec<RegionStatus>)))]
pub(crate) async fn cuda_all() -> Json<Vec<RegionStatus>> {
    Json(Vec::new())
}

/// CUDA shared memory is not supported.
#[utoipa::path(post, path = "/v2/cudasharedmemory/region/{region}/register", tag = "shared memory",
    params(("region" = String, Path)), responses((status = 400, body = ErrorBody)))]
pub(crate) async fn cuda_register() -> ApiError {
    no_cuda_shared_memory().into()
}

/// There is no CUDA shared memory, as clients want it that begin with this call.
#[utoipa::path(post, path = "/v2/cudasharedmemory/unregister", tag = "shared memory",
    responses((status = 200, description = "none is registered")))]
pub(crate) async fn cuda_unregister() -> StatusCode {
    StatusCode::OK
}
