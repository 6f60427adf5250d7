//! Experiments: which of several versions is better for those who use it.
//!
//! ```text
//! traffic policy ─► arm of a user ─► captured predictions ┐
//! feedback ─► labels ─────────────────────────────────────┴► users of each server ─► database
//!                                                                                      │ one server
//!                          stop what does harm, move users of bandits ◄─ report ◄──────┘
//! ```
//!
//! The assignment is a part of the endpoint's traffic policy, so it is versioned, audited and loaded like
//! one. What users did is read from the captured predictions, and counted by user: requests of one user
//! are no independent observations.

mod api;
mod change;
mod definition;
mod measure;
mod page;
mod report;
mod users;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tidegate_serving::{ErrorCode, InferError, Serving};
use tidegate_store::{ExperimentUsers, Store, StoredExperiment};
use tokio::task::JoinSet;
use tracing::{info, warn};

pub(crate) use self::api::description;
use self::change::ACTOR;
use self::definition::ExperimentDefinition;
use self::measure::Measured;
use self::report::ExperimentReport;
use self::users::UserTable;
use crate::ServerConfig;
use crate::clock::now_ms;
use crate::component::Component;
use crate::events::EventJournal;
use crate::quality::{Quality, read_files};
use crate::routes::Routes;
use crate::traffic::Traffic;

/// How often users are counted at most.
const STEP: Duration = Duration::from_secs(15);
/// Counting takes at most one part in so many of the time.
const REST: u32 = 20;
/// How long labels are counted after the end of an experiment and its `wait_s`, in milliseconds.
const SETTLE_MS: i64 = 120_000;
/// How long what servers saw of users is kept after that, in milliseconds.
const KEEP_MS: i64 = 3_600_000;
/// The longest `wait_s`, in milliseconds.
const MAX_WAIT_MS: i64 = 30 * 24 * 3_600_000;
/// The group and the duty of the lease of the server that decides.
const LEASE: (&str, &str) = ("tidegate", "experiments");
/// How long it is valid without being renewed, in milliseconds.
const LEASE_MS: i64 = 60_000;

/// The experiments of a server and of those that share its database.
pub(crate) struct Experiments {
    serving: Arc<Serving>,
    traffic: Arc<Traffic>,
    quality: Arc<Quality>,
    events: Arc<EventJournal>,
    server: ServerConfig,
    /// The id of this process among those that share the database.
    own: String,
    /// Held while users are counted: many who ask at once get one count.
    counting: tokio::sync::Mutex<HashMap<String, Counted>>,
    state: Mutex<State>,
}

/// What the component is made from.
pub(crate) struct ExperimentsContext {
    pub(crate) serving: Arc<Serving>,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) quality: Arc<Quality>,
    pub(crate) events: Arc<EventJournal>,
    pub(crate) server: ServerConfig,
    pub(crate) server_name: String,
}

/// What was counted for somebody who asked.
struct Counted {
    /// How long it is told to others.
    until: Instant,
    report: ExperimentReport,
}

#[derive(Default)]
struct State {
    /// The hashes of the parts that are in the database, by experiment.
    written: HashMap<String, Vec<u64>>,
    /// When users of bandits were moved last.
    moved: HashMap<String, Instant>,
    /// The newest experiments, for the console.
    newest: Vec<StoredExperiment>,
    /// Why experiments are not measured, by experiment; of all under the empty name.
    problems: HashMap<String, String>,
}

impl Experiments {
    pub(crate) fn new(context: ExperimentsContext) -> Self {
        Self {
            own: format!("{}-{:08x}", context.server_name, fastrand::u32(..)),
            counting: tokio::sync::Mutex::default(),
            serving: context.serving,
            traffic: context.traffic,
            quality: context.quality,
            events: context.events,
            server: context.server,
            state: Mutex::default(),
        }
    }

    async fn run(&self) {
        let mut rest = STEP;
        loop {
            tokio::time::sleep(rest).await;
            let counted = self.step().await;
            // Waiting for captures to be written takes no time of a core.
            rest = STEP.max(counted.clone().unwrap_or_default() * REST);
            let problem = counted.err();
            if let Some(problem) = &problem {
                warn!(problem, "experiments are not measured");
            }
            self.set_problem("", problem);
        }
    }

