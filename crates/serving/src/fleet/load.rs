//! Loading a version, in this order: wait for a free load slot, find and verify the files, reserve
//! memory, load and warm, let it serve.
//!
//! A load slot is taken first, so that at most `fleet.parallel_loads` versions are verified and
//! loaded at once, however many are due. Files that are not in the cache are fetched without one, as
//! many at once: an object store that hangs holds up only what it must give. Files come before
//! memory: a fetch can take minutes, and
//! memory that is reserved meanwhile would be missing elsewhere. Memory comes before the engine,
//! which takes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tidegate_registry::{Error, VersionRecord};
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore, watch};
use tracing::{error, info};

use super::budget::Reservation;
use super::managed_model::{LoadResult, LoadedVersion, ManagedModel, PendingLoad, VersionSlot};
use super::{Fleet, link};
use crate::load_trials::Trial;
use crate::scheduler::INLINE_RUN;
use crate::{ErrorCode, InferError, ModelState, Version, VersionPlan, source};

/// What an instance takes besides the weights, in bytes: measured on small graphs in ONNX Runtime.
const INSTANCE_BYTES: u64 = 2 << 20;
/// The least that a version counts besides its files, in bytes. A load that fills holes in the heap
/// can measure no growth at all, and versions must not become free of charge.
const MIN_OVERHEAD_BYTES: u64 = 512 << 10;

/// Why a version is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoadReason {
    /// Nobody has asked for it yet: it may take free memory only.
    Preload,
    /// A request waits for it, it replaces another version, or an operator asked for it: it may
    /// evict others.
    Required,
}

/// Why a version is not loaded.
enum NotLoaded {
    /// Memory is short, and nobody waits.
    Deferred,
    Failed(String),
}

impl NotLoaded {
    fn failed(error: impl ToString) -> Self {
        Self::Failed(error.to_string())
    }
}

/// How an attempt to load a version ended.
enum AttemptEnd {
    Done,
    /// It failed, and the attempt before it did not.
    FirstFailure(String),
    Retry,
}

/// A load as its own task sees it.
struct LoadTask {
    record: VersionRecord,
    number: u64,
    is_required: Arc<AtomicBool>,
    token: Arc<()>,
    result: watch::Sender<LoadResult>,
}

impl Fleet {
    /// Starts a load, or joins the one in progress. `None` if the version is loaded, unknown, or
    /// still occupied by a load that timed out.
    pub(super) fn start_load(
        self: &Arc<Self>,
        model: &mut ManagedModel,
        number: u64,
        reason: LoadReason,
    ) -> Option<PendingLoad> {
        let slot = model.slots.get_mut(&number)?;
        let is_required = reason == LoadReason::Required;
        if let Some(load) = &slot.load {
            // A preload becomes urgent as soon as somebody waits for it, and stays so.
            load.is_required.fetch_or(is_required, Ordering::Relaxed);
            return Some(load.clone());
        }
        if slot.loaded.is_some() || slot.is_overdue() {
            return None;
        }
        let (sender, receiver) = watch::channel(None);
        let load = PendingLoad {
            result: receiver,
            started: Instant::now(),
            waiting: Arc::new(AtomicUsize::new(0)),
            token: Arc::new(()),
            is_required: Arc::new(AtomicBool::new(is_required)),
        };
        let task = LoadTask {
            record: slot.record.clone(),
            number,
            is_required: load.is_required.clone(),
            token: load.token.clone(),
            result: sender,
        };
        slot.engine_work = Arc::downgrade(&load.token);
        slot.load = Some(load.clone());
        slot.state = ModelState::Fetching;
        slot.is_deferred = false;
        self.runtime.spawn(self.clone().run_load(task));
        Some(load)
    }

    async fn run_load(self: Arc<Self>, task: LoadTask) {
        let end = loop {
            let outcome = Box::pin(self.attempt_within_limit(&task)).await;
            match self.complete_load(&task, outcome) {
                AttemptEnd::Retry => {}
                end => break end,
            }
        };
        let AttemptEnd::FirstFailure(reason) = end else {
            return;
        };
        // Only the first of a series of failures: each report is an event in the registry.
        let record = &task.record;
        if let Err(error) = self.link.report_failure(record, &reason).await {
            error!(model = record.model, version = task.number, %error, "cannot report the failed load to the registry");
        }
    }

