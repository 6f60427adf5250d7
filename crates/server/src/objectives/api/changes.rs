//! Setting and removing objectives, and letting rollouts go on.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tidegate_observe::{BudgetPolicy, Objective, SliKind, Window};
use tidegate_serving::{ErrorCode, InferError};
use utoipa::ToSchema;

use crate::audit::AuditStates;
use crate::clock::now_ms;
use crate::group_notes;
use crate::objectives::{ChangeError, Objectives};
use crate::rest::{ApiError, ErrorBody, Path, body};

/// Longest that rollouts may go on without a budget: a week.
const MAX_THAW_S: u64 = 604_800;

/// The objective to set. The defaults are those of a `[[slo]]` section.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewObjective {
    /// The model whose requests count, or `*` for all.
    endpoint: Option<String>,
    /// availability or latency.
    #[schema(value_type = Option<String>)]
    sli: Option<SliKind>,
    /// For latency: the threshold in milliseconds.
    threshold_ms: Option<f64>,
    /// The target share of good requests, above 0 and below 1.
    target: Option<f64>,
    /// Such as `30d`, or `month`.
    #[schema(value_type = Option<String>)]
    window: Option<Window>,
    tier: Option<String>,
    /// Minimum number of requests in an alert's long window before it fires.
    min_events: Option<u64>,
    /// What happens when the budget is spent: none or freeze.
    #[schema(value_type = Option<String>)]
    policy: Option<BudgetPolicy>,
}

/// Sets an objective, and replaces one of the same name that was set before. It survives restarts.
#[utoipa::path(put, path = "/api/slos/{name}", tag = "operations", params(("name" = String, Path)),
    request_body = NewObjective, responses((status = 200, description = "it is set and counts from now on"),
        (status = 400, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 409, description = "the objective is in the configuration", body = ErrorBody),
        (status = 413, body = ErrorBody), (status = 415, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn set(
    State(objectives): State<Arc<Objectives>>,
    Path(name): Path<String>,
    states: AuditStates,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let wanted: NewObjective = body::wanted(&headers, body, &objectives.limits).await?;
    let wanted = wanted.named(name);
    states.before(json!(objectives.set_before(&wanted.name)));
    let after = json!(wanted);
    objectives
        .set_objective(wanted)
        .await
        .map_err(InferError::from)?;
    states.after(after);
    objectives.check_saved()?;
    Ok(StatusCode::OK)
}

/// Removes an objective that was set, and its counts.
#[utoipa::path(delete, path = "/api/slos/{name}", tag = "operations", params(("name" = String, Path)),
    responses((status = 200, description = "it is removed"), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, description = "the objective is in the configuration", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn remove(
    State(objectives): State<Arc<Objectives>>,
    Path(name): Path<String>,
    states: AuditStates,
) -> Result<StatusCode, ApiError> {
    states.before(json!(objectives.set_before(&name)));
    objectives
        .remove_objective(&name)
        .await
        .map_err(InferError::from)?;
    objectives.check_saved()?;
    Ok(StatusCode::OK)
}

/// How long rollouts may go on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Thaw {
    /// For how long, in seconds; at most a week.
    duration_s: u64,
    /// Who asks for it.
    author: String,
    /// The reason.
    comment: String,
}

/// Lets rollouts continue for some time although the objective's error budget is used up.
#[utoipa::path(post, path = "/api/slos/{name}/thaw", tag = "operations", params(("name" = String, Path)),
    request_body = Thaw, responses((status = 200, description = "rollouts continue"), (status = 400, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 413, body = ErrorBody),
        (status = 415, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn thaw(
    State(objectives): State<Arc<Objectives>>,
    Path(name): Path<String>,
    states: AuditStates,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let wanted: Thaw = body::wanted(&headers, body, &objectives.limits).await?;
    let thaw = wanted.parse(now_ms())?;
    if objectives.thaw(&name, &thaw).await.is_none() {
        let message = format!("there is no objective {name:?} with the policy freeze");
        return Err(InferError::new(ErrorCode::NotFound, message).into());
    }
    states.after(json!(thaw));
    objectives.check_saved()?;
    Ok(StatusCode::OK)
}

impl Thaw {
    fn parse(self, now_ms: u64) -> Result<group_notes::Thaw, InferError> {
        if !(1..=MAX_THAW_S).contains(&self.duration_s) {
            return Err(wrong("duration_s must be 1 to 604800, a week"));
        }
        // Whoever sees that rollouts go on needs somebody to ask, and a reason.
        if self.author.trim().is_empty() || self.comment.trim().is_empty() {
            return Err(wrong("it needs an author and a comment"));
        }
        Ok(group_notes::Thaw {
            until_ms: now_ms + 1000 * self.duration_s,
            author: self.author,
            comment: self.comment,
        })
    }
}

fn wrong(message: &'static str) -> InferError {
    InferError::new(ErrorCode::InvalidParameter, message)
}

impl From<ChangeError> for InferError {
    fn from(error: ChangeError) -> Self {
        let code = match error {
            ChangeError::Wrong(_) | ChangeError::TooMany => ErrorCode::InvalidParameter,
            ChangeError::Configured(_) => ErrorCode::Conflict,
            ChangeError::Unknown(_) => ErrorCode::NotFound,
        };
        Self::new(code, error.to_string())
    }
}

impl NewObjective {
    fn named(self, name: String) -> Objective {
        let default = Objective::default();
        Objective {
            name,
            endpoint: self.endpoint.unwrap_or(default.endpoint),
            sli: self.sli.unwrap_or(default.sli),
            threshold_ms: self.threshold_ms,
            target: self.target.unwrap_or(default.target),
            window: self.window.unwrap_or(default.window),
            tier: self.tier.unwrap_or(default.tier),
            min_events: self.min_events.unwrap_or(default.min_events),
            policy: self.policy.unwrap_or(default.policy),
        }
    }
}
