//! The versions of one model: which should be loaded, which are, and which serve requests meanwhile.
//!
//! This is bookkeeping only. It loads and drains nothing itself: [`ManagedModel::reconcile`] and
//! [`ManagedModel::due_loads`] say what there is to do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tidegate_registry::{Alias, VersionRecord};
use tokio::sync::watch;

use super::backoff::backoff;
use super::budget::Reservation;
use super::policy::{DEFAULT_NAME, Target, version_number};
use crate::models::requested_number;
use crate::{InferError, Model, ModelState, Version};

/// The longest wait after a failed load.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(60);

/// After this time without its files, the version that served before the start is loaded meanwhile.
const SLOW_FETCH: Duration = Duration::from_secs(2);

/// The result of a load, for everybody who waits for it; `None` while it is in progress.
pub(super) type LoadResult = Option<Result<Arc<Version>, InferError>>;

/// A model of the registry on this server.
#[derive(Debug, Default)]
pub(super) struct ManagedModel {
    pub(super) name: String,
    target: Target,
    /// The version that each name stands for now. It differs from the target's while the target's
    /// version is being loaded.
    current_names: BTreeMap<String, u64>,
    pub(super) slots: BTreeMap<u64, VersionSlot>,
    /// What its names stood for before the server was started, until they are loaded.
    previous_names: BTreeMap<String, u64>,
    /// The versions of those, as far as the registry still has them.
    previous_records: BTreeMap<u64, VersionRecord>,
    /// Whether an operator unloaded it.
    pub(super) is_unloaded: bool,
    /// The version of the alias `champion`, where the policy of versions leaves it out.
    pub(super) excluded_champion: Option<u64>,
    /// The versions that the registry has, served or not.
    pub(super) registry_versions: BTreeSet<u64>,
    /// The aliases that the registry has, with their versions.
    pub(super) registry_aliases: BTreeMap<String, u64>,
    /// The versions that have been loaded here, of those that the registry still has.
    pub(super) served_before: BTreeSet<u64>,
}

/// What a reconciliation leaves for the fleet to do.
#[derive(Debug, Default)]
pub(super) struct Reconciliation {
    /// Versions that take no more requests and must be drained.
    pub(super) to_drain: Vec<(u64, LoadedVersion)>,
    /// Versions that are no longer part of the model.
    pub(super) removed: Vec<u64>,
}

/// One version that should be served, or still is.
#[derive(Debug)]
pub(super) struct VersionSlot {
    pub(super) record: VersionRecord,
    pub(super) state: ModelState,
    pub(super) loaded: Option<LoadedVersion>,
    /// The load that is in progress.
    pub(super) load: Option<PendingLoad>,
    /// Loads that failed one after the other.
    pub(super) failures: u32,
    pub(super) retry_at: Option<Instant>,
    /// Whether it waits for its first request because memory is short.
    pub(super) is_deferred: bool,
    /// Alive while an engine loads it, even when the load has timed out and nobody waits for it.
    pub(super) engine_work: Weak<()>,
}

/// A load in progress, and who waits for it.
#[derive(Clone, Debug)]
pub(super) struct PendingLoad {
    pub(super) result: watch::Receiver<LoadResult>,
    pub(super) started: Instant,
    /// Requests that wait for it.
    pub(super) waiting: Arc<AtomicUsize>,
    /// Distinguishes it from earlier loads of the same version.
    pub(super) token: Arc<()>,
    /// Whether it may evict other versions; see [`super::load::LoadReason::Required`].
    pub(super) is_required: Arc<AtomicBool>,
}

/// A version in memory.
#[derive(Debug)]
pub(super) struct LoadedVersion {
    pub(super) version: Arc<Version>,
    pub(super) reservation: Reservation,
}

impl VersionSlot {
    fn new(record: VersionRecord) -> Self {
        Self {
            record,
            state: ModelState::Absent,
            loaded: None,
            load: None,
            failures: 0,
            retry_at: None,
            is_deferred: false,
            engine_work: Weak::new(),
        }
    }

    /// Whether an engine still works on a load that timed out.
    pub(super) fn is_overdue(&self) -> bool {
        self.load.is_none() && self.has_engine_work()
    }

    /// Whether its load failed, or its files are long in coming.
    fn is_late(&self) -> bool {
        let is_slow = self.state == ModelState::Fetching
            && self
                .load
                .as_ref()
                .is_some_and(|load| load.started.elapsed() >= SLOW_FETCH);
        is_slow || matches!(self.state, ModelState::Failed(_))
    }