    async fn attempt_within_limit(
        self: &Arc<Self>,
        task: &LoadTask,
    ) -> Result<LoadedVersion, NotLoaded> {
        let limit = self.load_limit(&task.record);
        // The limit is on the load itself, not on the time it waits for others.
        let mut permit = permit_of(&self.load_permits).await;
        let mut files = within(limit, find(self.link.cached(&task.record))).await?;
        if files.is_none() {
            // A fetch needs the network and no core: other versions may be loaded meanwhile.
            drop(permit);
            let fetching = permit_of(&self.fetch_permits).await;
            let fetched = find(self.link.fetch(&task.record));
            files = Some(Box::pin(within(limit, fetched)).await?);
            permit = permit_of(&self.load_permits).await;
            drop(fetching);
        }
        let files = files.ok_or_else(|| NotLoaded::failed("its files were not fetched"))?;
        self.set_load_state(
            &task.record.model,
            task.number,
            &task.token,
            ModelState::Verifying,
        );
        let plan = source::cached(files).map_err(NotLoaded::failed)?;
        // From here on by the manifest in the files, which is signed.
        let record = VersionRecord {
            manifest: plan.manifest.clone(),
            ..task.record.clone()
        };
        let limit = self.load_limit(&record);
        within(limit, self.try_load(task, record, plan, permit)).await
    }

    fn load_limit(&self, record: &VersionRecord) -> Duration {
        let configured = record.manifest.limits.max_load_seconds;
        Duration::from_secs(configured.unwrap_or(self.config.max_load_seconds).max(1))
    }

    async fn try_load(
        self: &Arc<Self>,
        task: &LoadTask,
        record: VersionRecord,
        plan: VersionPlan,
        permit: OwnedSemaphorePermit,
    ) -> Result<LoadedVersion, NotLoaded> {
        let plan = self.try_first(&record.model, plan).await?;
        let reservation = self.reserve(task, &record).await?;
        let measuring = self.measure_alone(&record).await;

        let fleet = self.clone();
        let (number, token) = (task.number, task.token.clone());
        let loading = tokio::task::spawn_blocking(move || {
            // An engine cannot be interrupted. It keeps its permit and lock until it is done, even
            // after the load has timed out, so that the limits stay true.
            let _until_done = (permit, measuring);
            fleet.load_with_engine(&record, number, &token, plan, reservation)
        });
        loading
            .await
            .map_err(|panic| NotLoaded::Failed(format!("the engine panicked: {panic}")))?
    }

    /// Tries a version in another process, if its content is new. Before memory is reserved here, and
    /// while other versions load: a trial takes nothing from them.
    async fn try_first(
        self: &Arc<Self>,
        model: &str,
        plan: VersionPlan,
    ) -> Result<VersionPlan, NotLoaded> {
        let (models, model) = (self.models.clone(), model.to_owned());
        let trial = tokio::task::spawn_blocking(move || {
            models.try_first(&model, &plan, Trial::IfNew)?;
            Ok(plan)
        });
        let outcome = trial.await.map_err(NotLoaded::failed)?;
        outcome.map_err(NotLoaded::Failed)
    }

    /// Waits until no other version is being measured, if this content was not measured yet: the
    /// growth of the process is this version's only while it loads alone.
    async fn measure_alone(&self, record: &VersionRecord) -> Option<OwnedMutexGuard<()>> {
        if self.measured_bytes.lock().contains_key(&record.digest) {
            return None;
        }
        Some(self.measurement.clone().lock_owned().await)
    }

