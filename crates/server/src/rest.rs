//! REST: the Open Inference Protocol v2, KServe v1, health; and the routes of every component.

mod answer;
pub(crate) mod body;
mod health;
mod infer;
mod metadata;
mod openapi;
mod path;
mod predict_v1;
mod raw;
mod repository;
mod service;
mod statistics;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use http::StatusCode;
use tidegate_gateway::Permission;
use tidegate_serving::{ErrorCode, InferError};
use utoipa_swagger_ui::SwaggerUi;

pub(crate) use answer::{ApiError, ErrorBody};
pub(crate) use infer::handle as infer;
pub use openapi::openapi;
pub(crate) use path::Path;
pub(crate) use repository::{CONFIG, FILE};
pub(crate) use service::RestService;

use crate::component::Component;
use crate::front_end::FrontEnd;
use crate::routes::Routes;

/// The router of the REST front end. Inference reaches its handlers without it ([`RestService`]).
fn router(front_end: Arc<FrontEnd>, components: &[Arc<dyn Component>]) -> Router {
    let gateway = front_end.serving.gateway().clone();
    let routes = routes(front_end, components);
    // From the list that the router is made of, so that no route is missing in it.
    let documentation = SwaggerUi::new("/docs").url("/openapi.json", routes.openapi().clone());
    routes
        .into_router(&gateway)
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .merge(documentation)
}

/// Every route of the REST front end, with the permission that it needs: those of the inference
/// protocols, and those of the components.
pub(crate) fn routes(front_end: Arc<FrontEnd>, components: &[Arc<dyn Component>]) -> Routes<()> {
    use Permission::{ManageModels, Public, ViewModels};

    let readiness = Arc::new(health::Readiness {
        lifecycle: front_end.lifecycle.clone(),
        components: components.to_vec(),
    });
    let routes = Routes::described_by(openapi::protocols())
        .post_inference("/v2/models/{model}/infer", infer::infer)
        .post_inference(
            "/v2/models/{model}/versions/{version}/infer",
            infer::infer_version,
        )
        .post_inference("/v1/models/{model}", predict_v1::predict)
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
        .with_state(front_end)
        .merge(health::routes(readiness));
    components.iter().fold(routes, |routes, component| {
        routes.merge(component.clone().routes())
    })
}

async fn not_found(request: Request) -> ApiError {
    // Cut: the path is the client's, of any length, and goes into the message.
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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use axum::routing::MethodFilter;
    use tidegate_core::EngineChoice;
    use tidegate_engines::{Engines, PORTABLE};
    use tidegate_serving::{MetricRegistry, Models, Serving};

    use super::*;
    use crate::{ServerComponents, ServerConfig};

    /// The routes that probes, load balancers and newcomers read without credentials, and no
    /// others.
    const PUBLIC: [&str; 11] = [
        "/",
        "/console/assets/{name}",
        "/console/{*path}",
        "/v1/models/{model}",
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/{model}/ready",
        "/v2/models/{model}/versions/{version}/ready",
        "/docs",
        "/openapi.json",
    ];

    /// Every route of a server, with the methods that OpenAPI describes.
    fn declared() -> (BTreeMap<(&'static str, String), Permission>, Operations) {
        let registry = Arc::new(MetricRegistry::new());
        let engines = Engines::discover(None, EngineChoice::from(PORTABLE));
        let models = Models::new(Vec::new(), engines, &registry);
        let serving = Arc::new(Serving::new(models));
        let components =
            ServerComponents::minimal(ServerConfig::default(), serving, registry).unwrap();
        let routes = routes(components.front_end.clone(), &components.list);
        let operations = operations(routes.openapi());
        let mut declared = BTreeMap::new();
        for (method, path, permission) in routes.declared() {
            let before = declared.insert((name(method), path.to_owned()), permission);
            assert_eq!(before, None, "{path} is declared twice");
        }
        (declared, operations)
    }

    type Operations = BTreeSet<(&'static str, String)>;

    fn name(method: MethodFilter) -> &'static str {
        match method {
            MethodFilter::GET => "GET",
            MethodFilter::POST => "POST",
            MethodFilter::PUT => "PUT",
            MethodFilter::DELETE => "DELETE",
            other => panic!("{other:?} has no name here"),
        }
    }

    fn operations(openapi: &utoipa::openapi::OpenApi) -> Operations {
        let mut operations = BTreeSet::new();
        for (path, item) in &openapi.paths.paths {
            let path = path.replace("{model}:predict", "{model}");
            for (method, operation) in [
                ("GET", &item.get),
                ("POST", &item.post),
                ("PUT", &item.put),
                ("DELETE", &item.delete),
            ] {
                if operation.is_some() {
                    operations.insert((method, path.clone()));
                }
            }
        }
        operations
    }

    #[tokio::test]
    async fn every_described_operation_declares_a_permission() {
        let (declared, operations) = declared();
        assert!(operations.len() > 25, "{operations:?}");
        for operation in &operations {
            assert!(declared.contains_key(operation), "{operation:?}");
        }
        for route @ (_, path) in declared.keys() {
            let is_page = path == "/" || path.starts_with("/console");
            assert!(
                is_page || operations.contains(route),
                "{route:?} is not described"
            );
        }
    }

    #[tokio::test]
    async fn only_probes_and_descriptions_are_public() {
        for ((method, path), permission) in declared().0 {
            let is_public = permission == Permission::Public;
            let may_be = method == "GET" && PUBLIC.contains(&path.as_str());
            assert!(!is_public || may_be, "{method} {path} is public");
        }
    }

    #[tokio::test]
    async fn what_changes_the_server_needs_a_permission_to_change() {
        const QUESTIONS: [&str; 5] = [
            "/console/try",
            "/v1/models/{model}",
            "/v2/models/{model}/infer",
            "/v2/models/{model}/versions/{version}/infer",
            "/v2/repository/index",
        ];
        for ((method, path), permission) in declared().0 {
            let is_question = method == "GET" || QUESTIONS.contains(&path.as_str());
            assert_eq!(permission.is_change(), !is_question, "{method} {path}");
        }
    }
}
