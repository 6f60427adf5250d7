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
mod pages;
mod pretty;
mod stream;
mod trial;

use std::sync::Arc;

use axum::Router;
use axum::middleware::map_response;
use axum::response::{Redirect, Response};
use axum::routing::get;
use http::{HeaderName, HeaderValue, header};
use tokio::sync::Semaphore;

pub use self::config::ConsoleConfig;
use crate::app::App;
use crate::clock::now_ms;

/// What the console keeps of its own.
pub(crate) struct Console {
    is_enabled: bool,
    /// When the server began to count, in Unix milliseconds.
    started_ms: u64,
    /// Pages that may be kept up to date at once.
    streams: Arc<Semaphore>,
}

impl Console {
    pub(crate) fn new(config: &ConsoleConfig) -> Self {
        let streams = Arc::new(Semaphore::new(
            config.max_streams.min(Semaphore::MAX_PERMITS),
        ));
        Self {
            is_enabled: config.enabled,
            started_ms: now_ms(),
            streams,
        }
    }
}

/// The routes of the console; none where it is switched off.
pub(crate) fn router(console: &Console) -> Router<Arc<App>> {
    if !console.is_enabled {
        return Router::new();
    }
    Router::new()
        .route("/console", get(pages::home))
        .route("/console/", get(pages::home))
        .route("/console/endpoints/{name}", get(pages::endpoint))
        .route("/console/models", get(pages::models))
        .route("/console/models/{name}", get(pages::model))
        .route("/console/objectives", get(pages::objectives))
        .route("/console/alerts", get(alerts::show))
        .route("/console/silences", get(alerts::show).post(alerts::silence))
        .route(
            "/console/silences/{id}/expire",
            get(alerts::show).post(alerts::expire),
        )
        .route("/console/events", get(pages::events))
        .route("/console/cost", get(pages::costs))
        .route("/console/try", get(trial::show).post(trial::send))
        .route("/console/assets/{name}", get(assets::asset))
        .route("/console/{*path}", get(pages::missing))
        .layer(map_response(guarded))
        .route("/", get(|| async { Redirect::temporary("/console") }))
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
