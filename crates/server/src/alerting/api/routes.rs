//! `GET /api/alerts/routes`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::alerting::{Alerting, RouteStatus};

/// A route of alerts, and whether messages arrive.
#[derive(Serialize, ToSchema)]
#[schema(as = AlertRoute)]
pub(crate) struct Route {
    name: String,
    /// alertmanager, webhook, slack, pagerduty or smtp.
    receiver: &'static str,
    /// Messages that have not arrived yet.
    waiting: usize,
    /// When a message arrived last since the server began, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    arrived_ms: Option<u64>,
    /// Since when none has arrived, in milliseconds since 1970; absent while they arrive.
    #[serde(skip_serializing_if = "Option::is_none")]
    failing_since_ms: Option<u64>,
    /// Why the last one did not arrive.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// The routes of alerts, with the number of waiting messages, and why messages do not arrive.
#[utoipa::path(get, path = "/api/alerts/routes", tag = "operations", responses((status = 200, body = Vec<Route>)))]
pub(crate) async fn routes(State(alerting): State<Arc<Alerting>>) -> Json<Vec<Route>> {
    let routes = alerting.routes_status();
    Json(routes.into_iter().map(Route::from).collect())
}

impl From<RouteStatus> for Route {
    fn from(status: RouteStatus) -> Self {
        let RouteStatus {
            name,
            receiver,
            waiting,
            delivery,
        } = status;
        let (failing_since_ms, reason) = delivery
            .failing
            .map(|failing| (failing.since_ms, failing.reason))
            .unzip();
        Self {
            name,
            receiver,
            waiting,
            arrived_ms: delivery.arrived_ms,
            failing_since_ms,
            reason,
        }
    }
}