    /// Loads the version into its engine and corrects the reservation to what it took. Blocks.
    fn load_with_engine(
        self: &Arc<Self>,
        record: &VersionRecord,
        number: u64,
        token: &Arc<()>,
        plan: VersionPlan,
        mut reservation: Reservation,
    ) -> Result<LoadedVersion, NotLoaded> {
        let _marker = self.models.mark_load(&plan);
        let active = self.activity.start();
        let version = Version::load(
            &record.model,
            plan,
            &self.engines,
            self.models.load_metrics(),
            INLINE_RUN,
            &|state| self.set_load_state(&record.model, number, token, state),
        );
        let version = version.map_err(NotLoaded::failed)?;
        let version = self.models.fitting(version).map_err(NotLoaded::Failed)?;
        // Beside other loads the growth of the process says nothing about this one: the estimate
        // stays, and the next load of the same content measures again.
        if active.is_alone() {
            let bytes = measured_bytes(record, &version)?;
            self.measured_bytes.lock().insert(record.digest, bytes);
            reservation.correct(bytes);
            // The measurement may exceed the estimate, and with it the budget.
            self.evict_until_fits(&record.model, number, 0);
        }
        Ok(LoadedVersion {
            version: Arc::new(version),
            reservation,
        })
    }

    /// Reserves memory for a version: what is free, or what others leave.
    async fn reserve(
        self: &Arc<Self>,
        task: &LoadTask,
        record: &VersionRecord,
    ) -> Result<Reservation, NotLoaded> {
        let bytes = self.estimate_bytes(record);
        let limit = self.budget.limit();
        if bytes > limit {
            return Err(NotLoaded::Failed(format!(
                "it needs about {bytes} bytes, but fleet.memory_budget_bytes is {limit}"
            )));
        }
        loop {
            // Subscribed before the check, or a release in between would be missed.
            let changed = self.budget.changed();
            if let Some(reservation) = self.budget.try_reserve(bytes) {
                return Ok(reservation);
            }
            if !task.is_required.load(Ordering::Relaxed) {
                return Err(NotLoaded::Deferred);
            }
            // What is evicted here becomes free once it is drained; the wait below is for that.
            // Without anything to evict, only a load or a drain in progress can still help.
            let will_fit = self.evict_until_fits(&task.record.model, task.number, bytes);
            if !will_fit && !self.has_memory_in_transit() {
                return Err(NotLoaded::Failed(format!(
                    "it needs about {bytes} bytes of fleet.memory_budget_bytes ({limit}), but no loaded version \
                     can be unloaded: they are pinned, or must serve until a newer version is loaded"
                )));
            }
            changed.await;
        }
    }

    /// The memory that a version will take, in bytes: what was measured when it was last loaded,
    /// what its manifest says, or an estimate by the size of its files.
    fn estimate_bytes(&self, record: &VersionRecord) -> u64 {
        let measured = self.measured_bytes.lock().get(&record.digest).copied();
        measured
            .or(record.manifest.limits.max_memory_bytes)
            .unwrap_or_else(|| self.estimate_by_size(record))
    }

    /// The weights once as they were read, and once for each session that instances share.
    fn estimate_by_size(&self, record: &VersionRecord) -> u64 {
        let files = file_bytes(record);
        let options = &record.manifest.engine_options;
        let instances = self.engines.instances(files, options) as u64;
        let copies = self.engines.weight_copies(files, options) as u64;
        (INSTANCE_BYTES * instances).saturating_add(files.saturating_mul(1 + copies))
    }

    /// Sets the state of a version while it is loaded, unless that load has timed out.
    fn set_load_state(&self, model: &str, number: u64, token: &Arc<()>, state: ModelState) {
        let mut managed = self.managed.lock();
        let slot = managed
            .get_mut(model)
            .and_then(|model| model.slots.get_mut(&number));
        if let Some(slot) = slot
            && let Some(load) = &slot.load
            && Arc::ptr_eq(&load.token, token)
        {
            slot.state = state;
        }
    }

