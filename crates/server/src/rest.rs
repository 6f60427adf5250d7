//! REST: the Open Inference Protocol v2, KServe v1, health, metrics.

mod alert_routes;
mod alerts;
mod answer;
pub(crate) mod body;
mod cost;
mod events;
mod health;
mod infer;
mod metadata;
mod objective;
mod objectives;
mod openapi;
mod path;
mod predict_v1;
mod replicas;
mod repository;
mod service;
mod silences;
mod statistics;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode, header};
use tidegate_gateway::Permission;
use tidegate_serving::{ErrorCode, InferError, TextExposition, TextForm};
use utoipa_swagger_ui::SwaggerUi;

pub(crate) use answer::ApiError;
pub(crate) use infer::handle as infer;
pub use openapi::openapi;
pub(crate) use service::RestService;
pub(crate) use silences::NewSilence;

use crate::app::App;
use crate::compression::Encoding;
use crate::console;
use crate::routes::Routes;

/// The router of the REST front end. Inference reaches its handlers without it ([`RestService`]).
fn router(app: Arc<App>) -> Router {
    let routes = routes(app.clone());
    let documentation = SwaggerUi::new("/docs").url("/openapi.json", routes.openapi().clone());
    routes
        .into_router(&app.gateway)
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .merge(documentation)
}

/// Every route of the REST front end, with the permission that it needs.
pub(crate) fn routes(app: Arc<App>) -> Routes<()> {
    use Permission::{
        ManageAlerts, ManageModels, ManageObjectives, Public, ViewMetrics, ViewModels,
        ViewOperations,
    };

    Routes::described_by(openapi())
        .post_inference("/v2/models/{model}/infer", infer::infer)
        .post_inference(
            "/v2/models/{model}/versions/{version}/infer",
            infer::infer_version,
        )
        .post_inference("/v1/models/{model}", predict_v1::predict)
        .get("/v2", Public, health::server)
        .get("/v2/health/live", Public, health::live)
        .get("/v2/health/ready", Public, health::ready)
        .get("/v2/models/stats", ViewModels, statistics::all)
        .get("/v2/models/{model}", ViewModels, metadata::model)
        .get("/v2/models/{model}/ready", Public, health::model_ready)
        .get("/v2/models/{model}/config", ViewModels, metadata::config)
        .get("/v2/models/{model}/stats", ViewModels, statistics::model)
        .get(
            "/v2/models/{model}/versions/{version}",
            ViewModels,
            metadata::version,
        )
        .get(
            "/v2/models/{model}/versions/{version}/ready",
            Public,
            health::version_ready,
        )
        .get(
            "/v2/models/{model}/versions/{version}/config",
            ViewModels,
            metadata::version_config,
        )
        .get(
            "/v2/models/{model}/versions/{version}/stats",
            ViewModels,
            statistics::version,
        )
        .post("/v2/repository/index", ViewModels, repository::index)
        .post(
            "/v2/repository/models/{model}/load",
            ManageModels,
            repository::load,
        )
        .post(
            "/v2/repository/models/{model}/unload",
            ManageModels,
            repository::unload,
        )
        .get("/v1/models", ViewModels, predict_v1::models)
        .get("/v1/models/{model}", Public, predict_v1::model)
        .get("/api/slos", ViewOperations, objectives::slos)
        .put("/api/slos/{name}", ManageObjectives, objective::set)
        .delete("/api/slos/{name}", ManageObjectives, objective::remove)
        .post("/api/slos/{name}/thaw", ManageObjectives, objective::thaw)
        .get("/api/replicas", ViewOperations, replicas::replicas)
        .get("/api/alerts", ViewOperations, alerts::alerts)
        .get("/api/alerts/routes", ViewOperations, alert_routes::routes)
        .get("/api/silences", ViewOperations, silences::list)
        .post("/api/silences", ManageAlerts, silences::add)
        .delete("/api/silences/{id}", ManageAlerts, silences::expire)
        .get("/api/events", ViewOperations, events::events)
        .get("/api/cost", ViewOperations, cost::cost)
        .get("/metrics", ViewMetrics, metrics)
        .with_state(app.clone())
        .merge(console::routes(&app.console).with_state(app))
}

/// The process's metrics: in OpenMetrics's text form if `Accept` names it, else in Prometheus's.
#[utoipa::path(get, path = "/metrics", tag = "operations", responses((status = 200, body = String)))]
pub(crate) async fn metrics(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let form = TextForm::accepted(
        headers
            .get(header::ACCEPT)
            .and_then(|accept| accept.to_str().ok()),
    );
    let told = app.clone();
    // Of many versions this takes longer than the other connections of an event loop should wait.
    let text = app.blocking(move |_| {
        let mut text = TextExposition::new(form);
        told.expose(&mut text);
        text.finish()
    });
    let (text, encoding) = (text.await?.into_bytes(), Encoding::accepted(&headers));
    Ok(body::answer(text, form.content_type(), encoding, &app.config).await?)
}

async fn not_found(request: Request) -> ApiError {
    let path: String = request.uri().path().chars().take(128).collect();
    InferError::new(ErrorCode::NotFound, format!("there is nothing at {path:?}")).into()
}

async fn method_not_allowed(request: Request) -> (StatusCode, ApiError) {
    let message = format!("this path does not take {}", request.method());
    (
        StatusCode::METHOD_NOT_ALLOWED,
        InferError::new(ErrorCode::MethodNotAllowed, message).into(),
    )
}
