//! Everything that the server measures, in one place: `/metrics` and alert rules read the same
//! values.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, header};
use tidegate_gateway::Permission;
use tidegate_serving::{
    Exposition, MemoryBudget, MetricRegistry, Serving, TextExposition, TextForm,
};
use utoipa::OpenApi;

use crate::ServerConfig;
use crate::blocking::run_page;
use crate::component::Component;
use crate::compression::Encoding;
use crate::lifecycle::Lifecycle;
use crate::readiness::ReadinessMetrics;
use crate::request_memory;
use crate::rest::{ApiError, body};
use crate::routes::Routes;

#[derive(OpenApi)]
#[openapi(paths(metrics))]
struct Description;

pub(crate) fn description() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

/// The metrics of the process, and the gauges that must be updated before they are read.
pub(crate) struct MetricExposition {
    pub(crate) registry: Arc<MetricRegistry>,
    pub(crate) serving: Arc<Serving>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) readiness: ReadinessMetrics,
    /// Has the size from which answers are compressed.
    pub(crate) server: ServerConfig,
    pub(crate) memory: Arc<MemoryBudget>,
}

impl MetricExposition {
    /// Writes every metric, with all requests that were answered before.
    pub(crate) fn expose(&self, out: &mut dyn Exposition) {
        self.refresh_gauges();
        self.registry.expose(out);
    }

    /// Sets the gauges that are not kept up to date in between.
    fn refresh_gauges(&self) {
        for model in self.serving.models().all() {
            for version in model.versions() {
                version.count_waiting();
            }
        }
        self.readiness.set(self.lifecycle.is_ready());
        if let Some(fleet) = self.serving.fleet() {
            fleet.update_gauges();
        }
    }
}

impl Component for MetricExposition {
    fn name(&self) -> &'static str {
        "metrics"
    }

    fn routes(self: Arc<Self>) -> Routes<()> {
        Routes::described_by(description())
            .get("/metrics", Permission::ViewMetrics, metrics)
            .with_state(self)
    }
}

/// The metrics of the process, as OpenMetrics text if `Accept` asks for it, else as Prometheus text.
#[utoipa::path(get, path = "/metrics", tag = "operations", responses((status = 200, body = String)))]
async fn metrics(
    State(exposition): State<Arc<MetricExposition>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let accept = headers.get(header::ACCEPT);
    let form = TextForm::accepted(accept.and_then(|accept| accept.to_str().ok()));
    let exposed = exposition.clone();
    // Of many versions this takes longer than the other connections of an event loop should wait.
    let text = run_page(move || {
        let mut text = TextExposition::new(form);
        exposed.expose(&mut text);
        text.finish()
    });
    let (text, encoding) = (text.await?.into_bytes(), Encoding::accepted(&headers));
    let memory = request_memory::begin(&exposition.memory);
    let answer = body::answer(
        text,
        form.content_type(),
        encoding,
        &exposition.server,
        memory,
    );
    Ok(answer.await?)
}
