//! The service level objectives: requests counted as they finish, burn-rate alerts evaluated every
//! minute, rollouts frozen while a budget is spent; all of it survives restarts.

mod admin_actions;
mod api;
mod counts;
mod metrics;
mod persisted;
mod set;
mod sharing;
mod status;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tidegate_observe::{
    AlertChange, AlertState, BudgetPolicy, Counts, Event, FreezeChange, Slo, SloStatus,
};
use tidegate_serving::{Fleet, FrozenModels, InferError, MetricRegistry, Observations};
use tokio::task::JoinSet;
use tracing::{info, warn};

pub(crate) use self::api::description;
use self::metrics::SloMetrics;
use self::persisted::PersistedState;
pub(crate) use self::set::ChangeError;
pub(crate) use self::status::Status;
use crate::ServerConfig;
use crate::clock::{self, now_ms};
use crate::component::Component;
use crate::events::EventJournal;
use crate::group_notes::GroupOutbox;
use crate::persisted_state::StateFile;
use crate::routes::Routes;

/// How often counts are added to the ledgers. A minute is a multiple of it.
const COUNT_EVERY_MS: u64 = 5000;
const MINUTE_MS: u64 = 60_000;

/// The objectives of a server, and their present status.
pub(crate) struct Objectives {
    metrics: SloMetrics,
    observations: Arc<Observations>,
    /// Whose rollouts wait while a budget is spent.
    fleet: Option<Arc<Fleet>>,
    events: Arc<EventJournal>,
    /// The other replicas, if there are any.
    group: Option<Arc<GroupOutbox>>,
    limits: ServerConfig,
    file: Option<StateFile>,
    /// The names of those of the configuration.
    configured: BTreeSet<String>,
    /// Locked, if both are, after `state`.
    counting: Arc<Mutex<Counting>>,
    state: Mutex<PersistedState>,
}

/// The context of objectives.
pub(crate) struct ObjectivesContext {
    pub(crate) observations: Arc<Observations>,
    pub(crate) fleet: Option<Arc<Fleet>>,
    pub(crate) events: Arc<EventJournal>,
    /// The name of the group that counts together, and what waits to be sent to it.
    pub(crate) group: Option<(String, Arc<GroupOutbox>)>,
    /// Limits the bodies of the API.
    pub(crate) server: ServerConfig,
}

/// The objectives, and the requests that finished since the last step.
struct Counting {
    slos: Arc<[Slo]>,
    finished: Vec<Counts>,
}

impl Objectives {
    /// These objectives, and those that were set before, over the requests that finish from now on.
    /// Earlier counts are read from `file`, and written there; without a file they end with the
    /// process.
    pub(crate) fn new(
        slos: Vec<Slo>,
        registry: &MetricRegistry,
        file: Option<PathBuf>,
        context: ObjectivesContext,
    ) -> Self {
        let ObjectivesContext {
            observations,
            fleet,
            events,
            group,
            server,
        } = context;
        let (group_name, group) = group.unzip();
        let (file, state) = file.map(StateFile::open).unzip();
        let mut state: PersistedState = state.unwrap_or_default();
        // Before anything is counted: it decides which ledger the counts go to.
        state.join(group_name.as_deref());
        let configured: BTreeSet<String> = slos.iter().map(|slo| slo.name().to_owned()).collect();
        let slos: Arc<[Slo]> = slos
            .into_iter()
            .chain(set::read(&state.set, &configured))
            .collect();
        for slo in slos.iter() {
            set::log_notices(slo);
            // From now on there is a ledger for what the group has counted for it.
            let _ = state.of(slo);
        }
        let finished = vec![Counts::default(); slos.len()];
        let counting = Arc::new(Mutex::new(Counting { slos, finished }));
        let counted = counting.clone();
        observations.subscribe(move |batch| {
            let Counting { slos, finished } = &mut *counted.lock();
            counts::count(slos, finished, batch);
        });
        Self {
            metrics: SloMetrics::new(registry),
            observations,
            fleet,
            events,
            group,
            limits: server,
            file,
            configured,
            counting,
            state: Mutex::new(state),
        }
    }

    /// Counts and evaluates until it is dropped.
    async fn run(self: Arc<Self>) {
        self.expose(now_ms());
        loop {
            let now_ms = clock::next_multiple(COUNT_EVERY_MS).await;
            self.step(now_ms);
            self.hold_rollouts();
            if now_ms.is_multiple_of(MINUTE_MS) {
                self.persist().await;
            }
        }
    }

    /// Counts the last requests, and writes the state.
    pub(crate) async fn count_and_persist(&self) {
        self.count();
        self.persist().await;
    }

    /// Counts the last requests.
    pub(crate) fn count(&self) {
        // Not at a whole minute: alerts are evaluated at those alone.
        let now_ms = now_ms();
        self.step(now_ms + u64::from(now_ms.is_multiple_of(MINUTE_MS)));
    }

