//! `/api/traffic`.

mod bodies;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::{HeaderMap, HeaderValue, header};
use serde_json::Value;
use tidegate_delivery::policy::TrafficPolicy;
use tidegate_gateway::{Caller, Permission};
use tidegate_serving::{ErrorCode, InferError};
use utoipa::OpenApi;

use self::bodies::{
    CheckedPolicy, EndpointPolicy, NewPolicy, PolicyChange, PolicyToCheck, PolicyUndo,
    PolicyUpdate, ShadowFigures,
};
use super::Traffic;
use super::change::{Changed, WantedChange, Wish, unavailable};
use crate::audit::AuditStates;
use crate::rest::{ApiError, ErrorBody, Path, body};
use crate::routes::Routes;

/// The newest changes that the history shows.
const MAX_HISTORY: u16 = 200;

#[derive(OpenApi)]
#[openapi(paths(list, show, set, remove, check, history, undo, shadows))]
struct Description;

pub(crate) fn description() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

pub(super) fn routes(traffic: Arc<Traffic>) -> Routes<()> {
    use Permission::{ManageTraffic, ViewModels};
    Routes::described_by(description())
        .get("/api/traffic", ViewModels, list)
        .get("/api/traffic/{name}", ViewModels, show)
        .put("/api/traffic/{name}", ManageTraffic, set)
        .audited("traffic.set", "endpoint")
        .delete("/api/traffic/{name}", ManageTraffic, remove)
        .audited("traffic.remove", "endpoint")
        .post("/api/traffic/{name}/check", ViewModels, check)
        .get("/api/traffic/{name}/history", ViewModels, history)
        .post("/api/traffic/{name}/undo", ManageTraffic, undo)
        .audited("traffic.undo", "endpoint")
        .get("/api/traffic/{name}/shadows", ViewModels, shadows)
        .with_state(traffic)
}

/// Lists the endpoints that have a traffic policy.
#[utoipa::path(get, path = "/api/traffic", tag = "traffic",
    responses((status = 200, body = [EndpointPolicy]), (status = 403, body = ErrorBody)))]
async fn list(State(traffic): State<Arc<Traffic>>) -> Json<Vec<EndpointPolicy>> {
    let endpoints: Vec<String> = traffic.state.lock().wanted.keys().cloned().collect();
    let policies = endpoints
        .iter()
        .filter_map(|endpoint| EndpointPolicy::of(&traffic, endpoint));
    Json(policies.collect())
}

/// Shows the traffic policy of an endpoint. `ETag` has its revision.
#[utoipa::path(get, path = "/api/traffic/{name}", tag = "traffic", params(("name" = String, Path)),
    responses((status = 200, body = EndpointPolicy), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody)))]
async fn show(
    State(traffic): State<Arc<Traffic>>,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    let policy = EndpointPolicy::of(&traffic, &name).ok_or_else(|| no_policy(&name))?;
    let etag = HeaderValue::from_str(&format!("\"{}\"", policy.revision));
    let mut response = Json(policy).into_response();
    if let Ok(etag) = etag {
        response.headers_mut().insert(header::ETAG, etag);
    }
    Ok(response)
}

/// Sets the traffic policy of an endpoint. With `revision`, or its number in `If-Match`, only if nobody
/// changed it meanwhile.
#[utoipa::path(put, path = "/api/traffic/{name}", tag = "traffic", params(("name" = String, Path)),
    request_body = NewPolicy,
    responses((status = 200, body = PolicyUpdate), (status = 400, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 413, body = ErrorBody),
        (status = 415, body = ErrorBody), (status = 503, body = ErrorBody)))]
async fn set(
    State(traffic): State<Arc<Traffic>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    states: AuditStates,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<PolicyUpdate>, ApiError> {
    let new: NewPolicy = body::wanted(&headers, body, &traffic.server).await?;
    let change = WantedChange {
        endpoint: &name,
        actor: caller.principal().to_string(),
        comment: new.comment,
        expected: new.revision.or(if_match(&headers)?),
        to: Wish::Policy(Box::new(new.policy)),
    };
    traffic.changed(change, &states).await
}

/// Removes the policy that was set for an endpoint: that of the configuration decides again, or the
/// default version answers.
#[utoipa::path(delete, path = "/api/traffic/{name}", tag = "traffic",
    params(("name" = String, Path)),
    responses((status = 200, body = PolicyUpdate), (status = 400, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 503, body = ErrorBody)))]
async fn remove(
    State(traffic): State<Arc<Traffic>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    states: AuditStates,
    headers: HeaderMap,
) -> Result<Json<PolicyUpdate>, ApiError> {
    let change = WantedChange {
        endpoint: &name,
        actor: caller.principal().to_string(),
        comment: String::new(),
        expected: if_match(&headers)?,
        to: Wish::None,
    };
    traffic.changed(change, &states).await
}

/// Checks a policy, and says what it would change. Changes nothing.
#[utoipa::path(post, path = "/api/traffic/{name}/check", tag = "traffic",
    params(("name" = String, Path)), request_body = PolicyToCheck,
    responses((status = 200, body = CheckedPolicy), (status = 400, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 413, body = ErrorBody), (status = 415, body = ErrorBody)))]