    /// Counts the users of this server, and decides if it is the one that does. How long counting took.
    async fn step(&self) -> Result<Duration, String> {
        let store = self.traffic.store().await;
        let Some(store) = store.map_err(|error| error.to_string())? else {
            return Ok(Duration::ZERO);
        };
        let now = ms(now_ms());
        let after = now - MAX_WAIT_MS - SETTLE_MS;
        let all = store.measured_experiments(after).await;
        let all = all.map_err(|error| error.to_string())?;
        if all.is_empty() {
            self.show_newest(&store).await?;
            return Ok(Duration::ZERO);
        }
        let is_leader = self.is_leader(&store).await?;
        let (measured, over): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|experiment| is_measured(experiment, now));
        for experiment in &over {
            self.set_problem(&experiment.name, None);
        }
        if !measured.is_empty() {
            self.quality.flush().await;
        }
        let began = Instant::now();
        for experiment in &measured {
            let problem = self.measure(&store, experiment, is_leader).await.err();
            if let Some(problem) = &problem {
                let experiment = experiment.name.as_str();
                warn!(experiment, problem, "an experiment is not measured");
            }
            self.set_problem(&experiment.name, problem);
        }
        if is_leader {
            let forgotten = store.forget_experiment_users(after - KEEP_MS).await;
            forgotten.map_err(|error| error.to_string())?;
        }
        self.show_newest(&store).await?;
        Ok(began.elapsed())
    }

    /// Shows the newest experiments, and what they say by now, in the console.
    async fn show_newest(&self, store: &Store) -> Result<(), String> {
        let newest = store.experiments().await;
        self.state.lock().newest = newest.map_err(|error| error.to_string())?;
        Ok(())
    }

    async fn is_leader(&self, store: &Store) -> Result<bool, String> {
        let (group, duty) = LEASE;
        let leader = store.hold_lease(group, duty, &self.own, LEASE_MS).await;
        Ok(leader.map_err(|error| error.to_string())? == self.own)
    }

    async fn measure(
        &self,
        store: &Store,
        experiment: &StoredExperiment,
        is_leader: bool,
    ) -> Result<(), String> {
        let definition = read_definition(experiment).map_err(|error| error.message.to_string())?;
        let source = self.source().await?;
        let table = self.count(experiment, &definition).await?;
        self.write_users(store, &source, &experiment.name, &table)
            .await?;
        if !is_leader {
            return Ok(());
        }
        let table = self
            .merge_others(store, &source, &experiment.name, table)
            .await?;
        let definition = self.current(&definition, &experiment.name);
        let report = ExperimentReport::new(&definition, &table, now_ms());
        let written = serde_json::to_string(&report).map_err(|error| error.to_string())?;
        let kept = store
            .set_experiment_report(&experiment.name, &written)
            .await;
        kept.map_err(|error| error.to_string())?;
        if experiment.ended_ms.is_some() {
            return Ok(());
        }
        if !report.harmful().is_empty() {
            info!(experiment = experiment.name, "an experiment does harm");
            return self.stop_by_itself(experiment, &report).await;
        }
        let moved = self.move_users(experiment, &definition, &table).await;
        moved.map_err(|error| error.message.to_string())
    }

    async fn stop_by_itself(
        &self,
        experiment: &StoredExperiment,
        report: &ExperimentReport,
    ) -> Result<(), String> {
        let ended = self
            .end(experiment, ACTOR, &report.conclusion, Some(report))
            .await;
        match ended {
            // Somebody else was faster.
            Err(error) if error.code == ErrorCode::Conflict => Ok(()),
            ended => ended.map_err(|error| error.message.to_string()),
        }
    }

    /// The name under which the users of this server's captured predictions are kept. It stays the same over
    /// restarts: otherwise they would be counted again.
    async fn source(&self) -> Result<String, String> {
        let folder = self.quality.capture_folder().clone();
        read_files(move || match folder.root().is_dir() {
            true => folder.id(),
            // Nothing is captured here.
            false => Ok(String::new()),
        })
        .await
    }

    /// The users that this server has seen.
    async fn count(
        &self,
        experiment: &StoredExperiment,
        definition: &ExperimentDefinition,
    ) -> Result<UserTable, String> {
        let wait_ms = ms(definition.wait_s * 1000);
        let now = ms(now_ms());
        let end = experiment.ended_ms.unwrap_or(i64::MAX);
        let measured = Measured {
            name: experiment.name.clone(),
            definition: definition.clone(),
            time_ms: experiment.started_ms - MAX_CLOCK_DIFFERENCE_MS..end,
            mature_ms: now - wait_ms,
        };
        let labels = self.quality.store().await;
        let labels = labels.map_err(|error| error.message.to_string())?;
        measured.users(self.quality.capture_folder(), labels).await
    }

    /// Writes the parts that have changed.
    async fn write_users(
        &self,
        store: &Store,
        source: &str,
        name: &str,
        table: &UserTable,
    ) -> Result<(), String> {
        if source.is_empty() {
            return Ok(());
        }
        let parts = table.parts();
        let hashes: Vec<u64> = parts.iter().map(|part| hash(part)).collect();
        let before = self
            .state
            .lock()
            .written
            .get(name)
            .cloned()
            .unwrap_or_default();
        let mut changed = Vec::new();
        for (number, users) in parts.into_iter().enumerate() {
            if before.get(number) != Some(&hashes[number]) {
                changed.push(ExperimentUsers {
                    server: source.to_owned(),
                    part: number as i64,
                    users,
                });
            }
        }
        let written = store.set_experiment_users(name, &changed).await;
        written.map_err(|error| error.to_string())?;
        self.state.lock().written.insert(name.to_owned(), hashes);
        Ok(())
    }

    async fn merge_others(
        &self,
        store: &Store,
        source: &str,
        name: &str,
        mut table: UserTable,
    ) -> Result<UserTable, String> {
        let parts = store.experiment_users(name, source).await;
        for part in parts.map_err(|error| error.to_string())? {
            table.merge(UserTable::read(&part.users)?);
        }
        Ok(table)
    }

    /// What an experiment says now: of a running one with what this server has seen until this moment.
    async fn newest_report(
        &self,
        store: &Store,
        experiment: &StoredExperiment,
        definition: &ExperimentDefinition,
    ) -> Result<Option<ExperimentReport>, InferError> {
        if !is_measured(experiment, ms(now_ms())) {
            return Ok(serde_json::from_str(&experiment.report).ok());
        }
        let mut counted = self.counting.lock().await;
        counted.retain(|_, counted| Instant::now() < counted.until);
        if let Some(counted) = counted.get(&experiment.name) {
            return Ok(Some(counted.report.clone()));
        }
        let began = Instant::now();
        self.quality.flush().await;
        let source = self.source().await.map_err(unavailable)?;
        let table = self
            .count(experiment, definition)
            .await
            .map_err(unavailable)?;
        let table = self
            .merge_others(store, &source, &experiment.name, table)
            .await;
        let table = table.map_err(unavailable)?;
        let definition = self.current(definition, &experiment.name);
        let report = ExperimentReport::new(&definition, &table, now_ms());
        let shared = Counted {
            until: Instant::now() + began.elapsed() * SHARED,
            report: report.clone(),
        };
        counted.insert(experiment.name.clone(), shared);
        Ok(Some(report))
    }

    /// The definition with the shares that a bandit's arms have now.
    fn current(&self, definition: &ExperimentDefinition, name: &str) -> ExperimentDefinition {
        let mut current = definition.clone();
        let policy = self.traffic.wanted_policy(&definition.endpoint);
        let experiments = policy.iter().flat_map(|policy| policy.experiments());
        for experiment in experiments.filter(|one| one.name == name) {
            for arm in &mut current.arms {
                arm.weight = Some(experiment.arms.weight_of(&arm.version));
            }
        }
        current
    }

    /// Whether the policy of its endpoint assigns the users of an experiment.
    fn is_in_policy(&self, experiment: &StoredExperiment) -> bool {
        let policy = self.traffic.wanted_policy(&experiment.endpoint);
        let mut experiments = policy.iter().flat_map(|policy| policy.experiments());
        experiments.any(|one| one.name == experiment.name)
    }

    fn set_problem(&self, name: &str, problem: Option<String>) {
        let problems = &mut self.state.lock().problems;
        match problem {
            Some(problem) => drop(problems.insert(name.to_owned(), problem)),
            None => drop(problems.remove(name)),
        }
    }
}

