//! The console: pages for people, under `/console`.
//!
//! A page is looked up from what the server knows (`look`), made into HTML by the room `console`,
//! and sent whole; or, to who asks for a stream of events, part by part whenever one has changed.

mod alerts;
mod answer;
mod assets;
mod config;
mod form;
mod look;
mod metrics;
mod pages;
mod pretty;
mod stream;
mod trial;

use std::sync::Arc;

use axum::middleware::map_response;
use axum::response::{Redirect, Response};
use http::{HeaderName, HeaderValue, header};
use tidegate_gateway::Permission;
use tokio::sync::Semaphore;

pub use self::config::ConsoleConfig;
pub use self::metrics::ConsoleMetrics;
use crate::app::App;
use crate::clock::now_ms;
use crate::routes::Routes;

/// What the console keeps of its own.
pub(crate) struct Console {
    is_enabled: bool,
    /// When the server began to count, in Unix milliseconds.
    started_ms: u64,
    /// Pages that may be kept up to date at once.
    streams: Arc<Semaphore>,
    metrics: ConsoleMetrics,
}

impl Console {
    pub(crate) fn new(config: &ConsoleConfig, metrics: ConsoleMetrics) -> Self {
        let streams = Arc::new(Semaphore::new(
            config.max_streams.min(Semaphore::MAX_PERMITS),
        ));
        Self {
            is_enabled: config.enabled,
            started_ms: now_ms(),
            streams,
            metrics,
        }
    }
}

/// The routes of the console; none where it is switched off.
pub(crate) fn routes(console: &Console) -> Routes<Arc<App>> {
    // The console's pages are for people; the description is of the API.
    let routes = Routes::described_by(utoipa::openapi::OpenApi::default());
    if !console.is_enabled {
        return routes;
    }
    use Permission::{Call, ManageAlerts, Public, ViewOperations};
    routes
        .get("/console", ViewOperations, pages::home)
        .get("/console/", ViewOperations, pages::home)
        .get("/console/endpoints/{name}", ViewOperations, pages::endpoint)
        .get("/console/models", ViewOperations, pages::models)
        .get("/console/models/{name}", ViewOperations, pages::model)
        .get("/console/objectives", ViewOperations, pages::objectives)
        .get("/console/alerts", ViewOperations, alerts::show)
        .get("/console/silences", ViewOperations, alerts::show)
        .post("/console/silences", ManageAlerts, alerts::silence)
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
        .get("/console/events", ViewOperations, pages::events)
        .get("/console/cost", ViewOperations, pages::costs)
        .get("/console/try", ViewOperations, trial::show)
        .post("/console/try", Call, trial::send)
        .get("/console/assets/{name}", Public, assets::asset)
        .get("/console/{*path}", Public, pages::missing)
        .map_handlers(|handler| handler.layer(map_response(guarded)))
        .get("/", Public, || async { Redirect::temporary("/console") })
}

const POLICY: &str = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// The answer with what keeps browsers from running or showing anything that is not ours.
async fn guarded(mut response: Response) -> Response {
    let guards: [(HeaderName, &str); 4] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
    ];
    let headers = response.headers_mut();
    for (name, value) in guards {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}
