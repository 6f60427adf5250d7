//! `/api/rollouts`.

mod bodies;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::{Extension, Json};
use http::{HeaderMap, StatusCode};
use tidegate_core::Signature;
use tidegate_delivery::policy::{TrafficPolicy, VersionName};
use tidegate_delivery::rollout::{CommandKind, Phase, Rollout, RolloutSpec};
use tidegate_gateway::{Caller, Permission};
use tidegate_serving::{ErrorCode, InferError};
use utoipa::OpenApi;

pub(super) use self::bodies::RolloutStatus;
use self::bodies::{NewRollout, RolloutDetail};
use super::change::CHAMPION;
use super::persisted::{PersistedRollouts, target};
use super::{Rollouts, checks, internal};
use crate::audit::AuditStates;
use crate::rest::{ApiError, ErrorBody, Path, body};
use crate::routes::Routes;
use crate::traffic::unavailable;

#[derive(OpenApi)]
#[openapi(paths(list, show, history, start, pause, resume, promote, abort, retry))]
struct Description;

pub(crate) fn description() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

pub(super) fn routes(rollouts: Arc<Rollouts>) -> Routes<()> {
    use Permission::{ManageTraffic, ViewModels};
    Routes::described_by(description())
        .get("/api/rollouts", ViewModels, list)
        .get("/api/rollouts/{name}", ViewModels, show)
        .get("/api/rollouts/{name}/history", ViewModels, history)
        .post("/api/rollouts/{name}", ManageTraffic, start)
        .audited("rollout.start", "endpoint")
        .post("/api/rollouts/{name}/pause", ManageTraffic, pause)
        .audited("rollout.pause", "endpoint")
        .post("/api/rollouts/{name}/resume", ManageTraffic, resume)
        .audited("rollout.resume", "endpoint")
        .post("/api/rollouts/{name}/promote", ManageTraffic, promote)
        .audited("rollout.promote", "endpoint")
        .post("/api/rollouts/{name}/abort", ManageTraffic, abort)
        .audited("rollout.abort", "endpoint")
        .post("/api/rollouts/{name}/retry", ManageTraffic, retry)
        .audited("rollout.retry", "endpoint")
        .with_state(rollouts)
}

/// Lists the rollouts that are under way or wait for others.
#[utoipa::path(get, path = "/api/rollouts", tag = "rollouts",
    responses((status = 200, body = [RolloutStatus]), (status = 403, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 503, body = ErrorBody)))]
async fn list(State(rollouts): State<Arc<Rollouts>>) -> Result<Json<Vec<RolloutStatus>>, ApiError> {
    let persisted = rollouts.newest().await?;
    let rollouts = &persisted.rollouts;
    let all = rollouts.active.iter().chain(&rollouts.queue);
    let statuses = all.map(|rollout| RolloutStatus::of(rollout, &persisted));
    Ok(Json(statuses.collect()))
}

/// Shows the newest rollout of an endpoint: its steps, what happened and what its checks say.
#[utoipa::path(get, path = "/api/rollouts/{name}", tag = "rollouts",
    params(("name" = String, Path)),
    responses((status = 200, body = RolloutDetail), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
async fn show(
    State(rollouts): State<Arc<Rollouts>>,
    Path(name): Path<String>,
) -> Result<Json<RolloutDetail>, ApiError> {
    let (rollout, status) = rollouts.newest_of(&name).await?;
    Ok(Json(RolloutDetail::new(&rollout, status)))
}

/// Lists the rollouts of an endpoint that are over, the newest first, with all that is known of them.
#[utoipa::path(get, path = "/api/rollouts/{name}/history", tag = "rollouts",
    params(("name" = String, Path)),
    responses((status = 200, body = [RolloutDetail]), (status = 403, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 503, body = ErrorBody)))]
async fn history(
    State(rollouts): State<Arc<Rollouts>>,
    Path(name): Path<String>,
) -> Result<Json<Vec<RolloutDetail>>, ApiError> {
    let past = rollouts.past(&name).await?;
    let details = past
        .iter()
        .map(|rollout| RolloutDetail::new(rollout, RolloutStatus::new(rollout)));
    Ok(Json(details.collect()))
}

