//! `/api/experiments`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::{Extension, Json};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use tidegate_gateway::{Caller, Permission};
use tidegate_serving::{ErrorCode, InferError};
use tidegate_store::StoredExperiment;
use utoipa::{OpenApi, ToSchema};

use super::definition::ExperimentDefinition;
use super::report::ExperimentReport;
use super::{Experiments, invalid, read_definition};
use crate::audit::AuditStates;
use crate::rest::{ApiError, ErrorBody, Path, body};
use crate::routes::Routes;
use crate::traffic::unavailable;

/// Longest reason, in bytes.
const MAX_REASON_BYTES: usize = 1024;

#[derive(OpenApi)]
#[openapi(paths(list, show, start, stop))]
struct Description;

pub(crate) fn description() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

pub(super) fn routes(experiments: Arc<Experiments>) -> Routes<()> {
    use Permission::{ManageTraffic, ViewModels};
    Routes::described_by(description())
        .get("/api/experiments", ViewModels, list)
        .get("/api/experiments/{name}/{experiment}", ViewModels, show)
        .post("/api/experiments/{name}/{experiment}", ManageTraffic, start)
        .audited("experiment.start", "endpoint")
        .post(
            "/api/experiments/{name}/{experiment}/stop",
            ManageTraffic,
            stop,
        )
        .audited("experiment.stop", "endpoint")
        .with_state(experiments)
}

/// An experiment.
#[derive(Serialize, ToSchema)]
pub(crate) struct ExperimentStatus {
    pub(crate) name: String,
    pub(crate) endpoint: String,
    /// `running` or `stopped`.
    pub(crate) state: &'static str,
    pub(crate) started_ms: i64,
    pub(crate) started_by: String,
    pub(crate) ended_ms: Option<i64>,
    pub(crate) ended_by: Option<String>,
    /// Why it stopped.
    pub(crate) reason: Option<String>,
    /// Whether its users get their arms: not if somebody has changed the policy of the endpoint.
    pub(crate) is_assigned: bool,
    /// What it said last.
    pub(crate) conclusion: Option<String>,
}

/// An experiment with all that is known of it.
#[derive(Serialize, ToSchema)]
pub(crate) struct ExperimentDetail {
    #[serde(flatten)]
    pub(crate) status: ExperimentStatus,
    pub(crate) definition: ExperimentDefinition,
    /// What it says now; of one that has stopped, what it said at last.
    pub(crate) report: Option<ExperimentReport>,
}

/// Why an experiment is stopped.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct Stop {
    /// In words.
    reason: String,
}

/// Lists the experiments, the newest first.
#[utoipa::path(get, path = "/api/experiments", tag = "experiments",
    responses((status = 200, body = [ExperimentStatus]), (status = 403, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 503, body = ErrorBody)))]
async fn list(
    State(experiments): State<Arc<Experiments>>,
) -> Result<Json<Vec<ExperimentStatus>>, ApiError> {
    let store = experiments.traffic.kept_store().await?;
    let all = store.experiments().await.map_err(unavailable)?;
    let statuses = all.iter().map(|one| experiments.status(one));
    Ok(Json(statuses.collect()))
}

/// Shows an experiment and what it says.
#[utoipa::path(get, path = "/api/experiments/{name}/{experiment}", tag = "experiments",
    params(("name" = String, Path), ("experiment" = String, Path)),
    responses((status = 200, body = ExperimentDetail), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
async fn show(
    State(experiments): State<Arc<Experiments>>,
    Path((endpoint, name)): Path<(String, String)>,
) -> Result<Json<ExperimentDetail>, ApiError> {
    let experiment = experiments.find(&endpoint, &name).await?;
    Ok(Json(experiments.detail(&experiment).await?))
}

/// Starts an experiment on an endpoint whose predictions are captured.
#[utoipa::path(post, path = "/api/experiments/{name}/{experiment}", tag = "experiments",
    params(("name" = String, Path), ("experiment" = String, Path)), request_body = ExperimentDefinition,
    responses((status = 201, body = ExperimentStatus), (status = 400, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 413, body = ErrorBody),
        (status = 415, body = ErrorBody), (status = 503, body = ErrorBody)))]
