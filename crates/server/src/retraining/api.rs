//! `/api/retraining`.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidegate_gateway::Caller;
use tidegate_gateway::Permission::{ManagePredictions, ViewOperations};
use tidegate_serving::{ErrorCode, InferError};
use tidegate_store::RetrainTrigger;
use utoipa::{OpenApi, ToSchema};

use super::config::RetrainConfig;
use super::{Retraining, not_reached};
use crate::audit::AuditStates;
use crate::rest::{ApiError, ErrorBody, Path};
use crate::routes::Routes;

/// Triggers of one answer, at most.
const MAX_TRIGGERS: u16 = 200;

#[derive(OpenApi)]
#[openapi(paths(retraining, approve, dismiss))]
struct Description;

pub(crate) fn description() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

pub(super) fn routes(retraining: Arc<Retraining>) -> Routes<()> {
    Routes::described_by(description())
        .get("/api/retraining", ViewOperations, self::retraining)
        .post(
            "/api/retraining/{name}/{trigger}/approve",
            ManagePredictions,
            approve,
        )
        .audited("retrain.approve", "endpoint")
        .post(
            "/api/retraining/{name}/{trigger}/dismiss",
            ManagePredictions,
            dismiss,
        )
        .audited("retrain.dismiss", "endpoint")
        .with_state(retraining)
}

/// The rules of this server, and the triggers of its database.
#[derive(Serialize, ToSchema)]
pub(crate) struct RetrainingAnswer {
    /// The rules of the configuration.
    rules: Vec<RuleAnswer>,
    /// The last triggers, the newest first.
    triggers: Vec<TriggerAnswer>,
}

/// A rule.
#[derive(Serialize, ToSchema)]
pub(crate) struct RuleAnswer {
    /// Its name.
    name: String,
    /// The endpoint that it watches.
    endpoint: String,
    /// Since when it has had a reason, in milliseconds since 1970, as this server sees it.
    reason_since_ms: Option<u64>,
    /// Why it does not fire although it has a reason, as this server sees it.
    held_back: Option<String>,
}

/// A trigger.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct TriggerAnswer {
    /// Its name, which a push has to name.
    pub id: String,
    /// The rule that fired.
    pub rule: String,
    /// The endpoint.
    pub endpoint: String,
    /// `preparing`, `waiting` for a person, `approved`, `open` until a version comes, `closed`,
    /// `dismissed`, `superseded` or `failed`.
    pub state: String,
    /// Why it fired, with the numbers.
    #[schema(value_type = Object)]
    pub reason: Value,
    /// When it fired, in milliseconds since 1970.
    pub fired_ms: i64,
    /// When its state last changed, in milliseconds since 1970.
    pub changed_ms: i64,
    /// Its data set, such as `fraud@3`; empty until there is one.
    pub dataset: String,
    /// The SHA-256 of the data set.
    pub dataset_digest: String,
    /// How often the step that is under way has failed.
    pub attempts: i64,
    /// Why it has failed last.
    pub problem: String,
    /// Who approved or dismissed it.
    pub decided_by: String,
    /// The version that closed it, such as `fraud:8`.
    pub closed_by: String,
}

impl From<RetrainTrigger> for TriggerAnswer {
    fn from(trigger: RetrainTrigger) -> Self {
        Self {
            reason: serde_json::from_str(&trigger.reason).unwrap_or_default(),
            state: trigger.state.name().to_owned(),
            id: trigger.id,
            rule: trigger.rule,
            endpoint: trigger.endpoint,
            fired_ms: trigger.fired_ms,
            changed_ms: trigger.changed_ms,
            dataset: trigger.dataset,
            dataset_digest: trigger.dataset_digest,
            attempts: trigger.attempts,
            problem: trigger.problem,
            decided_by: trigger.decided_by,
            closed_by: trigger.closed_by,
        }
    }
}

/// When new versions are asked for, and were.
#[utoipa::path(get, path = "/api/retraining", tag = "quality",
    responses((status = 200, body = RetrainingAnswer), (status = 403, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
async fn retraining(
    State(retraining): State<Arc<Retraining>>,
) -> Result<Json<RetrainingAnswer>, ApiError> {
    let store = retraining.store().await.map_err(not_reached)?;
    let triggers = store.triggers(None, MAX_TRIGGERS).await;
    let triggers = triggers.map_err(not_reached)?.into_iter();
    let rules = retraining.rules.iter();
    Ok(Json(RetrainingAnswer {
        rules: rules
            .map(|rule| retraining.rule_answer(&rule.config))
            .collect(),
        triggers: triggers.map(TriggerAnswer::from).collect(),
    }))
}

/// Approves a trigger that waits: its message is sent.
#[utoipa::path(post, path = "/api/retraining/{name}/{trigger}/approve", tag = "quality",
    params(("name" = String, Path), ("trigger" = String, Path)),
    responses((status = 200, body = TriggerAnswer), (status = 400, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 503, body = ErrorBody)))]
async fn approve(
    State(retraining): State<Arc<Retraining>>,
    Path((endpoint, id)): Path<(String, String)>,
    Extension(caller): Extension<Caller>,
    states: AuditStates,
) -> Result<Json<TriggerAnswer>, ApiError> {
    let deciding = retraining.decide(&endpoint, &id, true, &caller, &states);
    Ok(Json(deciding.await?))
}

/// Dismisses a trigger that waits, or whose version is not expected any more.
#[utoipa::path(post, path = "/api/retraining/{name}/{trigger}/dismiss", tag = "quality",
    params(("name" = String, Path), ("trigger" = String, Path)),
    responses((status = 200, body = TriggerAnswer), (status = 400, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 503, body = ErrorBody)))]
async fn dismiss(
    State(retraining): State<Arc<Retraining>>,
    Path((endpoint, id)): Path<(String, String)>,
    Extension(caller): Extension<Caller>,
    states: AuditStates,
) -> Result<Json<TriggerAnswer>, ApiError> {
    let deciding = retraining.decide(&endpoint, &id, false, &caller, &states);
    Ok(Json(deciding.await?))
}

impl Retraining {
    fn rule_answer(&self, config: &RetrainConfig) -> RuleAnswer {
        let state = self.state.lock();
        RuleAnswer {
            name: config.name.clone(),
            endpoint: config.endpoint.clone(),
            reason_since_ms: state.reason_since_ms.get(&config.name).copied(),
            held_back: state.held_back.get(&config.name).cloned(),
        }
    }

    async fn decide(
        &self,
        endpoint: &str,
        id: &str,
        approves: bool,
        caller: &Caller,
        states: &AuditStates,
    ) -> Result<TriggerAnswer, InferError> {
        let store = self.store().await.map_err(not_reached)?;
        let trigger = store.trigger(id).await.map_err(not_reached)?;
        // The permission was checked for this endpoint.
        if trigger.is_none_or(|trigger| trigger.endpoint != endpoint) {
            let message = format!("there is no trigger {id} of the endpoint \"{endpoint}\"");
            return Err(InferError::new(ErrorCode::NotFound, message));
        }
        let actor = caller.principal().to_string();
        let mut write = store.write(&actor).await.map_err(not_reached)?;
        let decided = write
            .decide_trigger(id, approves)
            .await
            .map_err(not_reached)?;
        let decided =
            decided.map_err(|problem| InferError::new(ErrorCode::TriggerState, problem))?;
        write.commit().await.map_err(not_reached)?;
        states.after(json!({"trigger": decided.id, "state": decided.state.name()}));
        Ok(decided.into())
    }
}