/// Starts a rollout of an endpoint; it waits if another one is under way.
#[utoipa::path(post, path = "/api/rollouts/{name}", tag = "rollouts",
    params(("name" = String, Path)), request_body = NewRollout,
    responses((status = 201, body = RolloutStatus), (status = 400, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 413, body = ErrorBody),
        (status = 415, body = ErrorBody), (status = 503, body = ErrorBody)))]
async fn start(
    State(rollouts): State<Arc<Rollouts>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    states: AuditStates,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<RolloutStatus>), ApiError> {
    let new: NewRollout = body::wanted(&headers, body, &rollouts.server).await?;
    let from = rollouts.starting_version(&name).await?;
    if let Some(wanted) = new.from.as_ref().filter(|wanted| **wanted != from) {
        let message = format!("version {from} answers the requests of \"{name}\", not {wanted}");
        return Err(InferError::new(ErrorCode::Conflict, message).into());
    }
    let force = new.force;
    let spec = rollouts.spec(&name, from, new).await?;
    let store = rollouts.traffic.kept_store().await?;
    let actor = caller.principal().to_string();
    let begun = rollouts.begin(&store, &actor, spec, force).await?;
    let rollout = &begun.rollout;
    states.after(serde_json::to_value(&rollout.spec).unwrap_or_default());
    Ok((StatusCode::CREATED, Json(RolloutStatus::begun(&begun))))
}

