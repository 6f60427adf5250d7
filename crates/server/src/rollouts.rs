//! Rollouts: traffic goes from one version to the next in steps, as long as the new one is no worse,
//! and back by itself if it is.
//!
//! ```text
//! observations, outputs, copies ─► figures of each version ─► database ─┐
//! people ─► start, pause, resume, promote, abort ───────────────────────┤ one transaction:
//!                                                                       ▼
//!              state ─► decide (crates/delivery) ─► state, traffic policy, alias, audit log
//! ```
//!
//! Invariants:
//! - A decision and what it does are one transaction of the database: after the end of a process at any
//!   moment, the next one goes on from a state and weights that belong together.
//! - Transactions that change anything follow one another, so two servers that decide at once decide one
//!   after the other, each from the state of the other. The lease only saves work.
//! - While the database cannot be reached, traffic stays as it is.

mod api;
mod bins;
mod change;
mod checks;
mod config;
mod counting;
mod evidence;
mod figures;
mod metrics;
mod page;
mod persisted;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tidegate_delivery::policy::{InvalidVersionName, Share, TrafficPolicy, VersionName};
use tidegate_delivery::rollout::{Rollout, Target};
use tidegate_observe::{AlertState, Event, Severity};
use tidegate_serving::{ErrorCode, InferError, ModelState, Serving};
use tidegate_store::{RolloutWindow, Store, StoreError};
use tokio::task::JoinSet;
use tracing::{info, warn};

pub(crate) use self::api::description;
pub use self::config::RolloutsConfig;
use self::counting::Counting;
use self::figures::{Figures, ServerFault};
use self::metrics::RolloutMetrics;
use self::persisted::{PersistedRollouts, target};
use crate::ServerConfig;
use crate::clock::now_ms;
use crate::component::Component;
use crate::events::EventJournal;
use crate::objectives::Objectives;
use crate::routes::Routes;
use crate::traffic::{Traffic, unavailable};

/// How often servers write what they saw, and one of them decides.
const STEP: Duration = Duration::from_secs(1);
/// How long the lease of the server that decides is valid without being renewed, in milliseconds.
const LEASE_MS: i64 = 5000;
/// The group and the duty of the lease.
const LEASE: (&str, &str) = ("tidegate", "rollouts");
/// How long servers have to write what they saw in a second, in seconds.
const SETTLE_S: i64 = 2;
/// How long what servers wrote is kept, in seconds.
const KEEP_S: i64 = 900;
/// Rollouts that are over and shown.
const SHOWN_PAST: u16 = 20;
/// A version that cannot be loaded for so long does not load: a storage that is away for a moment is no
/// fault of a version.
const FAILING: Duration = Duration::from_secs(20);
/// A version that was ready and is not for so long is a fault.
const MISSING: Duration = Duration::from_secs(10);

/// The rollouts of a server and of those that share its database.
pub(crate) struct Rollouts {
    config: RolloutsConfig,
    serving: Arc<Serving>,
    traffic: Arc<Traffic>,
    objectives: Arc<Objectives>,
    events: Arc<EventJournal>,
    server: ServerConfig,
    metrics: RolloutMetrics,
    /// The id of this process among those that share the database.
    own: String,
    counting: Arc<Mutex<Counting>>,
    state: Mutex<State>,
}

/// What the component is made from.
pub(crate) struct RolloutsContext {
    pub(crate) serving: Arc<Serving>,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) objectives: Arc<Objectives>,
    pub(crate) events: Arc<EventJournal>,
    pub(crate) server: ServerConfig,
    pub(crate) server_name: String,
    pub(crate) registry: Arc<tidegate_serving::MetricRegistry>,
}

#[derive(Default)]
struct State {
    /// The change of the database that was read last.
    change: Option<i64>,
    persisted: PersistedRollouts,
    /// Those that were over last, the newest first.
    past: Vec<Rollout>,
    /// What was seen here of the new version of each rollout.
    seen: BTreeMap<String, VersionSeen>,
    /// Why rollouts do not go on.
    problem: Option<String>,
}

