//! REST: the Open Inference Protocol v2, KServe v1, health; and the routes of every component.

mod answer;
pub(crate) mod body;
mod endpoint_openapi;
mod health;
mod infer;
mod metadata;
mod openapi;
mod path;
mod predict_v1;
mod raw;
mod records;
mod repository;
mod service;
mod settings;
mod shared_memory;
mod statistics;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use http::StatusCode;
use tidegate_gateway::Permission::{
    ManageDiagnostics, ManageModels, Public, ViewModels, ViewOperations,
};
use tidegate_serving::{ErrorCode, InferError};
use utoipa_swagger_ui::SwaggerUi;

pub(crate) use answer::{ApiError, ErrorBody};
pub(crate) use infer::handle as infer;
pub(crate) use metadata::pipeline_metadata;
pub use openapi::openapi;
pub(crate) use path::Path;
pub(crate) use records::{RecordBody, RecordRun, not_loaded};
pub(crate) use repository::{CONFIG, FILE};
pub(crate) use service::RestService;

use crate::component::Component;
use crate::front_end::FrontEnd;
use crate::log_settings::LogSettings;
use crate::routes::Routes;
use crate::shared_memory::SharedMemory;
use crate::traces::TraceSettings;

/// The paths of the pages of the API, which no component has.
pub(crate) const DOCUMENTATION: [&str; 3] = ["/docs", "/docs/{*file}", "/openapi.json"];

/// The router of the REST front end. Inference reaches its handlers without it ([`RestService`]).
fn router(front_end: Arc<FrontEnd>, components: &[Arc<dyn Component>]) -> Router {
    let gateway = front_end.serving.gateway().clone();
    let audit = front_end.audit.clone();
    let routes = routes(front_end, components);
    // From the list that the router is made of, so that no route is missing in it.
    let documentation = SwaggerUi::new("/docs").url("/openapi.json", routes.openapi().clone());
    routes
        .into_router(&gateway, &audit)
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .merge(documentation)
}

/// Every route of the REST front end, with the permission that it needs: those of the inference
/// protocols, and those of the components.
pub(crate) fn routes(front_end: Arc<FrontEnd>, components: &[Arc<dyn Component>]) -> Routes<()> {
    let readiness = Arc::new(health::Readiness {
        gateway: front_end.serving.gateway().clone(),
        lifecycle: front_end.lifecycle.clone(),
        components: components.to_vec(),
    });
    let routes = predictions(Routes::described_by(openapi::protocols()));
    let routes = descriptions(routes);
    let routes = model_control(routes);
    let routes = shared_memory_regions(routes);
    let routes = diagnostics(routes)
        .with_state(front_end)
        .merge(health::routes(readiness));
    components.iter().fold(routes, |routes, component| {
        routes.merge(component.clone().routes())
    })
}

fn predictions(routes: Routes<Arc<FrontEnd>>) -> Routes<Arc<FrontEnd>> {
    routes
        .post_inference("/v2/models/{model}/infer", infer::infer)
        .post_inference(
            "/v2/models/{model}/versions/{version}/infer",
            infer::infer_version,
        )
        .post_inference("/v1/models/{model}", predict_v1::predict)
        .post_inference("/v1/endpoints/{name}/predict", records::predict)
}

/// What the server has, and whether it is ready.
fn descriptions(routes: Routes<Arc<FrontEnd>>) -> Routes<Arc<FrontEnd>> {
    routes
        .get("/v2", Public, health::server)
        .get("/v2/health/live", Public, health::live)
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
        .get(
            "/v1/endpoints/{name}/openapi.json",
            ViewModels,
            endpoint_openapi::endpoint,
        )
        .get("/v1/models", ViewModels, predict_v1::models)
        .get("/v1/models/{model}", Public, predict_v1::model)
}

fn model_control(routes: Routes<Arc<FrontEnd>>) -> Routes<Arc<FrontEnd>> {
    routes
        .post("/v2/repository/index", ViewModels, repository::index)
        .post(
            "/v2/repository/models/{model}/load",
            ManageModels,
            repository::load,
        )
        .audited("model.load", "model")
        .post(
            "/v2/repository/models/{model}/unload",
            ManageModels,
            repository::unload,
        )
        .audited("model.unload", "model")
}

fn shared_memory_regions(routes: Routes<Arc<FrontEnd>>) -> Routes<Arc<FrontEnd>> {
    routes
        .get(
            "/v2/systemsharedmemory/status",
            ViewModels,
            shared_memory::all,
        )
        .get(
            "/v2/systemsharedmemory/region/{region}/status",
            ViewModels,
            shared_memory::one,
        )
        .post(
            "/v2/systemsharedmemory/region/{region}/register",
            ManageModels,
            shared_memory::register,
        )
        .audited("shared-memory.register", SharedMemory::RESOURCE_KIND)
        .post(
            "/v2/systemsharedmemory/region/{region}/unregister",
            ManageModels,
            shared_memory::unregister,
        )
        .audited("shared-memory.unregister", SharedMemory::RESOURCE_KIND)
        .post(
            "/v2/systemsharedmemory/unregister",
            ManageModels,
            shared_memory::unregister_all,
        )
        .audited("shared-memory.unregister", SharedMemory::RESOURCE_KIND)
        .get(
            "/v2/cudasharedmemory/status",
            ViewModels,
            shared_memory::cuda_all,
        )
        .post(
            "/v2/cudasharedmemory/region/{region}/register",
            ManageModels,
            shared_memory::cuda_register,
        )
        .audited("shared-memory.register", SharedMemory::RESOURCE_KIND)
        .post(
            "/v2/cudasharedmemory/unregister",
            ManageModels,
            shared_memory::cuda_unregister,
        )
        .audited("shared-memory.unregister", SharedMemory::RESOURCE_KIND)
}

/// Settings of traces and logs.
fn diagnostics(routes: Routes<Arc<FrontEnd>>) -> Routes<Arc<FrontEnd>> {
    routes
        .get("/v2/trace/setting", ViewOperations, settings::trace)
        .post(
            "/v2/trace/setting",
            ManageDiagnostics,
            settings::change_trace,
        )
        .audited("trace-settings.change", TraceSettings::RESOURCE_KIND)
        .get(
            "/v2/models/{model}/trace/setting",
            ViewOperations,
            settings::trace_of_model,
        )
        .post(
            "/v2/models/{model}/trace/setting",
            ManageDiagnostics,
            settings::change_trace_of_model,
        )
        .audited("trace-settings.change", TraceSettings::RESOURCE_KIND)
        .get("/v2/logging", ViewOperations, settings::log)
        .post("/v2/logging", ManageDiagnostics, settings::change_log)
        .audited("log-settings.change", LogSettings::RESOURCE_KIND)
}

async fn not_found(request: Request) -> ApiError {
    // Cut: the path is the client's, of any length, and goes into the message.
    let path: String = request.uri().path().chars().take(128).collect();
    InferError::new(ErrorCode::NotFound, format!("there is nothing at {path:?}")).into()
}

async fn method_not_allowed(request: Request) -> (StatusCode, ApiError) {
    let message = format!("this path does not support {}", request.method());
    (
        StatusCode::METHOD_NOT_ALLOWED,
        InferError::new(ErrorCode::MethodNotAllowed, message).into(),
    )
}

#[cfg(test)]
mod tests;