    /// Records a failed load and postpones the next one, longer with each failure.
    pub(super) fn record_failure(&mut self, reason: String, now: Instant) {
        self.retry_at = Some(now + backoff(self.failures, MAX_RETRY_DELAY));
        self.failures += 1;
        self.state = ModelState::Failed(reason);
    }

    /// Records a load that succeeded.
    pub(super) fn record_success(&mut self, loaded: LoadedVersion) {
        self.failures = 0;
        self.retry_at = None;
        self.state = ModelState::Ready;
        self.loaded = Some(loaded);
    }

    /// Takes the loaded version out of service; it must be drained then.
    fn start_draining(&mut self) -> Option<LoadedVersion> {
        let loaded = self.loaded.take()?;
        self.state = ModelState::Draining;
        Some(loaded)
    }

    /// Begins anew with another content: a registry that was restored from a backup gives numbers
    /// again.
    fn forget_content(&mut self) -> Option<LoadedVersion> {
        self.failures = 0;
        self.retry_at = None;
        self.is_deferred = false;
        if matches!(self.state, ModelState::Failed(_)) {
            self.state = ModelState::Absent;
        }
        self.start_draining()
    }

    fn is_loaded(&self) -> bool {
        self.loaded.is_some()
    }

    fn has_engine_work(&self) -> bool {
        self.engine_work.strong_count() > 0
    }

    /// Whether something still depends on this slot, so that it cannot be removed yet.
    fn is_busy(&self) -> bool {
        self.load.is_some()
            || self.is_loaded()
            || self.has_engine_work()
            || self.state == ModelState::Draining
    }
}

impl ManagedModel {
    pub(super) fn new(name: &str, previous_names: BTreeMap<String, u64>) -> Self {
        Self {
            name: name.to_owned(),
            previous_names,
            ..Self::default()
        }
    }

    /// Remembers which versions have served requests, of those that the registry has. A freeze lets
    /// a name go back to one of them.
    pub(super) fn remember_served(&mut self, available: &BTreeSet<u64>) {
        let loaded = self.slots.iter().filter(|(_, slot)| slot.is_loaded());
        self.served_before.extend(loaded.map(|(number, _)| *number));
        self.served_before
            .retain(|number| available.contains(number));
    }

    /// Remembers which versions and aliases the registry has.
    pub(super) fn set_registry_names(&mut self, versions: BTreeSet<u64>, aliases: &[&Alias]) {
        let aliases = aliases
            .iter()
            .map(|alias| (alias.name.clone(), version_number(alias.version)))
            .filter(|(_, version)| versions.contains(version));
        self.registry_aliases = aliases.collect();
        self.registry_versions = versions;
    }

    /// What its names stand for, or stood for before the start where that is not loaded yet.
    pub(super) fn known_names(&self) -> BTreeMap<String, u64> {
        let mut names = self.previous_names.clone();
        let current = self.current_names.iter();
        let loaded = current.filter(|(_, number)| self.is_loaded(**number));
        names.extend(loaded.map(|(name, number)| (name.clone(), *number)));
        names
    }

    /// What it serves now, without the versions that are about to replace others.
    pub(super) fn current_target(&self) -> Target {
        let unchanged = self.wanted().filter(|number| !self.is_replacement(*number));
        Target {
            versions: unchanged
                .chain(self.current_names.values().copied())
                .collect(),
            names: self.current_names.clone(),
        }
    }

    /// Sets what should be served. `records` are the registry's versions of the model. Gives the
    /// loaded versions whose content is no longer what the registry has under their number; they
    /// must be drained.
    pub(super) fn set_target(
        &mut self,
        target: Target,
        records: &[&VersionRecord],
    ) -> Vec<(u64, LoadedVersion)> {
        let mut replaced = Vec::new();
        let previous: BTreeSet<u64> = self.previous_names.values().copied().collect();
        self.previous_names
            .retain(|name, _| target.names.contains_key(name));
        self.previous_records.clear();
        for record in records {
            let number = version_number(record.number);
            if previous.contains(&number) {
                self.previous_records.insert(number, (*record).clone());
            }
            match self.slots.get_mut(&number) {
                Some(slot) => {
                    if slot.record.digest != record.digest {
                        self.served_before.remove(&number);
                        replaced.extend(slot.forget_content().map(|loaded| (number, loaded)));
                    }
                    slot.record.clone_from(record);
                }
                None if target.versions.contains(&number) => {
                    self.slots
                        .insert(number, VersionSlot::new((*record).clone()));
                }
                None => {}
            }
        }
        self.target = target;
        replaced
    }

