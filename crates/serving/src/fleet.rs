//! The models of the registry on this server: it decides which versions should be loaded, loads
//! them, and evicts others to make room.
//!
//! A control loop reads the registry ([`follow`]) and sets what each [`ManagedModel`] should serve
//! ([`sync`]). Loads ([`load`]) and drains ([`drain`]) bring that about, while requests keep
//! reading the snapshot in [`Models`]. Only a request for a version that is not loaded comes here
//! ([`demand`]), and waits for its load.
//!
//! Locks are taken in this order: `managed`, then `freezes` or the budget's. No lock is held across
//! an await.

mod activity;
mod backoff;
mod budget;
mod config;
mod demand;
mod drain;
mod follow;
mod freeze;
mod link;
mod load;
mod managed_model;
mod metrics;
mod policy;
mod pool;
mod required;
mod snapshot_saver;
mod status;
mod sync;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use parking_lot::Mutex;
use tidegate_engines::Engines;
use tidegate_registry::Digest;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

pub use self::config::{FleetConfig, ModelRule};
pub use self::freeze::{FrozenModels, VersionNames};
pub use self::link::RegistryLink;
pub use self::metrics::FleetMetrics;
pub use self::policy::VersionPolicy;

use self::activity::EngineActivity;
use self::budget::Budget;
use self::freeze::Freezes;
use self::load::LoadReason;
use self::managed_model::{ManagedModel, PendingLoad};
use crate::memory;
use crate::models::unknown_model;
use crate::{ErrorCode, InferError, Models, RequiredVersions};

/// How long a server that stops waits for the registry.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(3);

/// The models of the registry on this server.
pub struct Fleet {
    config: FleetConfig,
    link: RegistryLink,
    models: Arc<Models>,
    engines: Engines,
    metrics: FleetMetrics,
    runtime: Handle,
    budget: Arc<Budget>,
    /// One permit for each load that may run at the same time.
    load_permits: Arc<Semaphore>,
    /// One permit for each version whose files may be fetched at the same time.
    fetch_permits: Arc<Semaphore>,
    activity: EngineActivity,
    managed: Mutex<BTreeMap<String, ManagedModel>>,
    /// The memory that contents took when they were loaded, in bytes.
    measured_bytes: Mutex<BTreeMap<Digest, u64>>,
    /// Held by a load that is measured.
    measurement: Arc<tokio::sync::Mutex<()>>,
    has_started_initial_loads: AtomicBool,
    /// Set when the loads of the start have ended.
    initial_loads_done: watch::Sender<bool>,
    /// The content of the registry when it was last read.
    registry_content: Mutex<RegistryContent>,
    /// Why the registry cannot be read; `None` if it can.
    registry_error: Mutex<Option<String>>,
    freezes: Mutex<Freezes>,
    /// What names stood for when this server last ran, by model.
    previous_names: Mutex<BTreeMap<String, VersionNames>>,
    /// The versions that traffic policies name, by model.
    required: Mutex<RequiredVersions>,
    /// Whether the registry must be read although nothing changed in it.
    must_read_registry: AtomicBool,
}

/// The facts about the registry that are reported to operators.
#[derive(Debug, Default)]
struct RegistryContent {
    /// How many models it has, served or not.
    models: usize,
    /// The models of the configuration that it does not have, in words.
    missing: Vec<String>,
}

impl Fleet {
    /// A fleet that loads on the runtime that this is called from, once it [follows](Fleet::follow)
    /// the registry. `models` serves what it loads.
    pub fn new(
        config: FleetConfig,
        link: RegistryLink,
        models: Arc<Models>,
        engines: Engines,
        metrics: FleetMetrics,
    ) -> Arc<Self> {
        // Before any engine has threads: the limit is for those that start later.
        memory::limit_heaps();
        let budget = Arc::new(Budget::new(config.memory_budget_bytes));
        metrics.set_memory_budget(budget.limit());
        Arc::new(Self {
            // With 0 no version would ever load.
            load_permits: Arc::new(Semaphore::new(config.parallel_loads.max(1))),
            fetch_permits: Arc::new(Semaphore::new(config.parallel_loads.max(1))),
            previous_names: Mutex::new(link.last_names()),
            config,
            link,
            models,
            engines,
            metrics,
            runtime: Handle::current(),
            budget,
            activity: EngineActivity::default(),
            managed: Mutex::default(),
            measured_bytes: Mutex::default(),
            measurement: Arc::default(),
            has_started_initial_loads: AtomicBool::new(false),
            initial_loads_done: watch::channel(false).0,
            registry_content: Mutex::default(),
            registry_error: Mutex::default(),
            freezes: Mutex::default(),
            required: Mutex::default(),
            must_read_registry: AtomicBool::new(false),
        })
    }

    /// Follows the registry from now on, until the fleet is dropped. Call it after the models of
    /// folders have been found: these keep their names.
    pub fn follow(self: &Arc<Self>) {
        self.runtime.spawn(follow::run(Arc::downgrade(self)));
    }

    /// Takes a model out of service until [`Fleet::load`]. Requests that have begun are answered.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownModel`].
    pub fn unload(self: &Arc<Self>, name: &str) -> Result<(), InferError> {
        let mut managed = self.managed.lock();
        let model = managed.get_mut(name).ok_or_else(|| unknown_model(name))?;
        model.is_unloaded = true;
        self.reconcile(model);
        info!(model = name, "model unloaded");
        Ok(())
    }

    /// Loads the versions of a model that should be served, including those that failed before, and
    /// waits for them.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownModel`], or [`ErrorCode::LoadFailed`] with the reason.
    pub async fn load(self: &Arc<Self>, name: &str) -> Result<(), InferError> {
        let mut loads = JoinSet::new();
        for load in self.start_wanted_loads(name)? {
            // A task each, so that each version is let go of when its load ends: while a version is
            // held it cannot be drained, and a load that needs its memory would wait forever.
            loads.spawn_on(load_error(load), &self.runtime);
        }
        while let Some(ended) = loads.join_next().await {
            if let Ok(Some(error)) = ended {
                return Err(InferError::new(ErrorCode::LoadFailed, error.message));
            }
        }
        Ok(())
    }

    fn start_wanted_loads(self: &Arc<Self>, name: &str) -> Result<Vec<PendingLoad>, InferError> {
        let mut managed = self.managed.lock();
        let model = managed.get_mut(name).ok_or_else(|| unknown_model(name))?;
        model.is_unloaded = false;
        self.reconcile(model);
        let missing: Vec<u64> = model
            .wanted()
            .filter(|number| !model.is_loaded(*number))
            .collect();
        let started = missing
            .into_iter()
            .filter_map(|number| self.start_load(model, number, LoadReason::Required));
        Ok(started.collect())
    }

    /// Reports to the registry that this server no longer uses any version, and saves what it has
    /// served for the next start. Loaded versions stay loaded.
    pub async fn release_versions(&self) {
        self.link.save_snapshot().await;
        let names = self.known_names();
        // A server that has loaded nothing knows less than the last one.
        if !names.is_empty() {
            self.link.save_names(names).await;
        }
        // The server ends even if the registry does not answer: reports that are not renewed
        // expire.
        let report = tokio::time::timeout(RELEASE_TIMEOUT, self.link.report_uses(&[]));
        if let Ok(Err(error)) = report.await {
            warn!(%error, "cannot report to the registry that this server stops");
        }
    }
}

/// Waits for the end of a load. `None` if it succeeded.
async fn load_error(mut load: PendingLoad) -> Option<InferError> {
    let result = load.result.wait_for(Option::is_some).await.ok()?;
    result.as_ref()?.as_ref().err().cloned()
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
