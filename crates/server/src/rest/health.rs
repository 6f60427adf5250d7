//! Whether the server, a model or a version can answer.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tidegate_gateway::{Credentials, Gateway, Permission};
use tidegate_serving::{ErrorCode, InferError};
use utoipa::ToSchema;

use super::answer::ErrorBody;
use super::path::Path;
use crate::component::Component;
use crate::describe::{EXTENSIONS, SERVER_NAME, SERVER_VERSION};
use crate::front_end::FrontEnd;
use crate::lifecycle::Lifecycle;
use crate::routes::Routes;

/// The name and version of the server, and the protocol extensions that it serves.
#[derive(Serialize, ToSchema)]
pub(crate) struct ServerMetadata {
    name: &'static str,
    version: &'static str,
    /// Extensions of the protocol that are served.
    extensions: &'static [&'static str],
}

/// The name and version of the server, and the protocol extensions that it serves.
#[utoipa::path(get, path = "/v2", tag = "server", responses((status = 200, body = ServerMetadata)))]
pub(crate) async fn server() -> Json<ServerMetadata> {
    Json(ServerMetadata {
        name: SERVER_NAME,
        version: SERVER_VERSION,
        extensions: EXTENSIONS,
    })
}

/// Whether the process responds, in the form of the Open Inference Protocol.
#[derive(Serialize, ToSchema)]
pub(crate) struct Liveness {
    live: bool,
}

/// Whether the process responds.
#[utoipa::path(get, path = "/v2/health/live", tag = "server", responses((status = 200, body = Liveness)))]
pub(crate) async fn live() -> Json<Liveness> {
    Json(Liveness { live: true })
}

/// The status of a server that is ready.
#[derive(Serialize, ToSchema)]
#[schema(as = Readiness)]
pub(crate) struct ReadyStatus {
    ready: bool,
    /// `ready`, or `degraded` if there are problems but the server can take traffic.
    status: &'static str,
    /// The problems: versions of the registry that could not be loaded, or that the registry
    /// cannot be read. How many there are, for callers who may not view operations.
    problems: Vec<String>,
}

/// Whether a model or a version answers.
#[derive(Serialize, ToSchema)]
pub(crate) struct ModelReadiness {
    name: String,
    ready: bool,
}

impl ModelReadiness {
    /// The answer for a model that answers, or for the error that a request would meet. The reason is
    /// told to those who may see the model: it names folders and files.
    pub(super) fn respond(
        gateway: &Gateway,
        request: &Request,
        name: String,
        would_answer: Result<(), InferError>,
    ) -> Response {
        let would_answer = would_answer.map_err(|error| {
            let credentials =
                Credentials::of(request.headers()).with_extensions(request.extensions());
            let caller = gateway.known_caller(credentials);
            if caller.is_some_and(|caller| caller.may(Permission::ViewModels, &name)) {
                return error;
            }
            InferError::new(error.code, format!("model \"{name}\" is not ready"))
        });
        match would_answer {
            Ok(()) => Json(Self { name, ready: true }).into_response(),
            Err(error) => NotReady::respond(Some(&name), &error),
        }
    }
}

/// An error with the fields in which clients of the Open Inference Protocol look for readiness.
#[derive(Serialize, ToSchema)]
pub(crate) struct NotReady<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    /// Always false.
    ready: bool,
    #[serde(flatten)]
    error: ErrorBody<'a>,
}

impl NotReady<'_> {
    /// As every error is answered, with `ready`, and the name of the model that is not.
    fn respond(name: Option<&str>, error: &InferError) -> Response {
        let body = NotReady {
            name,
            ready: false,
            error: ErrorBody::of(error),
        };
        super::answer::respond(error, &body)
    }
}

/// Whether the server is ready, and what its components report.
pub(crate) struct Readiness {
    pub(super) gateway: Arc<Gateway>,
    pub(super) lifecycle: Arc<Lifecycle>,
    pub(super) components: Vec<Arc<dyn Component>>,
}

impl Readiness {
    /// The problems, as far as whoever asks may know them: they name databases, folders and models.
    fn problems(&self, request: &Request) -> Vec<String> {
        let components = self.components.iter();
        let problems: Vec<String> = components
            .flat_map(|component| component.problems())
            .collect();
        let credentials = Credentials::of(request.headers()).with_extensions(request.extensions());
        let caller = self.gateway.known_caller(credentials);
        let may_know = caller.is_some_and(|caller| caller.may(Permission::ViewOperations, ""));
        if problems.is_empty() || may_know {
            return problems;
        }
        let count = problems.len();
        let permission = Permission::ViewOperations.name();
        vec![format!(
            "{count} problems, shown to callers with the permission {permission}"
        )]
    }
}

pub(super) fn routes(readiness: Arc<Readiness>) -> Routes<()> {
    Routes::described_by(utoipa::openapi::OpenApi::default())
        .get("/v2/health/ready", Permission::Public, ready)
        .with_state(readiness)
}

/// Whether traffic should be sent here: every model that was found in a folder answers, every
/// pinned model of the registry does, the keys of callers were read, and the server is not stopping.
#[utoipa::path(get, path = "/v2/health/ready", tag = "server",
    responses((status = 200, body = ReadyStatus), (status = 503, body = NotReady)))]
pub(crate) async fn ready(State(readiness): State<Arc<Readiness>>, request: Request) -> Response {
    let problems = readiness.problems(&request);
    if readiness.lifecycle.is_ready() {
        let status = if problems.is_empty() {
            "ready"
        } else {
            "degraded"
        };
        return Json(ReadyStatus {
            ready: true,
            status,
            problems,
        })
        .into_response();
    }
    let mut message = "the server is starting or stopping, a model could not be loaded, or the API keys could not be read: see /v2/repository/index".to_owned();
    if !problems.is_empty() {
        message = format!("{message}; {}", problems.join("; "));
    }
    NotReady::respond(None, &InferError::new(ErrorCode::NotReady, message))
}

/// Whether a model answers.
#[utoipa::path(get, path = "/v2/models/{model}/ready", tag = "models", params(("model" = String, Path)),
    responses((status = 200, body = ModelReadiness), (status = 404, body = NotReady),
        (status = 503, body = NotReady)))]
pub(crate) async fn model_ready(
    State(front_end): State<Arc<FrontEnd>>,
    Path(model): Path<String>,
    request: Request,
) -> Response {
    let would_answer = front_end.serving.would_answer(&model, None);
    ModelReadiness::respond(front_end.serving.gateway(), &request, model, would_answer)
}

/// Whether a version answers.
#[utoipa::path(get, path = "/v2/models/{model}/versions/{version}/ready", tag = "models",
    params(("model" = String, Path), ("version" = String, Path)),
    responses((status = 200, body = ModelReadiness), (status = 404, body = NotReady),
        (status = 503, body = NotReady)))]
pub(crate) async fn version_ready(
    State(front_end): State<Arc<FrontEnd>>,
    Path((model, version)): Path<(String, String)>,
    request: Request,
) -> Response {
    let would_answer = front_end.serving.would_answer(&model, Some(&version));
    ModelReadiness::respond(front_end.serving.gateway(), &request, model, would_answer)
}
