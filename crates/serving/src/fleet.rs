//! The models of the registry on this server: what should be loaded, is loaded, and makes room for
//! what is asked for.
//!
//! A control loop reads the registry ([`follow`]) and sets what each [`Family`] should serve; loads
//! ([`load`]) and drains ([`drain`]) bring that about, while requests go on reading the snapshot in
//! [`Models`]. Only a request for what is not loaded comes here, and waits for its load.

mod activity;
mod backoff;
mod budget;
mod config;
mod demand;
mod drain;
mod family;
mod follow;
mod freeze;
mod link;
mod load;
mod policy;
mod pool;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use parking_lot::Mutex;
use tidegate_engines::Engines;
use tidegate_registry::{Alias, Digest, Snapshot, VersionRecord};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tracing::{info, warn};

pub use self::config::{FleetConfig, ModelRule};
pub use self::freeze::{FrozenModels, VersionNames};
pub use self::link::RegistryLink;
pub use self::policy::VersionPolicy;

use self::activity::Activity;
use self::budget::Budget;
use self::family::{Family, Settled};
use self::freeze::{Freezes, Served};
use self::load::Cause;
use crate::memory;
use crate::models::unknown_model;
use crate::{ErrorCode, IndexEntry, InferError, LoadReport, Metrics, ModelState, Models};

/// The models of the registry on this server.
pub struct Fleet {
    config: FleetConfig,
    link: RegistryLink,
    models: Arc<Models>,
    engines: Engines,
    metrics: Arc<Metrics>,
    runtime: Handle,
    budget: Arc<Budget>,
    /// Loads that may go on.
    loads: Arc<Semaphore>,
    /// Engine work under way that moves the process's memory, and how much of it there has been.
    activity: Activity,
    families: Mutex<BTreeMap<String, Family>>,
    /// What versions took when they were loaded, by content.
    learned: Mutex<BTreeMap<Digest, u64>>,
    /// Held by a load that is measured.
    measuring: Arc<tokio::sync::Mutex<()>>,
    /// Whether the loads of the start have begun.
    has_begun: AtomicBool,
    /// Set when the loads of the start have come to their end.
    started: watch::Sender<bool>,
    /// Why the registry cannot be read, while it cannot.
    unreachable: Mutex<Option<String>>,
    freezes: Mutex<Freezes>,
    /// Whether the registry must be read although nothing changed in it.
    is_stale: AtomicBool,
}

impl Fleet {
    /// A fleet that loads on the runtime that this is called from, once it [follows](Fleet::follow)
    /// the registry. `models` serves what it loads.
    pub fn new(
        config: FleetConfig,
        link: RegistryLink,
        models: Arc<Models>,
        engines: Engines,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        memory::limit_heaps();
        let budget = Arc::new(Budget::new(config.memory_budget_bytes));
        metrics
            .memory_budget_bytes
            .set(i64::try_from(budget.limit()).unwrap_or(i64::MAX));
        Arc::new(Self {
            loads: Arc::new(Semaphore::new(config.parallel_loads.max(1))),
            config,
            link,
            models,
            engines,
            metrics,
            runtime: Handle::current(),
            budget,
            activity: Activity::default(),
            families: Mutex::default(),
            learned: Mutex::default(),
            measuring: Arc::default(),
            has_begun: AtomicBool::new(false),
            started: watch::channel(false).0,
            unreachable: Mutex::default(),
            freezes: Mutex::default(),
            is_stale: AtomicBool::new(false),
        })
    }

    /// Follows the registry from now on, until the fleet is dropped. Models of folders are found
    /// before: their names are theirs.
    pub fn follow(self: &Arc<Self>) {
        self.runtime.spawn(follow::run(Arc::downgrade(self)));
    }

    /// Waits until the registry, or what is left of it in the cache, has been read and every load
    /// of the start has come to its end.
    pub async fn started(&self) -> LoadReport {
        // It does not fail: the sender lives as long as the fleet.
        let _ = self.started.subscribe().wait_for(|started| *started).await;
        let mut report = LoadReport::default();
        for entry in self.index() {
            let name = format!("{}:{}", entry.name, entry.version);
            match entry.state {
                ModelState::Ready => report.ready.push(name),
                ModelState::Failed(reason) => report.failed.push((name, reason)),
                _ => {}
            }
        }
        report
    }

