//! Loading a version: fetch, verify, make room, load, warm, and let it answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tidegate_registry::VersionRecord;
use tokio::sync::watch;
use tracing::{error, info};

use super::budget::Charge;
use super::family::{Family, Load, Loaded, Outcome};
use super::{Fleet, link};
use crate::{ErrorCode, InferError, ModelState, Version, source};

/// What an engine takes beside the weights, in bytes: as measured on small graphs in ONNX Runtime.
const ENGINE_BYTES: u64 = 3 << 20;
/// What a version is charged at least beside its files, in bytes, however little the process grew.
const LEAST_BYTES: u64 = 512 << 10;
/// Copies of the weights in memory, as a share of the artifact's size: the graph as it was read, and as it was
/// optimized for each instance.
const WEIGHT_COPIES: u64 = 2;

/// Why a version is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Nobody has asked for it yet: it takes memory that is free.
    Preload,
    /// A request waits, or it takes another one's place, or somebody said so: others make room.
    Needed,
}

/// Why a version is not loaded.
enum Refusal {
    /// Memory is short, and nobody waits.
    Deferred,
    Failed(String),
}

/// How a load ended.
enum Finished {
    Done,
    /// It failed, and the one before did not.
    FirstFailure(String),
    Again,
}

impl Fleet {
    /// Begins a load, or joins the one that goes on. `None` if the version is there already, or nowhere.
    pub(super) fn begin(self: &Arc<Self>, family: &mut Family, number: u64, cause: Cause) -> Option<Load> {
        let slot = family.slots.get_mut(&number)?;
        if let Some(load) = &slot.load {
            load.is_needed.fetch_or(cause == Cause::Needed, Ordering::Relaxed);
            return Some(load.clone());
        }
        if slot.loaded.is_some() {
            return None;
        }
        let (sender, outcome) = watch::channel(None);
        let is_needed = Arc::new(AtomicBool::new(cause == Cause::Needed));
        let load = Load { outcome, waiting: Arc::new(AtomicUsize::new(0)), is_needed: is_needed.clone() };
        slot.load = Some(load.clone());
        slot.state = ModelState::Fetching;
        slot.is_deferred = false;
        let record = slot.record.clone();
        self.runtime.spawn(self.clone().load_version(record, number, is_needed, sender));
        Some(load)
    }

    async fn load_version(
        self: Arc<Self>,
        record: VersionRecord,
        number: u64,
        is_needed: Arc<AtomicBool>,
        sender: watch::Sender<Outcome>,
    ) {
        let seconds = record.manifest.limits.max_load_seconds.unwrap_or(self.config.max_load_seconds).max(1);
        let finished = loop {
            // It is never closed.
            let turn = self.loads.clone().acquire_owned().await;
            let loading = self.try_load(&record, number, &is_needed);
            let too_slow = || Err(Refusal::Failed(format!("it was not loaded within {seconds} s")));
            let outcome =
                tokio::time::timeout(Duration::from_secs(seconds), loading).await.unwrap_or_else(|_| too_slow());
            drop(turn);
            match self.finish(&record, number, outcome, &is_needed, &sender) {
                Finished::Again => {}
                finished => break finished,
            }
        };
        if let Finished::FirstFailure(reason) = finished
            && let Err(error) = self.link.report_failure(&record, &reason).await
        {
            error!(model = record.model, version = number, %error, "the failure could not be left in the registry");
        }
    }

    async fn try_load(
        self: &Arc<Self>,
        record: &VersionRecord,
        number: u64,
        is_needed: &AtomicBool,
    ) -> Result<Loaded, Refusal> {
        let files = self.link.fetch(record).await.map_err(|error| Refusal::Failed(link::reason(&error)))?;
        self.stand(&record.model, number, ModelState::Verifying);
        let plan = source::cached(files).map_err(|error| Refusal::Failed(error.to_string()))?;
        let charge = self.reserve(record, is_needed).await?;
        let (fleet, record) = (self.clone(), record.clone());
        let loaded = tokio::task::spawn_blocking(move || fleet.load_blocking(&record, number, plan, charge)).await;
        loaded.map_err(|panic| Refusal::Failed(format!("the engine panicked: {panic}")))?
    }