/// Pauses a rollout: traffic stays as it is.
#[utoipa::path(post, path = "/api/rollouts/{name}/pause", tag = "rollouts",
    params(("name" = String, Path)),
    responses((status = 200, body = RolloutStatus), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
async fn pause(
    State(rollouts): State<Arc<Rollouts>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<Json<RolloutStatus>, ApiError> {
    Ok(Json(
        rollouts.obey(&name, &caller, CommandKind::Pause).await?,
    ))
}

/// Lets a paused rollout go on. Checks that held it do not hold it again.
#[utoipa::path(post, path = "/api/rollouts/{name}/resume", tag = "rollouts",
    params(("name" = String, Path)),
    responses((status = 200, body = RolloutStatus), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
async fn resume(
    State(rollouts): State<Arc<Rollouts>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<Json<RolloutStatus>, ApiError> {
    Ok(Json(
        rollouts.obey(&name, &caller, CommandKind::Resume).await?,
    ))
}

/// Gives the new version everything at once.
#[utoipa::path(post, path = "/api/rollouts/{name}/promote", tag = "rollouts",
    params(("name" = String, Path)),
    responses((status = 200, body = RolloutStatus), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
async fn promote(
    State(rollouts): State<Arc<Rollouts>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<Json<RolloutStatus>, ApiError> {
    Ok(Json(
        rollouts.obey(&name, &caller, CommandKind::Promote).await?,
    ))
}

/// Takes traffic back at once.
#[utoipa::path(post, path = "/api/rollouts/{name}/abort", tag = "rollouts",
    params(("name" = String, Path)),
    responses((status = 200, body = RolloutStatus), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
async fn abort(
    State(rollouts): State<Arc<Rollouts>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<Json<RolloutStatus>, ApiError> {
    Ok(Json(
        rollouts.obey(&name, &caller, CommandKind::Abort).await?,
    ))
}

/// Begins the newest rollout of an endpoint again, from its first step, after it was aborted.
#[utoipa::path(post, path = "/api/rollouts/{name}/retry", tag = "rollouts",
    params(("name" = String, Path)),
    responses((status = 201, body = RolloutStatus), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
async fn retry(
    State(rollouts): State<Arc<Rollouts>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<(StatusCode, Json<RolloutStatus>), ApiError> {
    let (last, _) = rollouts.newest_of(&name).await?;
    if !matches!(last.phase, Phase::Aborted { .. }) {
        let message = format!("the last rollout of \"{name}\" was not aborted");
        return Err(InferError::new(ErrorCode::Conflict, message).into());
    }
    let mut spec = last.spec;
    spec.targets[0].from = rollouts.starting_version(&name).await?;
    rollouts.check_versions(&spec).await?;
    let store = rollouts.traffic.kept_store().await?;
    let actor = caller.principal().to_string();
    // Whoever asks for it insists, although the version may have been found bad.
    let begun = rollouts.begin(&store, &actor, spec, true).await?;
    Ok((StatusCode::CREATED, Json(RolloutStatus::begun(&begun))))
}

impl Rollouts {
    /// Does to the rollout of an endpoint what a caller asks for who may.
    pub(crate) async fn obey(
        &self,
        endpoint: &str,
        caller: &Caller,
        kind: CommandKind,
    ) -> Result<RolloutStatus, InferError> {
        let store = self.traffic.kept_store().await?;
        let actor = caller.principal().to_string();
        let rollout = self.command(&store, endpoint, &actor, kind).await?;
        Ok(RolloutStatus::new(&rollout))
    }

    /// The state as it is now, whoever changed it.
    async fn newest(&self) -> Result<PersistedRollouts, InferError> {
        let store = self.traffic.kept_store().await?;
        let state = store.rollouts().await.map_err(unavailable)?;
        PersistedRollouts::read(state.as_deref()).map_err(internal)
    }

    /// The rollout of an endpoint that is under way or waits, or else the last one that is over.
    async fn newest_of(&self, endpoint: &str) -> Result<(Rollout, RolloutStatus), InferError> {
        let persisted = self.newest().await?;
        if let Some(rollout) = persisted.of(endpoint) {
            return Ok((rollout.clone(), RolloutStatus::of(rollout, &persisted)));
        }
        let past = self.past(endpoint).await?.into_iter().next();
        let past = past.ok_or_else(|| {
            let message = format!("there was no rollout of \"{endpoint}\"");
            InferError::new(ErrorCode::NotFound, message)
        })?;
        let status = RolloutStatus::new(&past);
        Ok((past, status))
    }

    async fn past(&self, endpoint: &str) -> Result<Vec<Rollout>, InferError> {
        let store = self.traffic.kept_store().await?;
        let past = store.past_rollouts(endpoint).await.map_err(unavailable)?;
        // One that a newer build has written is left out.
        let rollouts = past
            .iter()
            .filter_map(|state| serde_json::from_str(state).ok());
        Ok(rollouts.collect())
    }

    /// The version that a rollout begins from: the one that answers, or that of the rollout which it has to
    /// wait for. If the other one is promoted, it begins from that.
    async fn starting_version(&self, endpoint: &str) -> Result<VersionName, InferError> {
        let under_way = self.newest().await?;
        if let Some(rollout) = under_way.of(endpoint).filter(|rollout| !rollout.is_over()) {
            return Ok(target(rollout).from.clone());
        }
        let store = self.traffic.kept_store().await?;
        let champion = store.alias(endpoint, CHAMPION).await.map_err(unavailable)?;
        let policy = self.traffic.wanted_policy(endpoint);
        self.answering(endpoint, policy.as_ref(), champion)
    }

    /// What a rollout does, with its checks, once both versions are known to exist.
    async fn spec(
        &self,
        endpoint: &str,
        from: VersionName,
        new: NewRollout,
    ) -> Result<RolloutSpec, InferError> {
        let signature = |version: &VersionName| {
            let found = self.serving.version(endpoint, Some(version.as_str()));
            found.map_or_else(|_| Signature::default(), |found| found.signature().clone())
        };
        let checks = checks::default_checks(&signature(&from), &signature(&new.to));
        let spec = new.spec(endpoint, from, checks);
        self.check_versions(&spec).await?;
        checks::check_metrics(&spec)
            .map_err(|problem| InferError::new(ErrorCode::InvalidParameter, problem))?;
        Ok(spec)
    }

    /// Checks that the versions of a rollout exist. They are named by number: what an alias stands for
    /// may change under way.
    async fn check_versions(&self, spec: &RolloutSpec) -> Result<(), InferError> {
        let Some(target) = spec.targets.first() else {
            return Err(internal("a rollout without targets"));
        };
        for version in [&target.from, &target.to] {
            if version.as_str().parse::<u64>().is_err() {
                let message = format!("{version} is an alias: name the version by its number");
                return Err(InferError::new(ErrorCode::InvalidParameter, message));
            }
            let policy = TrafficPolicy::only(version.clone());
            self.traffic.check(&target.endpoint, &policy).await?;
        }
        Ok(())
    }
}