/// A count is told to others who ask for so many times the time that it took.
const SHARED: u32 = 4;
/// Clocks of servers and of the database may differ by so much, in milliseconds.
const MAX_CLOCK_DIFFERENCE_MS: i64 = 60_000;

/// Whether what users did still counts: the experiment runs, or its last labels may still come.
fn is_measured(experiment: &StoredExperiment, now_ms: i64) -> bool {
    let Some(ended_ms) = experiment.ended_ms else {
        return true;
    };
    if experiment.ended_by == ACTOR {
        // The report that stopped it stays.
        return false;
    }
    let wait_s = read_definition(experiment).map_or(0, |definition| definition.wait_s);
    now_ms < ended_ms + ms(wait_s * 1000) + SETTLE_MS
}

/// The definition that is kept of an experiment.
fn read_definition(experiment: &StoredExperiment) -> Result<ExperimentDefinition, InferError> {
    let read = serde_json::from_str(&experiment.definition);
    read.map_err(|error| {
        let name = &experiment.name;
        internal(format!(
            "the experiment {name:?} is of a newer build: {error}"
        ))
    })
}

fn ms(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

fn invalid(problem: impl Into<String>) -> InferError {
    InferError::new(ErrorCode::InvalidParameter, problem.into())
}

fn internal(problem: impl Into<String>) -> InferError {
    InferError::new(ErrorCode::Internal, problem.into())
}

fn unavailable(problem: String) -> InferError {
    InferError::new(ErrorCode::NotReady, problem)
}

impl Component for Experiments {
    fn name(&self) -> &'static str {
        "experiments"
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
        let state = self.state.lock();
        let problems = state.problems.iter();
        let mut problems: Vec<String> = problems
            .map(|(name, problem)| match name.is_empty() {
                true => format!("experiments are not measured: {problem}"),
                false => format!("the experiment {name:?} is not measured: {problem}"),
            })
            .collect();
        problems.sort();
        problems
    }
}
