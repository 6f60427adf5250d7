//! REST: the Open Inference Protocol v2, KServe v1, health, metrics.

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
mod routes;
mod service;
mod silences;
mod statistics;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{delete, get, post, put};
use http::{HeaderMap, StatusCode, header};
use tidegate_serving::{ErrorCode, InferError, TextExposition, TextForm};
use utoipa_swagger_ui::SwaggerUi;

pub(crate) use answer::Refusal;
pub(crate) use infer::handle as infer;
pub use openapi::openapi;
pub(crate) use service::RestService;
pub(crate) use silences::NewSilence;

use crate::app::App;
use crate::compression::Encoding;
use crate::{console, origin};

/// Every route of the REST front end.
fn router(app: Arc<App>) -> Router {
    let documented = SwaggerUi::new("/docs").url("/openapi.json", openapi());
    Router::new()
        .route("/v2/models/{model}/infer", post(infer::infer))
        .route(
            "/v2/models/{model}/versions/{version}/infer",
            post(infer::infer_version),
        )
        .route("/v2", get(health::server))
        .route("/v2/health/live", get(health::live))
        .route("/v2/health/ready", get(health::ready))
        .route("/v2/models/stats", get(statistics::all))
        .route("/v2/models/{model}", get(metadata::model))
        .route("/v2/models/{model}/ready", get(health::model_ready))
        .route("/v2/models/{model}/config", get(metadata::config))
        .route("/v2/models/{model}/stats", get(statistics::model))
        .route(
            "/v2/models/{model}/versions/{version}",
            get(metadata::version),
        )
        .route(
            "/v2/models/{model}/versions/{version}/ready",
            get(health::version_ready),
        )
        .route(
            "/v2/models/{model}/versions/{version}/config",
            get(metadata::version_config),
        )
        .route(
            "/v2/models/{model}/versions/{version}/stats",
            get(statistics::version),
        )
        .route("/v2/repository/index", post(repository::index))
        .route("/v1/models", get(predict_v1::models))
        .route(
            "/v1/models/{model}",
            get(predict_v1::model).post(predict_v1::predict),
        )
        .route("/api/slos", get(objectives::slos))
        .route("/api/replicas", get(replicas::replicas))
        .route("/api/alerts", get(alerts::alerts))
        .route("/api/alerts/routes", get(routes::routes))
        .route("/api/silences", get(silences::list))
        .route("/api/events", get(events::events))
        .route("/api/cost", get(cost::cost))
        .route("/metrics", get(metrics))
        .merge(changes())
        .merge(console::router(&app.console))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .with_state(app)
        .merge(documented)
}

/// The routes that change what the server does, or whom it tells.
fn changes() -> Router<Arc<App>> {
    Router::new()
        .route("/v2/repository/models/{model}/load", post(repository::load))
        .route(
            "/v2/repository/models/{model}/unload",
            post(repository::unload),
        )
        .route(
            "/api/slos/{name}",
            put(objective::set).delete(objective::remove),
        )
        .route("/api/slos/{name}/thaw", post(objective::thaw))
        .route("/api/silences", post(silences::add))
        .route("/api/silences/{id}", delete(silences::expire))
        .route_layer(from_fn(not_for_other_sites))
}

/// Refuses what a page of another site lets the browser of somebody send who can reach this server.
async fn not_for_other_sites(request: Request, next: Next) -> Result<Response, Refusal> {
    if origin::is_own(request.headers()) {
        return Ok(next.run(request).await);
    }
    let message = "this was sent by a page of another site, and nothing was done";
    Err(InferError::new(ErrorCode::ForeignOrigin, message).into())
}

/// The process's metrics: in OpenMetrics's text form if `Accept` names it, else in Prometheus's.
#[utoipa::path(get, path = "/metrics", tag = "operations", responses((status = 200, body = String)))]
pub(crate) async fn metrics(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
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

async fn not_found(request: Request) -> Refusal {
    let path: String = request.uri().path().chars().take(128).collect();
    InferError::new(ErrorCode::NotFound, format!("there is nothing at {path:?}")).into()
}

async fn method_not_allowed(request: Request) -> (StatusCode, Refusal) {
    let message = format!("this path does not take {}", request.method());
    (
        StatusCode::METHOD_NOT_ALLOWED,
        InferError::new(ErrorCode::MethodNotAllowed, message).into(),
    )
}