async fn check(
    State(traffic): State<Arc<Traffic>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<CheckedPolicy>, ApiError> {
    let wanted: PolicyToCheck = body::wanted(&headers, body, &traffic.server).await?;
    traffic.check(&name, &wanted.policy).await?;
    let stored = traffic.state.lock().stored.get(&name).cloned();
    let before = traffic.policy_after(&name, stored.as_ref());
    Ok(Json(CheckedPolicy {
        revision: stored.map_or(0, |change| change.revision),
        changes: super::in_words::changes(before.as_ref(), Some(&wanted.policy)),
    }))
}

/// Lists the changes of an endpoint's policy, the newest first.
#[utoipa::path(get, path = "/api/traffic/{name}/history", tag = "traffic",
    params(("name" = String, Path)),
    responses((status = 200, body = [PolicyChange]), (status = 403, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 503, body = ErrorBody)))]
async fn history(
    State(traffic): State<Arc<Traffic>>,
    Path(name): Path<String>,
) -> Result<Json<Vec<PolicyChange>>, ApiError> {
    let store = traffic.kept_store().await?;
    let changes = store.traffic_history(&name, MAX_HISTORY + 1).await;
    let changes = changes.map_err(unavailable)?;
    let shown = changes.iter().take(usize::from(MAX_HISTORY)).enumerate();
    let shown = shown.map(|(at, change)| {
        let before = traffic.policy_after(&name, changes.get(at + 1));
        let after = traffic.policy_after(&name, Some(change));
        PolicyChange::new(change, before, after)
    });
    Ok(Json(shown.collect()))
}

/// Takes the last change of a policy back, or goes back to an earlier revision.
#[utoipa::path(post, path = "/api/traffic/{name}/undo", tag = "traffic",
    params(("name" = String, Path)), request_body = PolicyUndo,
    responses((status = 200, body = PolicyUpdate), (status = 400, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 413, body = ErrorBody),
        (status = 415, body = ErrorBody), (status = 503, body = ErrorBody)))]
async fn undo(
    State(traffic): State<Arc<Traffic>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    states: AuditStates,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<PolicyUpdate>, ApiError> {
    let undo: PolicyUndo = body::wanted(&headers, body, &traffic.server).await?;
    let change = WantedChange {
        endpoint: &name,
        actor: caller.principal().to_string(),
        comment: undo.comment,
        expected: undo.revision.or(if_match(&headers)?),
        to: Wish::Revision(undo.to),
    };
    traffic.changed(change, &states).await
}

/// Shows what the shadows of an endpoint have answered on this server.
#[utoipa::path(get, path = "/api/traffic/{name}/shadows", tag = "traffic",
    params(("name" = String, Path)),
    responses((status = 200, body = [ShadowFigures]), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody)))]
async fn shadows(
    State(traffic): State<Arc<Traffic>>,
    Path(name): Path<String>,
) -> Result<Json<Vec<ShadowFigures>>, ApiError> {
    let Some(policy) = traffic.table().of(&name) else {
        return Err(no_policy(&name).into());
    };
    let mut reports = traffic.table().shadow_reports(&name);
    let shadows = policy.policy().shadows().iter().map(|shadow| {
        let report = reports.remove(shadow.version.as_str()).unwrap_or_default();
        ShadowFigures::new(shadow, &report)
    });
    Ok(Json(shadows.collect()))
}

impl Traffic {
    async fn changed(
        &self,
        change: WantedChange<'_>,
        states: &AuditStates,
    ) -> Result<Json<PolicyUpdate>, ApiError> {
        let endpoint = change.endpoint.to_owned();
        let changed = self.change(change).await?;
        let Changed {
            revision,
            before,
            after,
            changes,
        } = changed;
        states.before(state_of(before.as_ref()));
        states.after(state_of(after.as_ref()));
        let waiting = self.state.lock().waiting.get(&endpoint).cloned();
        Ok(Json(PolicyUpdate {
            revision,
            changes,
            in_force: waiting.is_none(),
            waiting,
        }))
    }
}

fn state_of(policy: Option<&TrafficPolicy>) -> Value {
    serde_json::to_value(policy).unwrap_or_default()
}

/// The revision that the request is about, if it says so.
fn if_match(headers: &HeaderMap) -> Result<Option<i64>, InferError> {
    let Some(value) = headers.get(header::IF_MATCH) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default().trim();
    let number = text.trim_start_matches("W/").trim_matches('"').parse();
    match number {
        Ok(number) => Ok(Some(number)),
        Err(_) => {
            let message = "If-Match must have the revision, as in \"3\"";
            Err(InferError::new(ErrorCode::InvalidParameter, message))
        }
    }
}

fn no_policy(endpoint: &str) -> InferError {
    let message = format!("\"{endpoint}\" has no traffic policy: its default version answers");
    InferError::new(ErrorCode::NotFound, message)
}
