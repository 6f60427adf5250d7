//! The API of alerts: `/api/alerts`, `/api/alerts/routes` and `/api/silences`.

mod alerts;
mod routes;
mod silences;

use std::sync::Arc;

use tidegate_gateway::Permission::{ManageAlerts, ViewOperations};
use utoipa::OpenApi;

pub(crate) use self::silences::NewSilence;
use super::Alerting;
use crate::routes::Routes;

#[derive(OpenApi)]
#[openapi(paths(
    alerts::alerts,
    routes::routes,
    silences::list,
    silences::add,
    silences::expire
))]
struct Description;

pub(crate) fn description() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

pub(super) fn routes(alerting: Arc<Alerting>) -> Routes<()> {
    Routes::described_by(description())
        .get("/api/alerts", ViewOperations, alerts::alerts)
        .get("/api/alerts/routes", ViewOperations, routes::routes)
        .get("/api/silences", ViewOperations, silences::list)
        .post("/api/silences", ManageAlerts, silences::add)
        .audited("silence.add", "silence")
        .delete("/api/silences/{id}", ManageAlerts, silences::expire)
        .audited("silence.expire", "silence")
        .with_state(alerting)
}