    /// Sets what should be served. What is due then is begun by whoever calls this.
    fn sync(self: &Arc<Self>, snapshot: &Snapshot) {
        let mut by_model: BTreeMap<&str, Vec<&VersionRecord>> = BTreeMap::new();
        for version in snapshot
            .versions
            .iter()
            .filter(|version| self.config.serves(&version.model))
        {
            by_model.entry(&version.model).or_default().push(version);
        }
        let mut aliases: BTreeMap<&str, Vec<&Alias>> = BTreeMap::new();
        for alias in &snapshot.aliases {
            aliases.entry(&alias.model).or_default().push(alias);
        }
        let digests: BTreeSet<Digest> = snapshot
            .versions
            .iter()
            .map(|version| version.digest)
            .collect();
        self.learned
            .lock()
            .retain(|digest, _| digests.contains(digest));
        let mut families = self.families.lock();
        for name in by_model
            .keys()
            .filter(|name| !families.contains_key(**name))
            .copied()
            .collect::<Vec<_>>()
        {
            if self.models.is_found(name) {
                warn!(
                    model = name,
                    "not served from the registry: a model of this name was found in a folder"
                );
                continue;
            }
            families.insert(name.to_owned(), Family::new(name));
        }
        for (name, family) in families.iter_mut() {
            let records = by_model
                .get(name.as_str())
                .map(Vec::as_slice)
                .unwrap_or_default();
            let aliases = aliases
                .get(name.as_str())
                .map(Vec::as_slice)
                .unwrap_or_default();
            family.note_answering(records);
            let there = records
                .iter()
                .map(|record| u64::try_from(record.number).unwrap_or_default())
                .collect();
            let served = Served {
                before: family.held(),
                there: &there,
                answered: &family.answered,
            };
            let wanted = policy::target(self.config.versions_of(name), records, aliases);
            let target = self.hold(name, served, wanted);
            family.aim(target, records);
            self.settle(family);
        }
        self.forget_empty(&mut families);
    }

    /// Brings what requests see in line with what is loaded, and drains what nobody needs.
    fn settle(self: &Arc<Self>, family: &mut Family) {
        let settled = family.settle();
        self.bring_about(family, settled);
    }

    fn bring_about(self: &Arc<Self>, family: &Family, settled: Settled) {
        self.publish(family);
        for (number, loaded) in settled.drained {
            self.drain(&family.name, number, loaded);
        }
        for number in settled.gone {
            self.metrics.forget(&family.name, &number.to_string());
        }
    }

    fn publish(&self, family: &Family) {
        let (model, before) = (family.model(), self.models.model(&family.name).ok());
        match (model, before) {
            (Some(model), Some(before)) if model.is_same(&before) => {}
            (Some(model), _) => drop(self.models.publish(model)),
            (None, Some(_)) => drop(self.models.withdraw(&family.name)),
            (None, None) => {}
        }
    }

    /// Forgets the models of which nothing is wanted or left.
    fn forget_empty(&self, families: &mut BTreeMap<String, Family>) {
        families.retain(|name, family| {
            let stays = !family.slots.is_empty();
            if !stays {
                self.metrics.forget_model(name);
            }
            stays
        });
    }

    /// Begins the loads that wait for no request.
    fn load_due(self: &Arc<Self>) {
        let now = Instant::now();
        let mut families = self.families.lock();
        for family in families.values_mut() {
            for number in family.due(self.config.is_lazy(&family.name), now) {
                let pinned = self.config.is_pinned(&family.name);
                let cause = if pinned || family.replaces(number) {
                    Cause::Needed
                } else {
                    Cause::Preload
                };
                self.begin(family, number, cause);
            }
        }
    }

    /// Whether a model of this name is, or would be, served from the registry.
    pub fn knows(&self, model: &str) -> bool {
        self.families.lock().contains_key(model)
    }

    /// Takes a model out of service until [`Fleet::load`]. Requests that have begun are answered.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownModel`].
    pub fn unload(self: &Arc<Self>, model: &str) -> Result<(), InferError> {
        let mut families = self.families.lock();
        let family = families
            .get_mut(model)
            .ok_or_else(|| unknown_model(model))?;
        family.is_stopped = true;
        self.settle(family);
        info!(model, "model unloaded");
        Ok(())
    }