/// What a server saw of a version.
#[derive(Default)]
struct VersionSeen {
    /// When it was ready last.
    ready: Option<Instant>,
    /// When it failed to load first, since it was ready last.
    failed: Option<Instant>,
}

impl Rollouts {
    pub(crate) fn new(config: RolloutsConfig, context: RolloutsContext) -> Self {
        let counting = Arc::new(Mutex::new(Counting::default()));
        let counts = counting.clone();
        let observations = context.serving.metrics().observations();
        observations.subscribe(move |finished| counts.lock().add(finished));
        Self {
            config,
            metrics: RolloutMetrics::new(&context.registry),
            own: format!("{}-{:08x}", context.server_name, fastrand::u32(..)),
            serving: context.serving,
            traffic: context.traffic,
            objectives: context.objectives,
            events: context.events,
            server: context.server,
            counting,
            state: Mutex::default(),
        }
    }

    async fn run(&self) {
        loop {
            tokio::time::sleep(STEP).await;
            let problem = self.step().await.err();
            let mut state = self.state.lock();
            match (&state.problem, &problem) {
                (None, Some(problem)) => warn!(problem, "rollouts do not go on"),
                (Some(_), None) => info!("rollouts go on"),
                _ => {}
            }
            state.problem = problem;
        }
    }

    /// Writes what this server saw, and decides if it is the one that does.
    async fn step(&self) -> Result<(), String> {
        let store = self
            .traffic
            .store()
            .await
            .map_err(|error| error.to_string())?;
        let Some(store) = store else {
            return Ok(());
        };
        self.read(&store).await?;
        let windows = self.count();
        let has_active = !self.state.lock().persisted.rollouts.active.is_empty();
        let is_leader = (has_active || self.shows_rolled_back()) && self.is_leader(&store).await?;
        self.metrics
            .show(&self.state.lock().persisted, is_leader, now_ms());
        if !has_active {
            return Ok(());
        }
        let written = store.add_rollout_windows(&self.own, &windows, KEEP_S).await;
        written.map_err(|error| error.to_string())?;
        if is_leader {
            let windows = self.windows(&store).await;
            let windows = windows.map_err(|error| error.message)?;
            let decided = self.decide(&store, &windows).await;
            decided.map_err(|error| error.message)?;
        }
        Ok(())
    }

    async fn is_leader(&self, store: &Store) -> Result<bool, String> {
        let (group, duty) = LEASE;
        let leader = store.hold_lease(group, duty, &self.own, LEASE_MS).await;
        Ok(leader.map_err(|error| error.to_string())? == self.own)
    }

    fn shows_rolled_back(&self) -> bool {
        let state = self.state.lock();
        let mut rolled_back = state.persisted.rolled_back.values();
        rolled_back.any(|bad| bad.is_shown(now_ms()))
    }

    /// Reads the state if anybody has changed it.
    async fn read(&self, store: &Store) -> Result<(), String> {
        let change = store.rollouts_change().await;
        let change = change.map_err(|error: StoreError| error.to_string())?;
        if self.state.lock().change == Some(change) {
            return Ok(());
        }
        let state = store.rollouts().await.map_err(|error| error.to_string())?;
        let persisted = PersistedRollouts::read(state.as_deref())?;
        let past = self.read_past(store, &persisted).await?;
        self.counting.lock().follow(&persisted, &self.serving);
        let mut state = self.state.lock();
        let active = &persisted.rollouts.active;
        state
            .seen
            .retain(|id, _| active.iter().any(|rollout| rollout.id == *id));
        state.persisted = persisted;
        if let Some(past) = past {
            state.past = past;
        }
        state.change = Some(change);
        Ok(())
    }

    /// The rollouts that were over last; `None` if they are those that were read before: the archive changes
    /// only with the rollouts that are under way.
    async fn read_past(
        &self,
        store: &Store,
        persisted: &PersistedRollouts,
    ) -> Result<Option<Vec<Rollout>>, String> {
        let is_same = {
            let state = self.state.lock();
            state.change.is_some() && ids(&state.persisted) == ids(persisted)
        };
        if is_same {
            return Ok(None);
        }
        let past = store.last_rollouts(SHOWN_PAST).await;
        let past = past.map_err(|error| error.to_string())?;
        // One that a newer build has written is not shown.
        let past = past
            .iter()
            .filter_map(|state| serde_json::from_str(state).ok());
        Ok(Some(past.collect()))
    }

