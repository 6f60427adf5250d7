//! Loading a version: fetch, verify, make room, load, warm, and let it answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tidegate_registry::VersionRecord;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tracing::{error, info};

use super::budget::Charge;
use super::family::{Family, Load, Loaded, Outcome};
use super::{Fleet, link};
use crate::scheduler::INLINE_RUN;
use crate::{ErrorCode, InferError, ModelState, Version, source};

/// What an instance takes beside the weights, in bytes: as measured on small graphs in ONNX
/// Runtime.
const INSTANCE_BYTES: u64 = 2 << 20;
/// What a version is charged at least beside its files, in bytes, however little was measured.
const LEAST_BYTES: u64 = 512 << 10;

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
    /// Begins a load, or joins the one that goes on. `None` if the version is there already, or
    /// nowhere.
    pub(super) fn begin(
        self: &Arc<Self>,
        family: &mut Family,
        number: u64,
        cause: Cause,
    ) -> Option<Load> {
        let slot = family.slots.get_mut(&number)?;
        if let Some(load) = &slot.load {
            load.is_needed
                .fetch_or(cause == Cause::Needed, Ordering::Relaxed);
            return Some(load.clone());
        }
        if slot.loaded.is_some() || slot.is_overdue() {
            return None;
        }
        let (sender, outcome) = watch::channel(None);
        let is_needed = Arc::new(AtomicBool::new(cause == Cause::Needed));
        let (waiting, token) = (Arc::new(AtomicUsize::new(0)), Arc::new(()));
        slot.engine = Arc::downgrade(&token);
        let load = Load {
            outcome,
            waiting,
            token: token.clone(),
            is_needed: is_needed.clone(),
        };
        slot.load = Some(load.clone());
        slot.state = ModelState::Fetching;
        slot.is_deferred = false;
        let record = slot.record.clone();
        self.runtime.spawn(
            self.clone()
                .load_version(record, number, is_needed, token, sender),
        );
        Some(load)
    }

    async fn load_version(
        self: Arc<Self>,
        record: VersionRecord,
        number: u64,
        is_needed: Arc<AtomicBool>,
        token: Arc<()>,
        sender: watch::Sender<Outcome>,
    ) {
        let seconds = record
            .manifest
            .limits
            .max_load_seconds
            .unwrap_or(self.config.max_load_seconds)
            .max(1);
        let finished = loop {
            let turn = self
                .loads
                .clone()
                .acquire_owned()
                .await
                .expect("the semaphore is never closed");
            let loading = self.try_load(&record, number, &is_needed, &token, turn);
            let too_slow = || {
                Err(Refusal::Failed(format!(
                    "it was not loaded within {seconds} s"
                )))
            };
            let outcome = tokio::time::timeout(Duration::from_secs(seconds), loading)
                .await
                .unwrap_or_else(|_| too_slow());
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
        token: &Arc<()>,
        turn: OwnedSemaphorePermit,
    ) -> Result<Loaded, Refusal> {
        let files = self
            .link
            .fetch(record)
            .await
            .map_err(|error| Refusal::Failed(link::reason(&error)))?;
        self.stand(&record.model, number, token, ModelState::Verifying);
        let plan = source::cached(files).map_err(|error| Refusal::Failed(error.to_string()))?;
        let charge = self.reserve(record, is_needed).await?;
        // A content that was not measured yet is loaded beside no other.
        let is_new = !self.learned.lock().contains_key(&record.digest);
        let alone = if is_new {
            Some(self.measuring.clone().lock_owned().await)
        } else {
            None
        };
        let (fleet, record, token) = (self.clone(), record.clone(), token.clone());
        let loaded = tokio::task::spawn_blocking(move || {
            // Both are given back when the engine is done, which may be after nobody waits for it
            // any more.
            let _held = (turn, alone);
            fleet.load_blocking(&record, number, &token, plan, charge)
        });
        let loaded = loaded.await;
        loaded.map_err(|panic| Refusal::Failed(format!("the engine panicked: {panic}")))?
    }

    /// What the engine does, and what it was measured to take.
    fn load_blocking(
        self: &Arc<Self>,
        record: &VersionRecord,
        number: u64,
        token: &Arc<()>,
        plan: crate::VersionPlan,
        mut charge: Charge,
    ) -> Result<Loaded, Refusal> {
        let active = self.activity.begin();
        let stage = |state| self.stand(&record.model, number, token, state);
        let version = Version::load(
            &record.model,
            plan,
            &self.engines,
            &self.metrics,
            INLINE_RUN,
            &stage,
        );
        let version = version.map_err(|error| Refusal::Failed(error.to_string()))?;
        // Beside other loads the growth of the process says nothing of this one.
        if active.is_alone() {
            let files = u64::try_from(record.bytes).unwrap_or_default();
            let bytes = version.memory_bytes().max(files + LEAST_BYTES);
            if let Some(most) = record
                .manifest
                .limits
                .max_memory_bytes
                .filter(|most| bytes > *most)
            {
                return Err(Refusal::Failed(format!(
                    "it took {bytes} bytes, limits.max_memory_bytes is {most}"
                )));
            }
            self.learned.lock().insert(record.digest, bytes);
            charge.correct(bytes);
            self.make_room(&record.model, number, 0);
        }
        Ok(Loaded {
            version: Arc::new(version),
            charge,
        })
    }

    /// Takes memory for a version, of what is free or of what others leave.
    async fn reserve(
        self: &Arc<Self>,
        record: &VersionRecord,
        is_needed: &AtomicBool,
    ) -> Result<Charge, Refusal> {
        let bytes = self.estimate(record);
        let limit = self.budget.limit();
        if bytes > limit {
            let problem =
                format!("it takes some {bytes} bytes, fleet.memory_budget_bytes is {limit}");
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
            if !self.make_room(&record.model, number, bytes) && !self.is_moving() {
                let problem = format!(
                    "it takes some {bytes} bytes, and what is loaded within {limit} bytes is pinned, or answers for a \
                     version that is not loaded yet"
                );
                return Err(Refusal::Failed(problem));
            }
            changed.await;
        }
    }

    /// What a version will take of memory, in bytes: as when it was loaded last, or by the size of
    /// its files.
    fn estimate(&self, record: &VersionRecord) -> u64 {
        let learned = self.learned.lock().get(&record.digest).copied();
        // The graph as it was read, and as each instance has it.
        let by_size = || {
            let files = u64::try_from(record.bytes).unwrap_or_default();
            let instances =
                self.engines
                    .instances(files, &record.manifest.engine_options) as u64;
            (INSTANCE_BYTES * instances).saturating_add(files.saturating_mul(1 + instances))
        };
        learned
            .or(record.manifest.limits.max_memory_bytes)
            .unwrap_or_else(by_size)
    }

    /// Says where a version stands while it is loaded.
    fn stand(&self, model: &str, number: u64, token: &Arc<()>, state: ModelState) {
        let mut families = self.families.lock();
        if let Some(slot) = families
            .get_mut(model)
            .and_then(|family| family.slots.get_mut(&number))
            && slot
                .load
                .as_ref()
                .is_some_and(|load| Arc::ptr_eq(&load.token, token))
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
        let Some(family) = families.get_mut(model) else {
            return Finished::Done;
        };
        let was_answering = family.answers();
        let Some(slot) = family.slots.get_mut(&number) else {
            return Finished::Done;
        };
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
                info!(
                    model,
                    version = number,
                    "not loaded before it is asked for: memory is short"
                );
                slot.state = ModelState::Absent;
                slot.is_deferred = true;
                Err(InferError::new(
                    ErrorCode::NotReady,
                    format!("{model}:{number} waits for memory"),
                ))
            }
            Err(Refusal::Failed(reason)) => {
                self.metrics
                    .loads
                    .with_label_values(&[model, "failed"])
                    .inc();
                slot.failed(reason.clone(), Instant::now());
                error!(
                    model,
                    version = number,
                    reason,
                    failures = slot.failures,
                    "version not loaded"
                );
                if slot.failures == 1 {
                    finished = Finished::FirstFailure(reason.clone());
                }
                Err(InferError::new(
                    ErrorCode::NotReady,
                    format!("{model}:{number} could not be loaded: {reason}"),
                ))
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