    /// Loads what should be served of a model, also what failed before, and waits for it.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownModel`], or [`ErrorCode::LoadFailed`] with the reason.
    pub async fn load(self: &Arc<Self>, model: &str) -> Result<(), InferError> {
        let loads: Vec<family::Load> = {
            let mut families = self.families.lock();
            let family = families
                .get_mut(model)
                .ok_or_else(|| unknown_model(model))?;
            family.is_stopped = false;
            self.settle(family);
            let wanted: Vec<u64> = family
                .wanted()
                .filter(|number| !family.is_loaded(*number))
                .collect();
            wanted
                .into_iter()
                .filter_map(|number| self.begin(family, number, Cause::Needed))
                .collect()
        };
        // Each lets go of its version as soon as it ends: an eviction must not wait for the other
        // loads.
        let mut ends = tokio::task::JoinSet::new();
        for mut load in loads {
            ends.spawn_on(
                async move {
                    let outcome = load.outcome.wait_for(Option::is_some).await.ok()?;
                    outcome.as_ref()?.as_ref().err().cloned()
                },
                &self.runtime,
            );
        }
        while let Some(end) = ends.join_next().await {
            if let Ok(Some(error)) = end {
                return Err(InferError::new(ErrorCode::LoadFailed, error.message));
            }
        }
        Ok(())
    }

    /// Every version that should be served or still is, with where it stands.
    pub fn index(&self) -> Vec<IndexEntry> {
        let families = self.families.lock();
        let entries = families.values().flat_map(|family| {
            family.slots.iter().map(|(number, slot)| {
                let is_out = family.is_stopped
                    && matches!(slot.state, ModelState::Absent | ModelState::Failed(_));
                let state = if is_out {
                    ModelState::Unloaded
                } else {
                    slot.state.clone()
                };
                let (aliases, is_default) = family.names_of(*number);
                let memory_bytes = slot.loaded.as_ref().map(|loaded| loaded.charge.bytes());
                let entry = IndexEntry::new(family.name.clone(), &number.to_string(), state);
                IndexEntry {
                    aliases,
                    is_default,
                    memory_bytes,
                    ..entry
                }
            })
        });
        entries.collect()
    }

    /// What the registry says of the versions of a model that should be served or still are,
    /// ascending.
    pub fn records(&self, model: &str) -> Vec<VersionRecord> {
        let families = self.families.lock();
        let slots = families
            .get(model)
            .into_iter()
            .flat_map(|family| family.slots.values());
        slots.map(|slot| slot.record.clone()).collect()
    }

    /// Whether the loads of the start have come to their end and every pinned model answers.
    pub fn is_ready(&self) -> bool {
        let families = self.families.lock();
        let answers = |name: &String| families.get(name).is_some_and(Family::answers);
        *self.started.borrow() && self.config.pinned.iter().all(answers)
    }

    /// What is not as it should be: why the registry cannot be read, and versions that could not be
    /// loaded.
    pub fn problems(&self) -> Vec<String> {
        let unreachable = self.unreachable.lock().clone();
        let mut problems: Vec<String> = unreachable
            .map(|why| format!("the registry cannot be read: {why}"))
            .into_iter()
            .collect();
        problems.extend(
            self.index()
                .into_iter()
                .filter_map(|entry| match entry.state {
                    ModelState::Failed(reason) => Some(format!(
                        "{}:{} is not served: {reason}",
                        entry.name, entry.version
                    )),
                    _ => None,
                }),
        );
        problems
    }

    /// Tells the registry that this server uses no version any more. What is loaded goes on.
    pub async fn leave(&self) {
        if let Err(error) = self.link.report_uses(&[]).await {
            warn!(%error, "the registry could not be told that this server ends");
        }
    }

    /// Brings the gauges up to now.
    pub fn measure(&self) {
        let mut counts = BTreeMap::from(ModelState::NAMES.map(|name| (name, 0)));
        for entry in self.index() {
            *counts.entry(entry.state.name()).or_default() += 1;
        }
        for (state, count) in counts {
            self.metrics.versions.with_label_values(&[state]).set(count);
        }
        self.metrics
            .memory_charged_bytes
            .set(i64::try_from(self.budget.charged()).unwrap_or(i64::MAX));
        self.metrics
            .registry_reachable
            .set(i64::from(self.unreachable.lock().is_none()));
    }
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
