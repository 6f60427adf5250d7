//! Requests for versions that are not loaded: they wait for the load, bounded in number and time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::Fleet;
use super::load::LoadReason;
use super::managed_model::{ManagedModel, PendingLoad, VersionSlot};
use crate::models::{printable, unknown_model, unknown_version};
use crate::{ErrorCode, InferError, ModelState, Version};

/// A version that a request means.
enum Resolved {
    Loaded(Arc<Version>),
    Loading(PendingLoad),
}

/// Counts a request as one that waits for a load, as long as it lives.
struct WaitingRequest(Arc<AtomicUsize>);

impl WaitingRequest {
    /// `None` if `limit` requests wait already. Loads can take minutes, and every request that
    /// waits holds its decoded inputs in memory.
    fn join(waiting: &Arc<AtomicUsize>, limit: usize) -> Option<Self> {
        // The guard first: dropping it takes the count back where the limit is reached.
        let request = Self(waiting.clone());
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        (before < limit).then_some(request)
    }
}

impl Drop for WaitingRequest {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Fleet {
    /// The version that a request means. Loads it if it is not loaded: all requests for it wait for
    /// the same load. Returns whether this one waited.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownModel`], [`ErrorCode::UnknownVersion`], [`ErrorCode::NotReady`] with the
    /// reason, [`ErrorCode::QueueFull`] if too many wait, [`ErrorCode::DeadlineExceeded`].
    pub(crate) async fn demand(
        self: &Arc<Self>,
        model: &str,
        version: Option<&str>,
        deadline: Option<Instant>,
    ) -> Result<(Arc<Version>, bool), InferError> {
        match self.resolve_or_load(model, version)? {
            Resolved::Loaded(version) => Ok((version, false)),
            Resolved::Loading(load) => {
                let version = self.wait_for_load(model, load, deadline).await?;
                Ok((version, true))
            }
        }
    }

    async fn wait_for_load(
        &self,
        model: &str,
        mut load: PendingLoad,
        deadline: Option<Instant>,
    ) -> Result<Arc<Version>, InferError> {
        // Counted even if it is refused below: the client met a cold version all the same.
        self.metrics.count_cold_start_request(model);
        let limit = self.config.max_waiting_requests;
        let _waiting = WaitingRequest::join(&load.waiting, limit)
            .ok_or_else(|| too_many_waiting(model, limit))?;
        // Without a deadline a request waits no longer than a load may take.
        let until = deadline
            .unwrap_or_else(|| Instant::now() + Duration::from_secs(self.config.max_load_seconds));
        let loading = load.result.wait_for(Option::is_some);
        let result = tokio::time::timeout_at(until.into(), loading)
            .await
            .map_err(|_| loaded_too_late(model))?
            .ok()
            .and_then(|result| result.clone());
        result.unwrap_or_else(|| Err(load_without_result()))
    }

    fn resolve_or_load(
        self: &Arc<Self>,
        model: &str,
        version: Option<&str>,
    ) -> Result<Resolved, InferError> {
        let mut managed = self.managed.lock();
        let managed_model = managed.get_mut(model).ok_or_else(|| unknown_model(model))?;
        let (number, slot) = resolve(managed_model, version)?;
        if let Some(loaded) = &slot.loaded {
            return Ok(Resolved::Loaded(loaded.version.clone()));
        }
        // Requests do not shorten the back-off: a version that fails to load would otherwise keep
        // the engine and the registry busy for as long as clients ask for it.
        if let Some(problem) = backoff_problem(number, slot) {
            return Err(not_ready(model, &problem));
        }
        match self.start_load(managed_model, number, LoadReason::Required) {
            Some(load) => Ok(Resolved::Loading(load)),
            None => Err(not_ready(model, "it is not loaded")),
        }
    }

    /// Whether a request would be answered, if necessary after its version is loaded.
    ///
    /// # Errors
    /// Why it would not.
    pub(crate) fn would_answer(
        &self,
        model: &str,
        version: Option<&str>,
    ) -> Result<(), InferError> {
        let managed = self.managed.lock();
        let can_answer = managed
            .get(model)
            .and_then(|model| resolve(model, version).ok())
            .is_some_and(|(_, slot)| can_answer(slot));
        // `explain` takes the lock again.
        drop(managed);
        if can_answer {
            Ok(())
        } else {
            Err(self.explain(model, version))
        }
    }

    /// The error of a request that does not wait for the load of its version.
    pub(crate) fn explain(&self, model: &str, version: Option<&str>) -> InferError {
        let managed = self.managed.lock();
        let Some(managed_model) = managed.get(model) else {
            return unknown_model(model);
        };
        match resolve(managed_model, version) {
            Err(error) => error,
            Ok((_, slot)) => match &slot.state {
                ModelState::Failed(reason) => {
                    not_ready(model, &format!("it could not be loaded: {reason}"))
                }
                state => not_ready(model, &format!("it is {}", state.name())),
            },
        }
    }
}

/// The version that a request means, whatever its state.
fn resolve<'a>(
    model: &'a ManagedModel,
    version: Option<&str>,
) -> Result<(u64, &'a VersionSlot), InferError> {
    if model.is_unloaded {
        return Err(not_ready(&model.name, "it was taken out of service"));
    }
    model
        .resolve(version)
        .and_then(|number| Some((number, model.slots.get(&number)?)))
        .ok_or_else(|| {
            let available: Vec<u64> = model.wanted().collect();
            unknown_version(&model.name, version.unwrap_or_default(), available.iter())
        })
}

/// Whether a request for a version is answered at once or after a load.
fn can_answer(slot: &VersionSlot) -> bool {
    slot.loaded.is_some()
        || slot.load.is_some()
        || matches!(slot.state, ModelState::Absent | ModelState::Draining)
}

/// Why a version that failed to load is not tried again yet.
fn backoff_problem(number: u64, slot: &VersionSlot) -> Option<String> {
    let ModelState::Failed(reason) = &slot.state else {
        return None;
    };
    let wait = slot.retry_at?.saturating_duration_since(Instant::now());
    if wait.is_zero() {
        return None;
    }
    let wait_s = wait.as_secs_f64().ceil();
    Some(format!(
        "{number} could not be loaded: {reason}; next try in {wait_s} s"
    ))
}

fn not_ready(model: &str, why: &str) -> InferError {
    InferError::new(
        ErrorCode::NotReady,
        format!("model \"{}\" cannot answer: {why}", printable(model)),
    )
}

fn too_many_waiting(model: &str, limit: usize) -> InferError {
    InferError::new(
        ErrorCode::QueueFull,
        format!("{limit} requests already wait for the load of \"{model}\", which is the limit"),
    )
}

fn loaded_too_late(model: &str) -> InferError {
    InferError::new(
        ErrorCode::DeadlineExceeded,
        format!("the deadline passed before \"{model}\" was loaded"),
    )
}

fn load_without_result() -> InferError {
    InferError::new(ErrorCode::Internal, "the load ended without a result")
}
