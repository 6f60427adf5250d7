//! Servers that serve the same models: they count objectives together, share the changes that
//! people make on one of them, and one of them sends the alerts that all of them have.
//!
//! Every few seconds, and at once after a change, each exchanges its changes with the store. While
//! the store cannot be reached, each continues with what it knows, and sends alerts itself: an
//! alert that arrives twice does less harm than one that never arrives.

mod api;
mod config;
mod exchange;
mod metrics;

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tidegate_store::{Replica, Store};
use tokio::task::JoinSet;
use tracing::{info, warn};

pub(crate) use self::api::description;
pub use self::config::{ReplicasConfig, ReplicasError};
pub(crate) use self::metrics::ReplicaMetrics;
use crate::alerting::Alerting;
use crate::component::Component;
use crate::group_notes::GroupOutbox;
use crate::objectives::Objectives;
use crate::routes::Routes;

/// Longest that an exchange may take.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(20);
/// An exchange that takes longer is reported, while its end is still waited for.
const SLOW_EXCHANGE: Duration = Duration::from_secs(4);
/// Longest that each step of the end may take: the last exchange, and releasing the lease.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);
/// The lease of the replica that sends the alerts that all have.
const ALERTS_LEASE: &str = "alerts";

/// The group that this server is a member of, if there is one.
pub(crate) struct Replicas(Option<Member>);

/// A server's membership in its group.
struct Member {
    group: String,
    database: String,
    /// The name of this server, for people.
    name: String,
    exchange_every: Duration,
    outbox: Arc<GroupOutbox>,
    objectives: Arc<Objectives>,
    alerting: Arc<Alerting>,
    metrics: ReplicaMetrics,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    store: Option<Store>,
    exchanges: u64,
    /// The id of this server in the group.
    own: String,
    /// The last change of the group that was read.
    seen: i64,
    /// See [`tidegate_store::SharedNews::epoch`].
    epoch: Option<String>,
    /// The id of the replica that sends alerts, and until when it has the lease.
    alert_sender: Option<(String, Instant)>,
    replicas: Vec<Replica>,
    exchanged_ms: Option<u64>,
    problem: Option<String>,
}

/// The context of a group member.
pub(crate) struct GroupContext {
    /// The notes that wait to be sent to the group.
    pub(crate) outbox: Arc<GroupOutbox>,
    /// The database of the group, if the configuration names no other one.
    pub(crate) default_database: String,
    pub(crate) server_name: String,
    pub(crate) objectives: Arc<Objectives>,
    pub(crate) alerting: Arc<Alerting>,
    pub(crate) metrics: ReplicaMetrics,
}

/// The status of a group, as one of its servers sees it.
pub(crate) struct GroupStatus {
    pub(crate) group: String,
    /// This server.
    pub(crate) name: String,
    /// The replica that sends alerts.
    pub(crate) alert_sender: Option<String>,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) exchanged_ms: Option<u64>,
    /// Why the last exchange failed.
    pub(crate) problem: Option<String>,
}

impl Replicas {
    /// A server that is alone.
    pub(crate) fn alone() -> Self {
        Self(None)
    }

    /// A member of `group`. Nothing is contacted yet.
    pub(crate) fn member(group: String, config: &ReplicasConfig, context: GroupContext) -> Self {
        let database = config.database.clone();
        Self(Some(Member {
            group,
            database: database.unwrap_or(context.default_database),
            name: context.server_name,
            exchange_every: Duration::from_millis(config.exchange_interval_ms),
            outbox: context.outbox,
            objectives: context.objectives,
            alerting: context.alerting,
            metrics: context.metrics,
            state: Mutex::default(),
        }))
    }

    /// The status of the group; `None` if the server is alone.
    pub(crate) fn status(&self) -> Option<GroupStatus> {
        self.0.as_ref().map(Member::status)
    }
}

impl Component for Replicas {
    fn name(&self) -> &'static str {
        "replicas"
    }

    fn routes(self: Arc<Self>) -> Routes<()> {
        api::routes(self)
    }

    fn start(self: Arc<Self>, background: &mut JoinSet<()>) {
        background.spawn(async move {
            if let Some(member) = &self.0 {
                member.run().await;
            }
        });
    }

    fn problems(&self) -> Vec<String> {
        let problem = self.status().and_then(|status| {
            let GroupStatus { group, problem, .. } = status;
            Some(format!("the group {group} cannot be reached: {}", problem?))
        });
        problem.into_iter().collect()
    }

    /// Sends the last changes to the group, and gives up the lease of sending alerts.
    fn finish(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if let Some(member) = &self.0 {
                member.leave().await;
            }
        })
    }
}

impl Member {
    async fn run(&self) {
        loop {
            self.try_exchange(EXCHANGE_TIMEOUT).await;
            // Whichever comes first: the usual time, or a change that the others should have at
            // once.
            let _ = tokio::time::timeout(self.exchange_every, self.outbox.changed()).await;
        }
    }

    async fn leave(&self) {
        self.outbox.persist().await;
        let (store, replica) = (self.state.lock().store.clone(), self.objectives.replica());
        if let (Some(store), Some(replica)) = (store, replica) {
            self.try_exchange(SHUTDOWN_TIMEOUT).await;
            // Otherwise nobody would send alerts until the lease has expired.
            let release = store.release_lease(&self.group, ALERTS_LEASE, &replica);
            let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, release).await;
        }
        // After the last exchange, so that the state file has all that the group has.
        self.objectives.count_and_persist().await;
    }

    fn status(&self) -> GroupStatus {
        let state = self.state.lock();
        GroupStatus {
            group: self.group.clone(),
            name: self.name.clone(),
            alert_sender: state.alert_sender().map(|sender| state.name_of(sender)),
            replicas: state.replicas.clone(),
            exchanged_ms: state.exchanged_ms,
            problem: state.problem.clone(),
        }
    }

    async fn try_exchange(&self, timeout: Duration) {
        self.outbox.persist().await;
        let mut exchanging = pin!(tokio::time::timeout(timeout, self.exchange()));
        let outcome = match tokio::time::timeout(SLOW_EXCHANGE, &mut exchanging).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let problem = format!("the database has not answered for {SLOW_EXCHANGE:?}");
                self.state.lock().problem.get_or_insert(problem);
                exchanging.await
            }
        };
        self.outbox.persist().await;
        let problem = match outcome {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("the database did not answer within {timeout:?}")),
        };
        let mut state = self.state.lock();
        let group = &self.group;
        match (&state.problem, &problem) {
            (None, Some(problem)) => warn!(
                group,
                problem, "the replicas of the group cannot be reached"
            ),
            (Some(_), None) => info!(group, "the replicas of the group are reached again"),
            _ => {}
        }
        let sends_alerts = state
            .alert_sender()
            // While no sender is certain, every replica sends.
            .is_none_or(|sender| sender == state.own);
        let reached = problem.is_none().then_some(state.replicas.len());
        self.metrics.set_exchange(group, reached, sends_alerts);
        if problem.is_some() {
            // Its connections may be dead, and a file may have been replaced: begin anew.
            state.store = None;
        }
        state.problem = problem;
    }
}

impl State {
    /// The id of the replica that sends alerts, while its lease is certain.
    fn alert_sender(&self) -> Option<&str> {
        self.alert_sender
            .as_ref()
            .filter(|(_, until)| Instant::now() < *until)
            .map(|(sender, _)| sender.as_str())
    }

    fn name_of(&self, replica: &str) -> String {
        let known = self.replicas.iter().find(|known| known.id == replica);
        known.map_or_else(|| replica.to_owned(), |known| known.name.clone())
    }
}
