//! The versions of one model: which should be loaded, which are, and which answer meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tidegate_registry::VersionRecord;
use tokio::sync::watch;

use super::backoff::backoff;
use super::budget::Charge;
use super::policy::{DEFAULT, Target};
use crate::{InferError, Model, ModelState, Version};

/// The longest wait after a failed load.
const RETRY_AT_MOST: Duration = Duration::from_secs(60);

/// What comes of a load, for everybody who waits for it; `None` as long as it goes on.
pub(super) type Outcome = Option<Result<Arc<Version>, InferError>>;

/// A model of the registry on this server.
#[derive(Debug, Default)]
pub(super) struct Family {
    pub(super) name: String,
    target: Target,
    /// The version that each name means until the one that it should mean is loaded.
    serving: BTreeMap<String, u64>,
    pub(super) slots: BTreeMap<u64, Slot>,
    /// Whether somebody took it out of service.
    pub(super) is_stopped: bool,
    /// The versions that have been loaded here, of those that there are.
    pub(super) answered: BTreeSet<u64>,
}

/// What came of settling a model.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// Versions that take no more requests.
    pub(super) drained: Vec<(u64, Loaded)>,
    /// Versions that are forgotten.
    pub(super) gone: Vec<u64>,
}

/// One version that should be served, or still is.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) record: VersionRecord,
    pub(super) state: ModelState,
    pub(super) loaded: Option<Loaded>,
    /// The load that goes on.
    pub(super) load: Option<Load>,
    /// Loads that failed one after the other.
    pub(super) failures: u32,
    pub(super) retry_at: Option<Instant>,
    /// Whether it waits for its first request because memory was short.
    pub(super) is_deferred: bool,
    /// Alive as long as an engine loads it, also when nobody waits for that any more.
    pub(super) engine: Weak<()>,
}

/// A load that goes on, and who waits for it.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) outcome: watch::Receiver<Outcome>,
    pub(super) waiting: Arc<AtomicUsize>,
    /// Tells it from earlier ones.
    pub(super) token: Arc<()>,
    /// Whether somebody waits for it, so that others make room.
    pub(super) is_needed: Arc<AtomicBool>,
}

/// A version in memory.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) version: Arc<Version>,
    pub(super) charge: Charge,
}

impl Slot {
    fn new(record: VersionRecord) -> Self {
        Self {
            record,
            state: ModelState::Absent,
            loaded: None,
            load: None,
            failures: 0,
            retry_at: None,
            is_deferred: false,
            engine: Weak::new(),
        }
    }

    /// Whether an engine still works on a load that was given up.
    pub(super) fn is_overdue(&self) -> bool {
        self.load.is_none() && self.engine.strong_count() > 0
    }

    /// Puts off the next load, longer with each failure.
    pub(super) fn failed(&mut self, reason: String, now: Instant) {
        self.retry_at = Some(now + backoff(self.failures, RETRY_AT_MOST));
        self.failures += 1;
        self.state = ModelState::Failed(reason);
    }

    fn is_ready(&self) -> bool {
        self.loaded.is_some()
    }
}

impl Family {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// Notes which versions answer, of those that there are.
    pub(super) fn note_answering(&mut self, records: &[&VersionRecord]) {
        let there: BTreeSet<u64> = records
            .iter()
            .map(|record| u64::try_from(record.number).unwrap_or_default())
            .collect();
        self.answered.extend(
            self.slots
                .iter()
                .filter(|(_, slot)| slot.is_ready())
                .map(|(number, _)| *number),
        );
        self.answered.retain(|number| there.contains(number));
    }

    /// What it serves now, without what is about to take its place.
    pub(super) fn held(&self) -> Target {
        let stay = self
            .target
            .versions
            .iter()
            .copied()
            .filter(|number| !self.replaces(*number));
        let versions = stay.chain(self.serving.values().copied()).collect();
        Target {
            versions,
            names: self.serving.clone(),
        }
    }

    /// Sets what should be served, of these versions of the model.
    pub(super) fn aim(&mut self, target: Target, records: &[&VersionRecord]) {
        for record in records {
            let number = u64::try_from(record.number).unwrap_or_default();
            match self.slots.get_mut(&number) {
                Some(slot) => slot.record.clone_from(record),
                None if target.versions.contains(&number) => {
                    self.slots.insert(number, Slot::new((*record).clone()));
                }
                None => {}
            }
        }
        self.target = target;
    }

