//! `GET /api/slos`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use tidegate_observe::{AlertState, BurnWindow, Sli};
use tidegate_serving::VersionNames;
use utoipa::ToSchema;

use crate::objectives::{Objectives, Status};

/// An objective and its status.
#[derive(Serialize, ToSchema)]
pub(crate) struct ObjectiveStatus {
    name: String,
    /// The model whose requests count, or `*` for all.
    endpoint: String,
    /// availability, latency or freshness.
    sli: &'static str,
    /// The threshold of latency in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold_ms: Option<f64>,
    target: f64,
    /// Such as `30d`, or `month`.
    window: String,
    tier: String,
    /// Minimum number of requests in an alert's long window before it fires.
    min_events: u64,
    /// Who wrote it: configuration, or api.
    origin: &'static str,
    /// Good requests in the window.
    good: u64,
    /// Requests in the window that count.
    total: u64,
    /// The share of the error budget that is left: 1 if no request was bad, 0 if the budget is
    /// used up, below 0 if it is overspent.
    budget_remaining: f64,
    /// When the budget will be used up at the rate of the last hour, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    exhausted_ms: Option<u64>,
    /// The burn rate by window: at 1 the budget lasts exactly for the objective's window.
    burn_rates: BTreeMap<&'static str, Option<f64>>,
    alerts: Vec<Alert>,
    /// What happens when the budget is spent: none or freeze.
    policy: &'static str,
    /// Since when rollouts wait because the budget is spent, in milliseconds since 1970; absent if
    /// they do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    frozen_since_ms: Option<u64>,
    /// The rollouts that wait: by model, the aliases that would move, with their versions.
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
pub(crate) async fn slos(State(objectives): State<Arc<Objectives>>) -> Json<Vec<ObjectiveStatus>> {
    let held_back = objectives
        .fleet
        .as_ref()
        .map(|fleet| fleet.waiting_rollouts())
        .unwrap_or_default();
    let mut shown = Vec::new();
    for status in objectives.status() {
        let is_configured = objectives.is_configured(status.slo.name());
        shown.push(ObjectiveStatus {
            held_back: held_back_by(&status, &held_back),
            origin: if is_configured {
                "configuration"
            } else {
                "api"
            },
            ..ObjectiveStatus::from(status)
        });
    }
    Json(shown)
}

/// The aliases that wait for the budget of an objective, of those that wait for any.
fn held_back_by(
    status: &Status,
    held_back: &BTreeMap<String, VersionNames>,
) -> BTreeMap<String, BTreeMap<String, u64>> {
    // The same rollouts may wait for another objective of the model.
    if status.frozen_since_ms.is_none() {
        return BTreeMap::new();
    }
    let endpoint = status.slo.endpoint();
    held_back
        .iter()
        .filter(|(model, _)| endpoint.is_none_or(|own| own == *model))
        .map(|(model, names)| (model.clone(), public_names(names)))
        .collect()
}

/// The aliases by the names that clients use.
fn public_names(names: &VersionNames) -> BTreeMap<String, u64> {
    let mut public = BTreeMap::new();
    for (name, version) in names {
        let name = if name.is_empty() { "default" } else { name };
        public.insert(name.to_owned(), *version);
    }
    public
}

impl From<Status> for ObjectiveStatus {
    fn from(status: Status) -> Self {
        let Status {
            slo,
            slo_status,
            alerts,
            frozen_since_ms,
        } = status;
        Self {
            name: slo.name().to_owned(),
            endpoint: slo.endpoint().unwrap_or("*").to_owned(),
            sli: slo.sli().name(),
            threshold_ms: match slo.sli() {
                Sli::Latency(bound) => Some(bound.ms()),
                Sli::Availability | Sli::Freshness => None,
            },
            target: slo.target(),
            window: slo.window().to_string(),
            tier: slo.tier().to_owned(),
            min_events: slo.min_events(),
            origin: "configuration",
            good: slo_status.counts.good,
            total: slo_status.counts.total,
            budget_remaining: slo_status.budget_remaining,
            exhausted_ms: slo_status.exhausted_ms,
            burn_rates: BurnWindow::ALL
                .iter()
                .zip(slo_status.burns)
                .map(|(window, burn)| (window.name(), burn.rate))
                .collect(),
            alerts: alerts
                .into_iter()
                .map(|(alert, state)| Alert::new(alert, state))
                .collect(),
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
        Self {
            id: alert.id,
            severity: alert.severity.name(),
            factor: alert.factor,
            state,
            since_ms,
        }
    }
}
