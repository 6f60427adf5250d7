//! How the service level objectives stand.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use tidegate_observe::{AlertState, BurnWindow, Event, Sli};
use tidegate_serving::{ErrorCode, InferError, VersionNames};
use utoipa::ToSchema;

use super::answer::{ErrorBody, Refusal};
use super::body;
use super::path::Path;
use crate::app::App;
use crate::clock::now_ms;
use crate::objectives::Status;

const MAX_BODY_BYTES: usize = 64 << 10;
/// Longest that rollouts may go on without a budget: a week.
const MAX_THAW_S: u64 = 604_800;

/// An objective and how it stands.
#[derive(Serialize, ToSchema)]
pub(crate) struct ObjectiveStatus {
    name: String,
    /// The model whose requests count, or `*` for all.
    endpoint: String,
    /// availability or latency.
    sli: &'static str,
    /// Up to how many milliseconds an answer is in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold_ms: Option<f64>,
    target: f64,
    /// Such as `30d`, or `month`.
    window: String,
    tier: String,
    /// Good requests in the window.
    good: u64,
    /// Requests in the window that count.
    total: u64,
    /// What is left of the error budget: 1 if no request was bad, 0 if as many were as may be, below that if more were.
    budget_remaining: f64,
    /// When the budget will be spent if the last hour goes on, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    exhausted_ms: Option<u64>,
    /// The burn rate by window: at 1 the budget lasts exactly for the objective's window.
    burn_rates: BTreeMap<&'static str, Option<f64>>,
    alerts: Vec<Alert>,
    /// What a spent budget does: none or freeze.
    policy: &'static str,
    /// Since when rollouts wait because the budget is spent, in milliseconds since 1970; absent if they do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    frozen_since_ms: Option<u64>,
    /// What waits meanwhile: by model, the aliases that would move, with their versions.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    held_back: BTreeMap<String, BTreeMap<String, u64>>,
}

/// An alert of an objective.
#[derive(Serialize, ToSchema)]
pub(crate) struct Alert {
    /// Its windows, such as `1h5m`.
    id: &'static str,
    /// page or ticket.
    severity: &'static str,
    /// The burn rate above which it fires.
    factor: f64,
    /// inactive, pending, firing or resolved.
    state: &'static str,
    /// Since when, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    since_ms: Option<u64>,
}

/// The service level objectives, with what is left of their error budgets, burn rates and alerts.
#[utoipa::path(get, path = "/api/slos", tag = "operations", responses((status = 200, body = Vec<ObjectiveStatus>)))]
pub(crate) async fn slos(State(app): State<Arc<App>>) -> Json<Vec<ObjectiveStatus>> {
    let held_back = app.serving.fleet().map(|fleet| fleet.held_back()).unwrap_or_default();
    let status = |status: Status<'_>| {
        let is_own =
            |model: &String| status.frozen_since_ms.is_some() && status.slo.endpoint().is_none_or(|own| own == model);
        let held_back = held_back.iter().filter(|(model, _)| is_own(model)).map(named).collect();
        ObjectiveStatus { held_back, ..ObjectiveStatus::from(status) }
    };
    Json(app.objectives.status().into_iter().map(status).collect())
}

/// What is held back of a model, by the names that clients know.
fn named((model, names): (&String, &VersionNames)) -> (String, BTreeMap<String, u64>) {
    let name = |name: &str| if name.is_empty() { "default".to_owned() } else { name.to_owned() };
    (model.clone(), names.iter().map(|(own, version)| (name(own), *version)).collect())
}

/// How long rollouts may go on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Thaw {
    /// For how long, in seconds; at most a week.
    duration_s: u64,
    /// Who wants it.
    author: String,
    /// Why.
    comment: String,
}

/// Lets rollouts go on for a while although the objective's error budget is spent.
#[utoipa::path(post, path = "/api/slos/{name}/thaw", tag = "operations", params(("name" = String, Path)),
    request_body = Thaw, responses((status = 200, description = "they go on"), (status = 400, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody)))]
pub(crate) async fn thaw(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let body = body::read_at_most(app.config.max_body_bytes.min(MAX_BODY_BYTES), &headers, body, &app.config).await?;
    let wanted: Thaw = serde_json::from_slice(&body).map_err(|error| {
        let code = if error.is_data() { ErrorCode::MalformedRequest } else { ErrorCode::MalformedJson };
        InferError::new(code, format!("the body cannot be read: {error}"))
    })?;
    let wrong = |message: &'static str| Err(InferError::new(ErrorCode::InvalidParameter, message).into());
    if !(1..=MAX_THAW_S).contains(&wanted.duration_s) {
        return wrong("duration_s must be 1 to 604800, a week");
    }
    if wanted.author.trim().is_empty() || wanted.comment.trim().is_empty() {
        return wrong("it needs an author and a comment");
    }
    let now_ms = now_ms();
    let until_ms = now_ms + 1000 * wanted.duration_s;
    if app.objectives.lift_freeze(&name, until_ms).await.is_none() {
        let message = format!("there is no objective {name:?} with the policy freeze");
        return Err(InferError::new(ErrorCode::NotFound, message).into());
    }
    let event = Event::new("rollouts.thawed", now_ms).with("slo", name).with("until_ms", until_ms);
    let event = event.with("author", wanted.author).with("comment", wanted.comment);
    app.alerting.note_lifted(&app, event).await;
    Ok(StatusCode::OK)
}

impl From<Status<'_>> for ObjectiveStatus {
    fn from(status: Status<'_>) -> Self {
        let Status { slo, standing, alerts, frozen_since_ms } = status;
        Self {
            name: slo.name().to_owned(),
            endpoint: slo.endpoint().unwrap_or("*").to_owned(),
            sli: slo.sli().name(),
            threshold_ms: match slo.sli() {
                Sli::Latency(bound) => Some(bound.ms()),
                Sli::Availability => None,
            },
            target: slo.target(),
            window: slo.window().to_string(),
            tier: slo.tier().to_owned(),
            good: standing.counts.good,
            total: standing.counts.total,
            budget_remaining: standing.budget_remaining,
            exhausted_ms: standing.exhausted_ms,
            burn_rates: BurnWindow::ALL
                .iter()
                .zip(standing.burns)
                .map(|(window, burn)| (window.name(), burn.rate))
                .collect(),
            alerts: alerts.into_iter().map(|(alert, state)| Alert::new(alert, state)).collect(),
            policy: slo.policy().name(),
            frozen_since_ms,
            held_back: BTreeMap::new(),
        }
    }
}

impl Alert {
    fn new(alert: &'static tidegate_observe::BurnAlert, state: AlertState) -> Self {
        let (state, since_ms) = match state {
            AlertState::Inactive => ("inactive", None),
            AlertState::Pending { since_ms } => ("pending", Some(since_ms)),
            AlertState::Firing { since_ms } => ("firing", Some(since_ms)),
            AlertState::Resolved { since_ms } => ("resolved", Some(since_ms)),
        };
        Self { id: alert.id, severity: alert.severity.name(), factor: alert.factor, state, since_ms }
    }
}
