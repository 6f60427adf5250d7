//! Requests for versions that are not loaded: they wait for the load, bounded in number and time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::Fleet;
use super::family::{Family, Load, Slot};
use super::load::Cause;
use crate::models::{printable, unknown_model, unknown_version};
use crate::{ErrorCode, InferError, ModelState, Version};

/// A request that waits for a load.
struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Fleet {
    /// A version that a request means, loaded if it is not: all requests for it wait for the same
    /// load. Gives whether this one waited.
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
        let mut load = match self.find_or_begin(model, version)? {
            Found::There(version) => return Ok((version, false)),
            Found::Coming(load) => load,
        };
        self.metrics
            .cold_start_requests
            .with_label_values(&[model])
            .inc();
        let most = self.config.max_waiting_requests;
        let waiting = Waiting(load.waiting.clone());
        if waiting.0.fetch_add(1, Ordering::Relaxed) >= most {
            let message =
                format!("{most} requests wait for \"{model}\" to be loaded, as many as may wait");
            return Err(InferError::new(ErrorCode::QueueFull, message));
        }
        let until = deadline
            .unwrap_or_else(|| Instant::now() + Duration::from_secs(self.config.max_load_seconds));
        let too_late = |_| {
            let message = format!("the deadline passed before \"{model}\" was loaded");
            InferError::new(ErrorCode::DeadlineExceeded, message)
        };
        let outcome =
            tokio::time::timeout_at(until.into(), load.outcome.wait_for(Option::is_some)).await;
        let outcome = outcome.map_err(too_late)?.map(|outcome| outcome.clone());
        match outcome {
            Ok(Some(outcome)) => outcome.map(|version| (version, true)),
            Ok(None) | Err(_) => Err(InferError::new(
                ErrorCode::Internal,
                "the load ended without an outcome",
            )),
        }
    }

    fn find_or_begin(
        self: &Arc<Self>,
        model: &str,
        version: Option<&str>,
    ) -> Result<Found, InferError> {
        let mut families = self.families.lock();
        let family = families
            .get_mut(model)
            .ok_or_else(|| unknown_model(model))?;
        let (number, slot) = find(family, version)?;
        if let Some(loaded) = &slot.loaded {
            return Ok(Found::There(loaded.version.clone()));
        }
        if let (ModelState::Failed(reason), Some(retry_at)) = (&slot.state, slot.retry_at) {
            let wait = retry_at.saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                let wait = wait.as_secs_f64().ceil();
                return Err(not_ready(
                    model,
                    &format!("{number} could not be loaded: {reason}; tried again in {wait} s"),
                ));
            }
        }
        match self.begin(family, number, Cause::Needed) {
            Some(load) => Ok(Found::Coming(load)),
            None => Err(not_ready(model, "it is not loaded")),
        }
    }

    /// Whether a request would be answered, be it after its version was loaded.
    ///
    /// # Errors
    /// Why it would not.
    pub(crate) fn would_answer(
        &self,
        model: &str,
        version: Option<&str>,
    ) -> Result<(), InferError> {
        let waits = {
            let families = self.families.lock();
            families
                .get(model)
                .and_then(|family| find(family, version).ok())
                .is_some_and(|(_, slot)| {
                    let comes = matches!(slot.state, ModelState::Absent | ModelState::Draining);
                    slot.loaded.is_some() || slot.load.is_some() || comes
                })
        };
        if waits {
            Ok(())
        } else {
            Err(self.explain(model, version))
        }
    }

    /// The error that a request for what is not loaded gets where it does not wait.
    pub(crate) fn explain(&self, model: &str, version: Option<&str>) -> InferError {
        let families = self.families.lock();
        let Some(family) = families.get(model) else {
            return unknown_model(model);
        };
        match find(family, version) {
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

enum Found {
    There(Arc<Version>),
    Coming(Load),
}

/// The version that a request means, wherever it stands.
fn find<'a>(family: &'a Family, version: Option<&str>) -> Result<(u64, &'a Slot), InferError> {
    if family.is_stopped {
        return Err(not_ready(&family.name, "it was taken out of service"));
    }
    let number = family.number(version);
    number
        .and_then(|number| Some((number, family.slots.get(&number)?)))
        .ok_or_else(|| {
            let there: Vec<u64> = family.wanted().collect();
            unknown_version(&family.name, version.unwrap_or_default(), there.iter())
        })
}

fn not_ready(model: &str, why: &str) -> InferError {
    InferError::new(
        ErrorCode::NotReady,
        format!("model \"{}\" cannot answer: {why}", printable(model)),
    )
}
