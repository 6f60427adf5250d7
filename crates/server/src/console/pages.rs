//! The pages. Each module has the handler of one page and the query that fills it from the
//! components. Queries block for a moment, so they never run on a thread that serves connections.

mod alerts;
mod costs;
mod endpoint;
mod events;
mod experiments;
mod home;
mod model;
mod models;
mod objectives;
mod quality;
mod rollouts;
mod state;
mod trial;

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::Uri;
use tidegate_gateway::Permission::{Call, ManageAlerts, ManageTraffic, Public, ViewOperations};
use utoipa::openapi::OpenApi;

use super::answer::answer;
use super::assets;
use super::login;
use super::page_query::MAX_QUERY;
use super::visitor::Visitor;
use crate::console::Console;
use crate::routes::Routes;

/// The routes of all pages, and of the files that they load. The API's description leaves them out:
/// they are for people.
pub(super) fn routes() -> Routes<Arc<Console>> {
    Routes::described_by(OpenApi::default())
        .get("/console", ViewOperations, home::show)
        .get("/console/", ViewOperations, home::show)
        .get("/console/endpoints/{name}", ViewOperations, endpoint::show)
        .get("/console/models", ViewOperations, models::show)
        .get("/console/models/{name}", ViewOperations, model::show)
        .get("/console/objectives", ViewOperations, objectives::show)
        .get("/console/alerts", ViewOperations, alerts::show)
        // Where a refused form leaves the browser: loading the page again must work.
        .get("/console/silences", ViewOperations, alerts::show)
        .post("/console/silences", ManageAlerts, alerts::silence)
        .audited("silence.add", "silence")
        .get(
            "/console/silences/{id}/expire",
            ViewOperations,
            alerts::show,
        )
        .post(
            "/console/silences/{id}/expire",
            ManageAlerts,
            alerts::expire,
        )
        .audited("silence.expire", "silence")
        .get("/console/events", ViewOperations, events::show)
        .get("/console/rollouts", ViewOperations, rollouts::show)
        // Where a refused form leaves the browser: loading the page again must work.
        .get(
            "/console/rollouts/{name}/pause",
            ViewOperations,
            rollouts::show,
        )
        .post(
            "/console/rollouts/{name}/pause",
            ManageTraffic,
            rollouts::pause,
        )
        .audited("rollout.pause", "endpoint")
        .get(
            "/console/rollouts/{name}/resume",
            ViewOperations,
            rollouts::show,
        )
        .post(
            "/console/rollouts/{name}/resume",
            ManageTraffic,
            rollouts::resume,
        )
        .audited("rollout.resume", "endpoint")
        .get(
            "/console/rollouts/{name}/promote",
            ViewOperations,
            rollouts::show,
        )
        .post(
            "/console/rollouts/{name}/promote",
            ManageTraffic,
            rollouts::promote,
        )
        .audited("rollout.promote", "endpoint")
        .get(
            "/console/rollouts/{name}/abort",
            ViewOperations,
            rollouts::show,
        )
        .post(
            "/console/rollouts/{name}/abort",
            ManageTraffic,
            rollouts::abort,
        )
        .audited("rollout.abort", "endpoint")
        .get("/console/experiments", ViewOperations, experiments::show)
        .get("/console/quality", ViewOperations, quality::show)
        .get("/console/cost", ViewOperations, costs::show)
        .get("/console/try", ViewOperations, trial::show)
        .post("/console/try", Call, trial::send)
        .get("/console/assets/{name}", Public, assets::asset)
        .get("/console/login", Public, login::show)
        .post("/console/login", Public, login::with_key)
        .get("/console/login/oidc", Public, login::to_provider)
        .get("/console/login/callback", Public, login::from_provider)
        .post("/console/logout", Public, login::log_out)
        .get("/console/{*path}", ViewOperations, missing)
}

async fn missing(State(console): State<Arc<Console>>, visitor: Visitor, uri: Uri) -> Response {
    let path: String = uri.path().chars().take(MAX_QUERY).collect();
    answer(console, &visitor, move |_, _| {
        Err(format!("There is nothing at {path}."))
    })
    .await
}