    /// Moves names to their target versions as far as these are loaded, and takes out of service
    /// what is no longer needed. Called after every change: a swap to a new version is no step of
    /// its own, it is what this does once the new version is loaded.
    pub(super) fn reconcile(&mut self) -> Reconciliation {
        let target = if self.is_unloaded {
            Target::default()
        } else {
            self.target.clone()
        };
        // Names move first: whether a version is still needed depends on where they point.
        self.move_names(&target);
        let to_drain = self.take_unneeded(&target);
        let removed = self.remove_unused_slots();
        Reconciliation { to_drain, removed }
    }

    fn move_names(&mut self, target: &Target) {
        self.current_names
            .retain(|name, _| target.names.contains_key(name));
        for (name, wanted) in &target.names {
            // A name never leaves a version that answers for one that does not.
            let is_loaded = self.is_loaded(*wanted);
            if is_loaded {
                self.previous_names.remove(name);
            }
            let current = self.current_names.get(name);
            let stays = current.is_some_and(|current| self.is_loaded(*current)) && !is_loaded;
            if !stays {
                let stand_in = self.stand_in(name, *wanted);
                let loaded = stand_in.filter(|stand_in| self.is_loaded(*stand_in));
                self.current_names
                    .insert(name.clone(), loaded.unwrap_or(*wanted));
            }
        }
    }

    fn take_unneeded(&mut self, target: &Target) -> Vec<(u64, LoadedVersion)> {
        let named: BTreeSet<u64> = self.current_names.values().copied().collect();
        self.slots
            .iter_mut()
            .filter(|(number, _)| !target.versions.contains(number) && !named.contains(number))
            .filter_map(|(number, slot)| Some((*number, slot.start_draining()?)))
            .collect()
    }

    fn remove_unused_slots(&mut self) -> Vec<u64> {
        let mut removed = Vec::new();
        let stand_ins = self.stand_ins();
        self.slots.retain(|number, slot| {
            // A slot that is loading or draining is removed when that has ended. An unloaded model
            // keeps the slots of its target, so that it can be loaded again.
            let stays = self.target.versions.contains(number)
                || stand_ins.contains(number)
                || slot.is_busy();
            if !stays {
                removed.push(*number);
            }
            stays
        });
        removed
    }

    /// Takes a version out of service that stays in the target: the next request for it loads it
    /// again.
    pub(super) fn take_out(&mut self, number: u64) -> Option<LoadedVersion> {
        let slot = self.slots.get_mut(&number)?;
        let loaded = slot.start_draining()?;
        // Otherwise the next poll of the registry would load it into the memory that it just left.
        slot.is_deferred = true;
        Some(loaded)
    }

    /// Whether a version serves only until its successor is loaded. Evicting it would leave the
    /// model without an answer, as it is never loaded again.
    pub(super) fn is_outgoing(&self, number: u64) -> bool {
        !self.target.versions.contains(&number)
    }

    /// Ends the draining of a version.
    pub(super) fn finish_draining(&mut self, number: u64) -> Reconciliation {
        if let Some(slot) = self.slots.get_mut(&number)
            && slot.state == ModelState::Draining
        {
            slot.state = ModelState::Absent;
        }
        self.reconcile()
    }

    /// The versions to load without waiting for a request.
    pub(super) fn due_loads(&mut self, is_lazy: bool, now: Instant) -> Vec<u64> {
        if self.is_unloaded {
            return Vec::new();
        }
        let stand_ins = self.stand_ins();
        for number in &stand_ins {
            if let Some(record) = self.previous_records.get(number) {
                let slot = || VersionSlot::new(record.clone());
                self.slots.entry(*number).or_insert_with(slot);
            }
        }
        let mut due = self.wanted().collect::<BTreeSet<_>>();
        due.extend(&stand_ins);
        due.retain(|number| {
            let is_lazy = is_lazy && !stand_ins.contains(number);
            self.is_due(*number, is_lazy, now)
        });
        due.into_iter().collect()
    }

    /// The version that a name stood for before the server was started, if it should answer while
    /// the one that the name stands for cannot be loaded, or takes long.
    fn stand_in(&self, name: &str, wanted: u64) -> Option<u64> {
        let previous = *self.previous_names.get(name)?;
        let is_known = previous != wanted && self.previous_records.contains_key(&previous);
        let is_missing = self.slots.get(&wanted).is_some_and(VersionSlot::is_late);
        (is_known && is_missing).then_some(previous)
    }