    /// What servers have written that some rollout has not seen.
    async fn windows(&self, store: &Store) -> Result<Vec<RolloutWindow>, InferError> {
        let active = self.state.lock().persisted.rollouts.active.clone();
        let seen = active.iter().map(Rollout::last_window).min();
        // What is older than that says which servers there are.
        let after = seen.unwrap_or(0).cast_signed() - KEEP_S.min(10);
        let windows = store.rollout_windows(after, i64::MAX).await;
        windows.map_err(unavailable)
    }

    /// What this server saw of every rollout since it was counted last.
    fn count(&self) -> Vec<tidegate_store::NewRolloutWindow> {
        let active = self.state.lock().persisted.rollouts.active.clone();
        if active.is_empty() {
            return Vec::new();
        }
        // Requests that were answered before are in the figures.
        self.serving.metrics().observations().drain();
        let mut counting = self.counting.lock();
        let mut windows = Vec::new();
        for rollout in &active {
            let endpoint = &target(rollout).endpoint;
            let Some(mut figures) = counting.take(endpoint, &self.serving) else {
                continue;
            };
            let found = self.serving.version(endpoint, None);
            if found.is_err_and(|error| error.code == ErrorCode::UnknownModel) {
                // Another server's model: this one has nothing to say about it.
                continue;
            }
            self.add_state(rollout, &mut figures[1]);
            windows.extend(counting.windows(endpoint, &figures));
        }
        windows
    }

    /// Adds whether the versions of a rollout can answer here, and what is wrong with the new one.
    fn add_state(&self, rollout: &Rollout, figures: &mut Figures) {
        let target = target(rollout);
        let is_loaded = |version: &VersionName| {
            let found = self
                .serving
                .version(&target.endpoint, Some(version.as_str()));
            found.is_ok()
        };
        let is_new_loaded = is_loaded(&target.to);
        figures.is_ready = is_new_loaded && is_loaded(&target.from);
        figures.fault = self.fault(rollout, is_new_loaded);
    }

    fn fault(&self, rollout: &Rollout, is_loaded: bool) -> Option<ServerFault> {
        let target = target(rollout);
        if is_loaded {
            let mut state = self.state.lock();
            let seen = state.seen.entry(rollout.id.clone()).or_default();
            (seen.ready, seen.failed) = (Some(Instant::now()), None);
            drop(state);
            let version = self
                .serving
                .version(&target.endpoint, Some(target.to.as_str()));
            if version.is_ok_and(|version| version.is_broken()) {
                return Some(ServerFault::BreakerOpen);
            }
            return self.burning_objective(rollout);
        }
        let failure = self.load_failure(target);
        let mut state = self.state.lock();
        let seen = state.seen.entry(rollout.id.clone()).or_default();
        if let Some(reason) = failure {
            let since = *seen.failed.get_or_insert_with(Instant::now);
            if since.elapsed() >= FAILING {
                return Some(ServerFault::NotLoaded(reason));
            }
        }
        if seen.ready.is_some_and(|at| at.elapsed() >= MISSING) {
            let why = "it was ready and is not loaded any more".to_owned();
            return Some(ServerFault::NotLoaded(why));
        }
        None
    }

    fn load_failure(&self, target: &Target) -> Option<String> {
        let known = self.serving.known();
        let mut entries = known
            .into_iter()
            .filter(|entry| entry.name == target.endpoint && entry.version == target.to.as_str());
        entries.find_map(|entry| match entry.state {
            ModelState::Failed(reason) => Some(reason),
            _ => None,
        })
    }