async fn start(
    State(experiments): State<Arc<Experiments>>,
    Extension(caller): Extension<Caller>,
    Path((endpoint, name)): Path<(String, String)>,
    states: AuditStates,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<ExperimentStatus>), ApiError> {
    let definition: ExperimentDefinition =
        body::wanted(&headers, body, &experiments.server).await?;
    let definition = definition.of_endpoint(&endpoint).map_err(invalid)?;
    let actor = caller.principal().to_string();
    let begun = experiments.begin(&name, definition, &actor).await?;
    states.after(serde_json::from_str(&begun.definition).unwrap_or_default());
    Ok((StatusCode::CREATED, Json(experiments.status(&begun))))
}

/// Stops an experiment: its users go by the weights of the traffic policy again.
#[utoipa::path(post, path = "/api/experiments/{name}/{experiment}/stop", tag = "experiments",
    params(("name" = String, Path), ("experiment" = String, Path)), request_body = Stop,
    responses((status = 200, body = ExperimentDetail), (status = 400, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 413, body = ErrorBody),
        (status = 415, body = ErrorBody), (status = 503, body = ErrorBody)))]
async fn stop(
    State(experiments): State<Arc<Experiments>>,
    Extension(caller): Extension<Caller>,
    Path((endpoint, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ExperimentDetail>, ApiError> {
    let Stop { reason } = body::wanted(&headers, body, &experiments.server).await?;
    if reason.len() > MAX_REASON_BYTES {
        let message = format!("reason is longer than {MAX_REASON_BYTES} bytes");
        return Err(InferError::new(ErrorCode::InvalidParameter, message).into());
    }
    let experiment = experiments.find(&endpoint, &name).await?;
    let actor = caller.principal().to_string();
    experiments.end(&experiment, &actor, &reason, None).await?;
    let stopped = experiments.find(&endpoint, &name).await?;
    Ok(Json(experiments.detail(&stopped).await?))
}

impl Experiments {
    /// An experiment of an endpoint: whoever may see that sees no others.
    async fn find(&self, endpoint: &str, name: &str) -> Result<StoredExperiment, InferError> {
        let store = self.traffic.kept_store().await?;
        let found = store.experiment(name).await.map_err(unavailable)?;
        let found = found.filter(|experiment| experiment.endpoint == endpoint);
        found.ok_or_else(|| {
            let shown: String = name.chars().take(64).collect();
            let message = format!("\"{endpoint}\" had no experiment {shown:?}");
            InferError::new(ErrorCode::NotFound, message)
        })
    }

    async fn detail(&self, experiment: &StoredExperiment) -> Result<ExperimentDetail, InferError> {
        let definition = read_definition(experiment)?;
        let store = self.traffic.kept_store().await?;
        let report = self.newest_report(&store, experiment, &definition).await?;
        let mut status = self.status(experiment);
        status.conclusion = report.as_ref().map(|report| report.conclusion.clone());
        Ok(ExperimentDetail {
            status,
            definition,
            report,
        })
    }

    fn status(&self, experiment: &StoredExperiment) -> ExperimentStatus {
        let is_running = experiment.ended_ms.is_none();
        let report: Option<ExperimentReport> = serde_json::from_str(&experiment.report).ok();
        let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        ExperimentStatus {
            name: experiment.name.clone(),
            endpoint: experiment.endpoint.clone(),
            state: if is_running { "running" } else { "stopped" },
            started_ms: experiment.started_ms,
            started_by: experiment.started_by.clone(),
            ended_ms: experiment.ended_ms,
            ended_by: said(&experiment.ended_by),
            reason: said(&experiment.reason),
            is_assigned: self.is_in_policy(experiment),
            conclusion: report.map(|report| report.conclusion),
        }
    }
}
