//! `GET /api/audit`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use tidegate_gateway::{Caller, Permission};
use tidegate_serving::{ErrorCode, InferError};
use tidegate_store::{AuditAnchor, AuditFilter, AuditRecord, Store, StoreError};
use utoipa::{IntoParams, OpenApi, ToSchema};

use super::AuditLog;
use crate::rest::{ApiError, ErrorBody};
use crate::routes::Routes;

/// Most rows of one answer: with the largest states, some 9 MB.
const MAX_ROWS: u16 = 250;
/// Longest that a page is read.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(OpenApi)]
#[openapi(paths(page))]
struct Description;

pub(crate) fn description() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

pub(super) fn routes(log: Arc<AuditLog>) -> Routes<()> {
    Routes::described_by(description())
        .get("/api/audit", Permission::ViewAudit, page)
        .with_state(log)
}

/// Which rows are wanted.
#[derive(Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AuditQuery {
    /// The number of the first row: rows from it on, oldest first, for an export. Without it, the newest
    /// rows that the other parameters take, oldest first.
    from: Option<i64>,
    /// Only what this principal did.
    actor: String,
    /// Only this action, and those whose name begins with it and a full stop.
    action: String,
    /// Only what was done to the resource of this name.
    resource: String,
    /// Only rows at or after this time, in milliseconds since 1970.
    since_ms: i64,
    /// The largest number of rows to return.
    #[param(minimum = 1, maximum = 250)]
    limit: u16,
}

impl Default for AuditQuery {
    fn default() -> Self {
        Self {
            from: None,
            actor: String::new(),
            action: String::new(),
            resource: String::new(),
            since_ms: 0,
            limit: 100,
        }
    }
}

/// Rows of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditPage {
    /// The rows, oldest first.
    #[schema(value_type = Vec<AuditRow>)]
    pub rows: Vec<AuditRecord>,
    /// The last row that was removed from the front; number 0 if none was.
    #[schema(value_type = RemovedRow)]
    pub removed: AuditAnchor,
}

/// A row of the audit log.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes AuditRecord")]
struct AuditRow {
    /// 1 for the first, and one more for each after it.
    number: i64,
    /// When, in milliseconds since 1970.
    at_ms: i64,
    /// Who did it.
    actor: String,
    /// The actor's tenant; empty for none.
    tenant: String,
    /// What was done.
    action: String,
    resource_kind: String,
    resource: String,
    /// The address that the request came from; empty if it was done on the server's machine.
    source: String,
    /// `started`, `ok`, `denied` or `failed`.
    result: String,
    code: String,
    occurrences: i64,
    state_before: String,
    state_after: String,
    previous_hash: String,
    hash: String,
}

/// A row that is not in the log any more.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes AuditAnchor")]
struct RemovedRow {
    number: i64,
    hash: String,
}

/// Rows of the audit log: a page of all rows, or the newest ones that a filter takes. Callers of a tenant
/// get what their tenant did, and no page of all rows.
#[utoipa::path(get, path = "/api/audit", tag = "operations", params(AuditQuery),
    responses((status = 200, body = AuditPage), (status = 400, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 405, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
async fn page(
    State(log): State<Arc<AuditLog>>,
    Extension(caller): Extension<Caller>,
    query: Result<Query<AuditQuery>, QueryRejection>,
) -> Result<Json<AuditPage>, ApiError> {
    let Query(query) =
        query.map_err(|error| InferError::new(ErrorCode::InvalidParameter, error.body_text()))?;
    query.check(&caller)?;
    let audit = log.audit.as_ref().ok_or_else(no_log)?;
    let store = audit
        .store()
        .await
        .map_err(|error| unavailable(&error.to_string()))?;
    let read = tokio::time::timeout(READ_TIMEOUT, query.read(&store, &caller)).await;
    let page = read.map_err(|_| unavailable("the database does not answer in time"))?;
    Ok(Json(page.map_err(|error| unavailable(&error.to_string()))?))
}

impl AuditQuery {
    fn check(&self, caller: &Caller) -> Result<(), InferError> {
        let limit = self.limit;
        if !(1..=MAX_ROWS).contains(&limit) {
            let message = format!("limit is {limit}, it must be from 1 to {MAX_ROWS}");
            return Err(InferError::new(ErrorCode::InvalidParameter, message));
        }
        if self.from.is_none() {
            return Ok(());
        }
        let texts = [&self.actor, &self.action, &self.resource];
        if self.since_ms != 0 || texts.iter().any(|text| !text.is_empty()) {
            let message = "from gives all rows: it goes with limit only";
            return Err(InferError::new(ErrorCode::InvalidParameter, message));
        }
        if !caller.tenant().is_empty() {
            let message = "the whole log is of all tenants, and you are of one";
            return Err(InferError::new(ErrorCode::Forbidden, message));
        }
        Ok(())
    }

    async fn read(self, store: &Store, caller: &Caller) -> Result<AuditPage, StoreError> {
        // Before the rows: a removal in between shows as rows that are missing, and is asked for again.
        let removed = store.audit_removed().await?;
        let limit = i64::from(self.limit);
        let rows = match self.from {
            Some(from) => store.audit_from(from, limit).await?,
            None => {
                let filter = AuditFilter {
                    actor: self.actor,
                    tenant: caller.tenant().to_owned(),
                    action: self.action,
                    resource: self.resource,
                    since_ms: self.since_ms,
                };
                store.audit(&filter, limit).await?
            }
        };
        Ok(AuditPage { rows, removed })
    }
}

fn no_log() -> InferError {
    let message = "this server keeps no audit log (audit.enabled)";
    InferError::new(ErrorCode::MethodNotAllowed, message)
}

fn unavailable(problem: &str) -> InferError {
    let message = format!("the audit log cannot be read: {problem}");
    InferError::new(ErrorCode::AuditUnavailable, message)
}