    /// An objective of the endpoint whose page began to fire after the new version got requests.
    fn burning_objective(&self, rollout: &Rollout) -> Option<ServerFault> {
        let began_ms = rollout.began_ms?;
        if rollout.traffic().answers == Share::NONE {
            // It answers nobody, so it is not why.
            return None;
        }
        let endpoint = &target(rollout).endpoint;
        let objectives = self.objectives.status().into_iter();
        let mut own = objectives.filter(|status| status.slo.endpoint() == Some(endpoint));
        own.find_map(|status| {
            let mut alerts = status.alerts.iter();
            let burns = alerts.any(|(alert, state)| {
                alert.severity == Severity::Page
                    && matches!(state, AlertState::Firing { since_ms } if *since_ms > began_ms)
            });
            burns.then(|| ServerFault::ObjectiveBurns(status.slo.name().to_owned()))
        })
    }

    /// The version that answers all requests of an endpoint to which no rule applies, by number.
    ///
    /// # Errors
    /// [`ErrorCode::Conflict`] if several do.
    fn answering(
        &self,
        endpoint: &str,
        policy: Option<&TrafficPolicy>,
        champion: Option<i64>,
    ) -> Result<VersionName, InferError> {
        if let Some(policy) = policy {
            let mut versions = policy.split().versions().iter();
            let only = versions.find(|one| one.weight == Share::ALL);
            let only = only.ok_or_else(|| {
                let message = format!(
                    "several versions answer the requests of \"{endpoint}\": give all of them to one first \
                     (tidegate traffic set)"
                );
                InferError::new(ErrorCode::Conflict, message)
            })?;
            return self.number_of(endpoint, Some(only.version.as_str()));
        }
        // What the registry says now; this server may see it a second later.
        let champion = champion.filter(|number| {
            let fleet = self.serving.fleet();
            let known = fleet.and_then(|fleet| fleet.has_version(endpoint, &number.to_string()));
            known == Some(true)
        });
        match champion {
            Some(number) => Ok(VersionName::number(number.cast_unsigned())),
            None => self.number_of(endpoint, None),
        }
    }

    fn number_of(&self, endpoint: &str, version: Option<&str>) -> Result<VersionName, InferError> {
        let number = match version {
            Some(number) if number.parse::<u64>().is_ok() => number.to_owned(),
            name => self.serving.version(endpoint, name)?.number().to_owned(),
        };
        let name = number.parse();
        name.map_err(|error: InvalidVersionName| internal(error.to_string()))
    }

    /// Why traffic may not move to the new version now.
    fn gates(&self, rollout: &Rollout, now_ms: u64) -> Vec<String> {
        let endpoint = &target(rollout).endpoint;
        let mut gates = Vec::new();
        let fleet = self.serving.fleet();
        if fleet.is_some_and(|fleet| fleet.is_frozen(endpoint)) {
            gates.push("rollouts are frozen".to_owned());
        }
        if !self.config.is_open(now_ms) {
            gates.push("no deploy window is open".to_owned());
        }
        gates
    }

    /// Tells what happened in the journal, and puts the new weights in force.
    async fn publish(&self, events: Vec<Event>) {
        if events.is_empty() {
            return;
        }
        for event in events {
            info!(endpoint = event.model, name = event.name, "rollout");
            self.events.add(event);
        }
        self.events.persist().await;
        // They are in force here at once, elsewhere within a second.
        self.traffic.refresh().await;
    }
}

fn ids(persisted: &PersistedRollouts) -> Vec<&str> {
    let active = persisted.rollouts.active.iter();
    active.map(|rollout| rollout.id.as_str()).collect()
}

/// The error of a state that cannot be used.
fn internal(problem: impl Into<String>) -> InferError {
    InferError::new(ErrorCode::Internal, problem.into())
}

impl Component for Rollouts {
    fn name(&self) -> &'static str {
        "rollouts"
    }

    fn routes(self: Arc<Self>) -> Routes<()> {
        api::routes(self)
    }

    fn start(self: Arc<Self>, background: &mut JoinSet<()>) {
        if self.traffic.keeps_policies() {
            background.spawn(async move { self.run().await });
        }
    }

    fn problems(&self) -> Vec<String> {
        let problem = self.state.lock().problem.clone();
        let problem = problem.map(|problem| format!("rollouts do not go on: {problem}"));
        problem.into_iter().collect()
    }
}