    /// Counts what finished up to a moment and, at whole minutes, evaluates the alerts.
    fn step(&self, now_ms: u64) {
        // Else requests that ended before this moment would count in the next step.
        self.observations.drain();
        let mut state = self.state.lock();
        for (slo, counts) in self.counting.lock().take() {
            // The moment itself begins the next bucket of the ledger.
            state.count(&slo, now_ms - 1, counts);
            let own = state.of(&slo);
            let ledger = own.counted.all();
            let slo_status = SloStatus::of(&slo, &ledger, now_ms);
            if let Some(change) = own.freeze.update(&slo, &slo_status, now_ms) {
                self.record_freeze(&slo, change, slo_status.budget_remaining, now_ms);
            }
            // Burn rates are exact at whole minutes alone.
            if now_ms.is_multiple_of(MINUTE_MS) {
                for change in own.alerts.evaluate(&slo, &ledger, now_ms) {
                    log_alert(&slo, &change);
                }
            }
        }
        drop(state);
        self.expose(now_ms);
    }

    fn record_freeze(&self, slo: &Slo, change: FreezeChange, budget_remaining: f64, at_ms: u64) {
        let name = match change {
            FreezeChange::Frozen => {
                warn!(
                    slo = slo.name(),
                    budget_remaining, "the error budget is used up: rollouts wait"
                );
                "rollouts.frozen"
            }
            FreezeChange::Thawed => {
                info!(slo = slo.name(), budget_remaining, "rollouts go on");
                "rollouts.thawed"
            }
        };
        let event = Event::new(name, at_ms)
            .about(slo.endpoint().unwrap_or_default(), "")
            .with("slo", slo.name())
            .with("budget_remaining", budget_remaining);
        self.events.add(event);
    }

    /// Has the fleet hold the rollouts of the models whose error budget is spent, and no others.
    pub(crate) fn hold_rollouts(&self) {
        if let Some(fleet) = &self.fleet {
            fleet.freeze(self.frozen());
        }
    }

    fn frozen(&self) -> FrozenModels {
        let slos = self.slos();
        let mut state = self.state.lock();
        let mut frozen = FrozenModels::default();
        for slo in slos
            .iter()
            .filter(|slo| slo.policy() == BudgetPolicy::Freeze)
        {
            match (state.of(slo).freeze.since_ms(), slo.endpoint()) {
                (None, _) => {}
                (Some(_), None) => frozen.all = true,
                (Some(_), Some(model)) => drop(frozen.models.insert(model.to_owned())),
            }
        }
        frozen
    }

    /// Lets rollouts go on until a moment, whatever an objective's budget is, and writes that
    /// before it returns. `false` if that is so already; `None` if there is no such objective, or
    /// its policy does not freeze rollouts.
    async fn lift_freeze(&self, name: &str, until_ms: u64) -> Option<bool> {
        let slos = self.slos();
        let slo = slos
            .iter()
            .find(|slo| slo.name() == name && slo.policy() == BudgetPolicy::Freeze)?;
        if !self.state.lock().of(slo).freeze.lift(until_ms) {
            return Some(false);
        }
        self.persist().await;
        self.expose(now_ms());
        Some(true)
    }

    /// The objectives.
    fn slos(&self) -> Arc<[Slo]> {
        self.counting.lock().slos.clone()
    }

    /// Whether an objective is one of the configuration, which only that can change.
    fn is_configured(&self, name: &str) -> bool {
        self.configured.contains(name)
    }

    /// Fails if the last change could not be written.
    pub(crate) fn check_saved(&self) -> Result<(), InferError> {
        self.file.as_ref().map_or(Ok(()), StateFile::check)
    }

    /// Writes the state to its file.
    async fn persist(&self) {
        if let Some(file) = &self.file {
            file.write(|| serde_json::to_vec(&*self.state.lock())).await;
        }
    }
}

impl Component for Objectives {
    fn name(&self) -> &'static str {
        "objectives"
    }

    fn routes(self: Arc<Self>) -> Routes<()> {
        api::routes(self)
    }

    fn start(self: Arc<Self>, background: &mut JoinSet<()>) {
        background.spawn(self.run());
    }

    fn finish(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.count_and_persist())
    }
}

impl Counting {
    /// The objectives with the requests that finished since the last call.
    fn take(&mut self) -> Vec<(Slo, Counts)> {
        let finished = self.finished.iter_mut().map(std::mem::take);
        self.slos.iter().cloned().zip(finished).collect()
    }
}

fn log_alert(slo: &Slo, change: &AlertChange) {
    let (alert, severity) = (change.alert.id, change.alert.severity.name());
    let (long, short) = (
        change.long.rate.unwrap_or(0.0),
        change.short.rate.unwrap_or(0.0),
    );
    let (slo, tier) = (slo.name(), slo.tier());
    match change.after {
        AlertState::Firing { .. } => warn!(
            slo,
            alert, severity, tier, long, short, "the error budget burns too fast: alert"
        ),
        AlertState::Resolved { .. } => {
            info!(slo, alert, severity, long, short, "alert resolved");
        }
        AlertState::Pending { .. } | AlertState::Inactive => {}
    }
}
