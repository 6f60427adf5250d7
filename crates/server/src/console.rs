//! The console: pages for people, under `/console`.
//!
//! A page's content is queried from the components (`pages`) and made into HTML by the crate
//! `tidegate-console`. It is sent whole, or part by part as the parts change where the client asks
//! for a stream of events.

mod answer;
mod assets;
mod config;
mod denied_page;
mod form;
mod frame;
mod login;
mod metrics;
mod page_query;
mod pages;
mod pretty;
mod stream;
mod visitor;

use std::sync::Arc;

use axum::middleware::map_response;
use axum::response::{Redirect, Response};
use http::{HeaderName, HeaderValue, header};
use tidegate_gateway::Permission;
use tokio::sync::Semaphore;

pub use self::config::ConsoleConfig;
pub(crate) use self::denied_page::denied_page;
pub(crate) use self::metrics::ConsoleMetrics;
use crate::alerting::Alerting;
use crate::clock::now_ms;
use crate::component::Component;
use crate::cost::Costs;
use crate::events::EventJournal;
use crate::experiments::Experiments;
use crate::front_end::FrontEnd;
use crate::history::History;
use crate::objectives::Objectives;
use crate::quality::Quality;
use crate::rollouts::Rollouts;
use crate::routes::Routes;

/// The console, and the sources of its pages.
pub(crate) struct Console {
    is_enabled: bool,
    /// When the server began to count, in Unix milliseconds.
    started_ms: u64,
    /// Pages that may be updated live at once.
    streams: Arc<Semaphore>,
    front_end: Arc<FrontEnd>,
    history: Arc<History>,
    objectives: Arc<Objectives>,
    alerting: Arc<Alerting>,
    events: Arc<EventJournal>,
    costs: Arc<Costs>,
    quality: Arc<Quality>,
    rollouts: Arc<Rollouts>,
    experiments: Arc<Experiments>,
    metrics: ConsoleMetrics,
}

/// The sources of the pages.
pub(crate) struct ConsoleSources {
    pub(crate) front_end: Arc<FrontEnd>,
    pub(crate) history: Arc<History>,
    pub(crate) objectives: Arc<Objectives>,
    pub(crate) alerting: Arc<Alerting>,
    pub(crate) events: Arc<EventJournal>,
    pub(crate) costs: Arc<Costs>,
    pub(crate) quality: Arc<Quality>,
    pub(crate) rollouts: Arc<Rollouts>,
    pub(crate) experiments: Arc<Experiments>,
}

impl Console {
    pub(crate) fn new(
        config: &ConsoleConfig,
        metrics: ConsoleMetrics,
        sources: ConsoleSources,
    ) -> Self {
        // A larger semaphore would panic.
        let max_streams = config.max_streams.min(Semaphore::MAX_PERMITS);
        let ConsoleSources {
            front_end,
            history,
            objectives,
            alerting,
            events,
            costs,
            quality,
            rollouts,
            experiments,
        } = sources;
        Self {
            is_enabled: config.enabled,
            started_ms: now_ms(),
            streams: Arc::new(Semaphore::new(max_streams)),
            front_end,
            history,
            objectives,
            alerting,
            events,
            costs,
            quality,
            rollouts,
            experiments,
            metrics,
        }
    }
}

impl Component for Console {
    fn name(&self) -> &'static str {
        "console"
    }

    fn routes(self: Arc<Self>) -> Routes<()> {
        routes(&self).with_state(self)
    }
}

/// The routes of the console; none if it is switched off.
fn routes(console: &Console) -> Routes<Arc<Console>> {
    if !console.is_enabled {
        return Routes::described_by(utoipa::openapi::OpenApi::default());
    }
    pages::routes()
        .map_handlers(|handler| handler.layer(map_response(guarded)))
        .get("/", Permission::Public, || async {
            // Browsers remember a permanent redirect, also after the console has been switched off.
            Redirect::temporary("/console")
        })
}

// Nothing inline may run: a text that slipped through escaping would still do no harm.
const POLICY: &str = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// The answer with headers that keep browsers from running or showing foreign content.
async fn guarded(response: Response) -> Response {
    with_guards(response)
}

fn with_guards(mut response: Response) -> Response {
    let guards: [(HeaderName, &str); 4] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        // For browsers that do not know `frame-ancestors`.
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Addresses of pages name models, which other sites need not learn.
        (header::REFERRER_POLICY, "same-origin"),
    ];
    let headers = response.headers_mut();
    for (name, value) in guards {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        // Assets have a policy of their own. A page shows the state of a moment.
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}