    fn stand_ins(&self) -> BTreeSet<u64> {
        let names = self.target.names.iter();
        names
            .filter_map(|(name, wanted)| self.stand_in(name, *wanted))
            .collect()
    }

    /// Whether a version is being loaded, or about to be, without which its names do not answer.
    pub(super) fn is_starting(&self) -> bool {
        let is_missing = |number: &u64| {
            let mut names = self
                .target
                .names
                .iter()
                .filter(|(_, wanted)| *wanted == number);
            !names.any(|(name, _)| {
                let current = self.current_names.get(name);
                current.is_some_and(|current| self.is_loaded(*current))
            })
        };
        let loads = self.slots.iter().filter(|(_, slot)| slot.load.is_some());
        loads.map(|(number, _)| number).any(is_missing)
            || !self.is_unloaded
                && self
                    .stand_ins()
                    .iter()
                    .any(|number| self.is_pending(*number))
    }

    fn is_pending(&self, number: u64) -> bool {
        let slot = self.slots.get(&number);
        slot.is_none_or(|slot| slot.state == ModelState::Absent)
    }

    /// Whether a version answers, or should, only until the one that its name stands for is loaded.
    pub(super) fn is_stand_in(&self, number: u64) -> bool {
        !self.target.versions.contains(&number) && self.stand_ins().contains(&number)
    }

    fn is_due(&self, number: u64, is_lazy: bool, now: Instant) -> bool {
        // A second load of the same version would double the memory of the first, which the engine
        // has not given up yet.
        let Some(slot) = self.slots.get(&number).filter(|slot| !slot.is_overdue()) else {
            return false;
        };
        // The new version of a name is loaded while the old one still answers, also of a lazy
        // model: its clients must not notice the swap.
        let is_replacement = self.is_replacement(number);
        if is_lazy && !is_replacement {
            return false;
        }
        match slot.state {
            ModelState::Absent => !slot.is_deferred || is_replacement,
            ModelState::Failed(_) => slot.retry_at.is_some_and(|at| at <= now),
            _ => false,
        }
    }

    /// The versions that should be served.
    pub(super) fn wanted(&self) -> impl Iterator<Item = u64> {
        self.target.versions.iter().copied()
    }

    pub(super) fn is_loaded(&self, number: u64) -> bool {
        self.slots.get(&number).is_some_and(VersionSlot::is_loaded)
    }

    /// Whether a version is to replace another one under some name.
    pub(super) fn is_replacement(&self, number: u64) -> bool {
        self.target.names.iter().any(|(name, wanted)| {
            let current = self.current_names.get(name);
            *wanted == number && current.is_some_and(|current| current != wanted)
        })
    }

    /// Routing rule of a model that the registry manages: the version that a request means, whether
    /// it is loaded or still has to be. `None` if the model does not serve such a version.
    pub(super) fn resolve(&self, requested: Option<&str>) -> Option<u64> {
        let requested = requested.unwrap_or(DEFAULT_NAME);
        let number = requested_number(requested, &self.current_names)?;
        let slot = self.slots.get(&number)?;
        // A version that is being drained has a slot too.
        let is_served = slot.is_loaded() || self.target.versions.contains(&number);
        is_served.then_some(number)
    }

    /// Whether the default version is loaded.
    pub(super) fn is_serving(&self) -> bool {
        self.resolve(None)
            .is_some_and(|number| self.is_loaded(number))
    }

    /// The aliases of a version, and whether it is the model's default version.
    pub(super) fn names_of(&self, number: u64) -> (Vec<String>, bool) {
        let own = self.current_names.iter().filter(|(_, own)| **own == number);
        let (default, aliases): (Vec<String>, Vec<String>) = own
            .map(|(name, _)| name.clone())
            .partition(|name| name == DEFAULT_NAME);
        (aliases, !default.is_empty())
    }

    /// What requests see; `None` if nothing is loaded.
    pub(super) fn to_model(&self) -> Option<Model> {
        let versions: BTreeMap<u64, Arc<Version>> = self
            .slots
            .iter()
            .filter_map(|(number, slot)| Some((*number, slot.loaded.as_ref()?.version.clone())))
            .collect();
        if versions.is_empty() {
            return None;
        }
        let mut aliases = self.current_names.clone();
        let default_number = aliases.remove(DEFAULT_NAME);
        let default_version = default_number.and_then(|number| versions.get(&number).cloned());
        Some(Model {
            name: self.name.clone(),
            versions,
            aliases,
            default_version,
        })
    }
}