    /// Moves names to the versions that they should mean as far as those are loaded, and takes out
    /// what nobody needs any more.
    pub(super) fn settle(&mut self) -> Settled {
        let nothing = Target::default();
        let target = if self.is_stopped {
            &nothing
        } else {
            &self.target
        };
        self.serving
            .retain(|name, _| target.names.contains_key(name));
        for (name, wanted) in &target.names {
            let is_ready = |number: &u64| self.slots.get(number).is_some_and(Slot::is_ready);
            let stays = self.serving.get(name).is_some_and(is_ready) && !is_ready(wanted);
            if !stays {
                self.serving.insert(name.clone(), *wanted);
            }
        }
        let needed = |number: &u64| {
            target.versions.contains(number) || self.serving.values().any(|own| own == number)
        };
        let mut settled = Settled::default();
        for (number, slot) in &mut self.slots {
            if !needed(number)
                && let Some(loaded) = slot.loaded.take()
            {
                slot.state = ModelState::Draining;
                settled.drained.push((*number, loaded));
            }
        }
        // What is being loaded or drained goes when that has come to its end.
        let busy = |slot: &Slot| {
            let is_used = slot.load.is_some() || slot.is_ready() || slot.engine.strong_count() > 0;
            is_used || slot.state == ModelState::Draining
        };
        let kept = &self.target.versions;
        self.slots.retain(|number, slot| {
            let stays = kept.contains(number) || busy(slot);
            if !stays {
                settled.gone.push(*number);
            }
            stays
        });
        settled
    }

    /// Takes a version out of service that stays wanted: it is loaded again when it is asked for.
    pub(super) fn take_out(&mut self, number: u64) -> Option<Loaded> {
        let slot = self.slots.get_mut(&number)?;
        let loaded = slot.loaded.take()?;
        slot.state = ModelState::Draining;
        slot.is_deferred = true;
        Some(loaded)
    }

    /// Whether a version answers only until the one that should is loaded: once gone, it does not
    /// come back.
    pub(super) fn stands_in(&self, number: u64) -> bool {
        !self.target.versions.contains(&number)
    }

    /// Ends the draining of a version.
    pub(super) fn drained(&mut self, number: u64) -> Settled {
        if let Some(slot) = self.slots.get_mut(&number)
            && slot.state == ModelState::Draining
        {
            slot.state = ModelState::Absent;
        }
        self.settle()
    }

    /// The versions that should be loaded without waiting for a request.
    pub(super) fn due(&self, is_lazy: bool, now: Instant) -> Vec<u64> {
        if self.is_stopped {
            return Vec::new();
        }
        let due = |number: &&u64| {
            let Some(slot) = self.slots.get(number).filter(|slot| !slot.is_overdue()) else {
                return false;
            };
            let waits = match slot.state {
                ModelState::Absent => !slot.is_deferred || self.replaces(**number),
                ModelState::Failed(_) => slot.retry_at.is_some_and(|at| at <= now),
                _ => false,
            };
            // A name moves to a version that was not loaded yet: it is loaded while the old one
            // answers.
            waits && (!is_lazy || self.replaces(**number))
        };
        self.target.versions.iter().filter(due).copied().collect()
    }

    /// The versions that should be served.
    pub(super) fn wanted(&self) -> impl Iterator<Item = u64> {
        self.target.versions.iter().copied()
    }

    pub(super) fn is_loaded(&self, number: u64) -> bool {
        self.slots.get(&number).is_some_and(Slot::is_ready)
    }

    /// Whether a version takes the place of another one that answers now.
    pub(super) fn replaces(&self, number: u64) -> bool {
        let moves = |(name, wanted): (&String, &u64)| {
            *wanted == number
                && self
                    .serving
                    .get(name)
                    .is_some_and(|serving| serving != wanted)
        };
        self.target.names.iter().any(moves)
    }

    /// The version that a request means.
    pub(super) fn number(&self, wanted: Option<&str>) -> Option<u64> {
        let name = wanted.unwrap_or(DEFAULT);
        let number = wanted
            .and_then(|wanted| wanted.parse().ok())
            .or_else(|| self.serving.get(name).copied())?;
        let is_there = |slot: &Slot| slot.is_ready() || self.target.versions.contains(&number);
        self.slots
            .get(&number)
            .is_some_and(is_there)
            .then_some(number)
    }

    /// Whether the version that answers for the model is loaded.
    pub(super) fn answers(&self) -> bool {
        self.number(None)
            .and_then(|number| self.slots.get(&number))
            .is_some_and(Slot::is_ready)
    }

    /// The aliases that mean a version now, and whether it answers for the model.
    pub(super) fn names_of(&self, number: u64) -> (Vec<String>, bool) {
        let mut names: Vec<String> = self
            .serving
            .iter()
            .filter(|own| *own.1 == number)
            .map(|own| own.0.clone())
            .collect();
        let is_default = names.first().is_some_and(|name| name == DEFAULT);
        names.retain(|name| name != DEFAULT);
        (names, is_default)
    }

    /// What requests see; `None` if nothing is loaded.
    pub(super) fn model(&self) -> Option<Model> {
        let loaded = |slot: &Slot| slot.loaded.as_ref().map(|loaded| loaded.version.clone());
        let versions: BTreeMap<u64, Arc<Version>> = self
            .slots
            .iter()
            .filter_map(|(number, slot)| Some((*number, loaded(slot)?)))
            .collect();
        if versions.is_empty() {
            return None;
        }
        let answering = self
            .serving
            .get(DEFAULT)
            .and_then(|number| versions.get(number))
            .cloned();
        let aliases = self.serving.iter().filter(|(name, _)| *name != DEFAULT);
        let aliases = aliases
            .map(|(name, number)| (name.clone(), *number))
            .collect();
        Some(Model {
            name: self.name.clone(),
            versions,
            aliases,
            answering,
        })
    }
}
