//! `GET /api/alerts`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use tidegate_observe::AlertState;
use tidegate_observe::alerting::{Suppression, TriagedAlert};
use utoipa::ToSchema;

use crate::alerting::Alerting;

/// An alert that is pending, firing, or was resolved in the last quarter of an hour.
#[derive(Serialize, ToSchema)]
#[schema(as = ServerAlert)]
pub(crate) struct Alert {
    /// The id of the alert; it depends only on the labels.
    key: String,
    name: String,
    /// page or ticket.
    severity: String,
    /// pending, firing or resolved.
    state: &'static str,
    /// Since when, in milliseconds since 1970.
    since_ms: u64,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    /// Why this server does not send it; absent if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    suppressed: Option<Suppressed>,
}

/// Why a server does not send an alert.
#[derive(Serialize, ToSchema)]
pub(crate) struct Suppressed {
    /// silence, inhibition, deploy_window, or replica: another server of the group sends it.
    by: &'static str,
    /// The silence, the alert that inhibits it, the version that was deployed, or the replica.
    what: String,
    /// When a deploy window ends, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    until_ms: Option<u64>,
}

/// Alerts of objectives and rules, evaluated within the last five seconds.
#[utoipa::path(get, path = "/api/alerts", tag = "operations", responses((status = 200, body = Vec<Alert>)))]
pub(crate) async fn alerts(State(alerting): State<Arc<Alerting>>) -> Json<Vec<Alert>> {
    Json(alerting.alerts().iter().filter_map(Alert::of).collect())
}

impl Alert {
    fn of(triaged: &TriagedAlert) -> Option<Self> {
        let alert = &triaged.alert;
        let (state, since_ms) = match alert.state {
            AlertState::Inactive => return None,
            AlertState::Pending { since_ms } => ("pending", since_ms),
            AlertState::Firing { since_ms } => ("firing", since_ms),
            AlertState::Resolved { since_ms } => ("resolved", since_ms),
        };
        Some(Self {
            key: alert.fingerprint(),
            name: alert.name().to_owned(),
            severity: alert.label("severity").to_owned(),
            state,
            since_ms,
            labels: alert.labels.clone(),
            annotations: alert.annotations.clone(),
            suppressed: triaged.suppression.as_ref().map(Suppressed::of),
        })
    }
}

impl Suppressed {
    fn of(suppression: &Suppression) -> Self {
        let (by, what, until_ms) = match suppression {
            Suppression::Silence { id } => ("silence", id, None),
            Suppression::Inhibition { alert, .. } => ("inhibition", alert, None),
            Suppression::Replica { name } => ("replica", name, None),
            Suppression::DeployWindow { version, until_ms } => {
                ("deploy_window", version, Some(*until_ms))
            }
        };
        Self {
            by,
            what: what.clone(),
            until_ms,
        }
    }
}