    /// What the engine does, and what it was measured to take.
    fn load_blocking(
        self: &Arc<Self>,
        record: &VersionRecord,
        number: u64,
        plan: crate::VersionPlan,
        mut charge: Charge,
    ) -> Result<Loaded, Refusal> {
        let active = self.activity.begin();
        let stage = |state| self.stand(&record.model, number, state);
        let version = Version::load(&record.model, plan, &self.engines, &self.metrics, &stage);
        let version = version.map_err(|error| Refusal::Failed(error.to_string()))?;
        // Beside other loads the growth of the process says nothing of this one.
        if active.is_alone() {
            let files = u64::try_from(record.bytes).unwrap_or_default();
            let bytes = version.memory_bytes().max(files + LEAST_BYTES);
            // Memory that was freed before and not given back hides what a load takes: the most that was seen counts.
            let bytes = bytes.max(self.learned.lock().get(&record.digest).copied().unwrap_or(0));
            self.learned.lock().insert(record.digest, bytes);
            if let Some(most) = record.manifest.limits.max_memory_bytes.filter(|most| bytes > *most) {
                return Err(Refusal::Failed(format!("it took {bytes} bytes, limits.max_memory_bytes is {most}")));
            }
            if !charge.correct(bytes) {
                self.make_room(&record.model, number);
            }
        }
        Ok(Loaded { version: Arc::new(version), charge })
    }

    /// Takes memory for a version, of what is free or of what others leave.
    async fn reserve(self: &Arc<Self>, record: &VersionRecord, is_needed: &AtomicBool) -> Result<Charge, Refusal> {
        let bytes = self.estimate(record);
        let limit = self.budget.limit();
        if bytes > limit {
            let problem = format!("it takes some {bytes} bytes, fleet.memory_budget_bytes is {limit}");
            return Err(Refusal::Failed(problem));
        }
        loop {
            let changed = self.budget.changed();
            if let Some(charge) = self.budget.take(bytes) {
                return Ok(charge);
            }
            if !is_needed.load(Ordering::Relaxed) {
                return Err(Refusal::Deferred);
            }
            let number = u64::try_from(record.number).unwrap_or_default();
            if !self.make_room(&record.model, number) && !self.is_moving() {
                let problem = format!("it takes some {bytes} bytes, and what is loaded within {limit} bytes is pinned");
                return Err(Refusal::Failed(problem));
            }
            changed.await;
        }
    }

    /// What a version will take of memory, in bytes: as when it was loaded last, or by the size of its files.
    fn estimate(&self, record: &VersionRecord) -> u64 {
        let learned = self.learned.lock().get(&record.digest).copied();
        let by_size = || {
            let files = u64::try_from(record.bytes).unwrap_or_default();
            ENGINE_BYTES.saturating_add(files.saturating_mul(WEIGHT_COPIES))
        };
        learned.or(record.manifest.limits.max_memory_bytes).unwrap_or_else(by_size)
    }

    /// Says where a version stands while it is loaded.
    fn stand(&self, model: &str, number: u64, state: ModelState) {
        let mut families = self.families.lock();
        if let Some(slot) = families.get_mut(model).and_then(|family| family.slots.get_mut(&number))
            && slot.load.is_some()
        {
            slot.state = state;
        }
    }

    /// Lets a version answer, or notes why it does not.
    fn finish(
        self: &Arc<Self>,
        record: &VersionRecord,
        number: u64,
        outcome: Result<Loaded, Refusal>,
        is_needed: &AtomicBool,
        sender: &watch::Sender<Outcome>,
    ) -> Finished {
        let model = record.model.as_str();
        let mut families = self.families.lock();
        let Some(family) = families.get_mut(model) else { return Finished::Done };
        let was_answering = family.answers();
        let Some(slot) = family.slots.get_mut(&number) else { return Finished::Done };
        if matches!(outcome, Err(Refusal::Deferred)) && is_needed.load(Ordering::Relaxed) {
            // A request came while it was being put off.
            return Finished::Again;
        }
        slot.load = None;
        let mut finished = Finished::Done;
        let answer = match outcome {
            Ok(loaded) => {
                self.metrics.loads.with_label_values(&[model, "ok"]).inc();
                loaded.version.last_used().set(Instant::now());
                let version = loaded.version.clone();
                slot.failures = 0;
                slot.retry_at = None;
                slot.state = ModelState::Ready;
                slot.loaded = Some(loaded);
                Ok(version)
            }
            Err(Refusal::Deferred) => {
                info!(model, version = number, "not loaded before it is asked for: memory is short");
                slot.state = ModelState::Absent;
                slot.is_deferred = true;
                Err(InferError::new(ErrorCode::NotReady, format!("{model}:{number} waits for memory")))
            }
            Err(Refusal::Failed(reason)) => {
                self.metrics.loads.with_label_values(&[model, "failed"]).inc();
                slot.failed(reason.clone(), Instant::now());
                error!(model, version = number, reason, failures = slot.failures, "version not loaded");
                if slot.failures == 1 {
                    finished = Finished::FirstFailure(reason.clone());
                }
                Err(InferError::new(ErrorCode::NotReady, format!("{model}:{number} could not be loaded: {reason}")))
            }
        };
        self.settle(family);
        if !was_answering && family.answers() {
            self.metrics.cold_starts.with_label_values(&[model]).inc();
        }
        drop(families);
        sender.send_replace(Some(answer));
        self.budget.tell();
        self.note_start();
        finished
    }
}