    /// Lets a version serve, or records why it does not.
    fn complete_load(
        self: &Arc<Self>,
        task: &LoadTask,
        outcome: Result<LoadedVersion, NotLoaded>,
    ) -> AttemptEnd {
        let model_name = task.record.model.as_str();
        let mut managed = self.managed.lock();
        let Some(model) = managed.get_mut(model_name) else {
            return AttemptEnd::Done;
        };
        let was_serving = model.is_serving();
        let Some(slot) = model.slots.get_mut(&task.number) else {
            return AttemptEnd::Done;
        };
        // A request may have joined while a preload was being deferred. Checked under the lock that
        // requests join under, so that none is lost.
        let is_deferred = matches!(outcome, Err(NotLoaded::Deferred));
        if is_deferred && task.is_required.load(Ordering::Relaxed) {
            return AttemptEnd::Retry;
        }
        slot.load = None;
        let outcome = if slot.record.digest == task.record.digest {
            outcome
        } else {
            let problem = "the registry now has other content under this number";
            Err(NotLoaded::Failed(problem.to_owned()))
        };
        let (result, end) = match outcome {
            Ok(loaded) => (Ok(self.record_loaded(task, slot, loaded)), AttemptEnd::Done),
            Err(NotLoaded::Deferred) => (Err(record_deferred(task, slot)), AttemptEnd::Done),
            Err(NotLoaded::Failed(reason)) => {
                let error = self.record_failed(task, slot, &reason);
                let is_first = slot.failures == 1;
                let end = if is_first {
                    AttemptEnd::FirstFailure(reason)
                } else {
                    AttemptEnd::Done
                };
                (Err(error), end)
            }
        };
        self.reconcile(model);
        if !was_serving && model.is_serving() {
            self.models.load_metrics().count_cold_start(model_name);
        }
        drop(managed);
        // Requests that wait continue only now: they find the version in the snapshot that
        // `reconcile` has published.
        task.result.send_replace(Some(result));
        self.budget.notify_waiters();
        self.finish_initial_loads();
        end
    }

    fn record_loaded(
        &self,
        task: &LoadTask,
        slot: &mut VersionSlot,
        loaded: LoadedVersion,
    ) -> Arc<Version> {
        let model = task.record.model.as_str();
        self.models.load_metrics().count_load(model, true);
        // Else the version, unused since its load began, could be the first to be evicted.
        loaded.version.last_used().set(Instant::now());
        let version = loaded.version.clone();
        slot.record_success(loaded);
        version
    }

    fn record_failed(&self, task: &LoadTask, slot: &mut VersionSlot, reason: &str) -> InferError {
        let (model, number) = (task.record.model.as_str(), task.number);
        self.models.load_metrics().count_load(model, false);
        slot.record_failure(reason.to_owned(), Instant::now());
        error!(
            model,
            version = number,
            reason,
            failures = slot.failures,
            "load failed"
        );
        let message = format!("{model}:{number} could not be loaded: {reason}");
        InferError::new(ErrorCode::NotReady, message)
    }
}

async fn permit_of(permits: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    let permit = permits.clone().acquire_owned().await;
    permit.expect("the semaphore is never closed")
}

async fn find<T>(files: impl Future<Output = Result<T, Error>>) -> Result<T, NotLoaded> {
    let found = files.await;
    found.map_err(|error| NotLoaded::Failed(link::reason(&error)))
}

async fn within<T>(
    limit: Duration,
    step: impl Future<Output = Result<T, NotLoaded>>,
) -> Result<T, NotLoaded> {
    tokio::time::timeout(limit, step).await.unwrap_or_else(|_| {
        let problem = format!("it was not loaded within {} s", limit.as_secs());
        Err(NotLoaded::Failed(problem))
    })
}

fn record_deferred(task: &LoadTask, slot: &mut VersionSlot) -> InferError {
    let (model, number) = (task.record.model.as_str(), task.number);
    info!(
        model,
        version = number,
        "memory is short: not loaded before the first request"
    );
    slot.state = ModelState::Absent;
    slot.is_deferred = true;
    InferError::new(
        ErrorCode::NotReady,
        format!("{model}:{number} waits for memory"),
    )
}

/// What a version took, in bytes, if its manifest allows that.
fn measured_bytes(record: &VersionRecord, version: &Version) -> Result<u64, NotLoaded> {
    let least = file_bytes(record) + MIN_OVERHEAD_BYTES;
    let bytes = version.memory_bytes().max(least);
    match record.manifest.limits.max_memory_bytes {
        // Refused although it has loaded: the owner declared that it must not take more.
        Some(limit) if bytes > limit => Err(NotLoaded::Failed(format!(
            "it took {bytes} bytes, limits.max_memory_bytes is {limit}"
        ))),
        _ => Ok(bytes),
    }
}

fn file_bytes(record: &VersionRecord) -> u64 {
    u64::try_from(record.bytes).unwrap_or_default()
}
