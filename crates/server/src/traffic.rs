//! The traffic policies of endpoints: from the configuration, or set at run time and kept in the
//! database, which servers that share it follow.
//!
//! ```text
//! configuration ─┐
//!                ├─► wanted policies ─► their versions are loaded ─► in force (TrafficTable)
//! database ──────┘         │
//!                          └─► the fleet keeps their versions loaded
//! ```
//!
//! A changed policy comes into force once its versions are loaded; until then the one before decides.
//! Those that a server finds at its start are in force at once: requests wait for the load.

mod api;
mod change;
mod enforce;
mod in_words;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidegate_delivery::assign::Salt;
use tidegate_delivery::policy::TrafficPolicy;
use tidegate_observe::Event;
use tidegate_serving::{EndpointConfig, EndpointTraffic, Serving, TrafficError, TrafficTable};
use tidegate_store::{Store, StoreError, TrafficChange};
use tokio::task::JoinSet;
use tracing::{info, warn};

pub(crate) use self::api::description;
pub(crate) use self::change::{CheckedChange, ROLLED_OUT, ROLLOUT, json, unavailable};
use crate::ServerConfig;
use crate::component::Component;
use crate::events::EventJournal;
use crate::routes::Routes;

/// How often it is asked whether a policy was changed: all servers follow a change within a second.
const POLL: Duration = Duration::from_millis(400);
/// Longest that the start waits for the database.
const FIRST_READ: Duration = Duration::from_secs(5);

/// A policy of the configuration that cannot be followed.
#[derive(Debug, thiserror::Error)]
#[error("endpoints {endpoint:?}: traffic: {problem}")]
pub struct TrafficConfigError {
    endpoint: String,
    problem: TrafficError,
}

/// The traffic policies of a server.
pub(crate) struct Traffic {
    serving: Arc<Serving>,
    events: Arc<EventJournal>,
    server: ServerConfig,
    /// Where policies are kept that are set at run time; `None` where the server keeps nothing.
    database: Option<String>,
    /// Tells the sequences of this server from those of others.
    replica: u64,
    configured: BTreeMap<String, TrafficPolicy>,
    /// Held while changes are read and put in force, so that none is overtaken by an earlier one.
    following: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    store: Option<Store>,
    /// The change of the database that was read last.
    change: Option<i64>,
    /// The newest change of each endpoint.
    stored: BTreeMap<String, TrafficChange>,
    /// What should be in force.
    wanted: BTreeMap<String, Arc<EndpointTraffic>>,
    /// The versions whose load was asked for, by endpoint.
    asked: BTreeSet<(String, String)>,
    /// Why policies are not in force yet, by endpoint.
    waiting: BTreeMap<String, String>,
    /// Why policies of the database cannot be followed, by endpoint.
    unusable: BTreeMap<String, String>,
    /// Why the database cannot be read.
    problem: Option<String>,
}

impl Traffic {
    /// The policies of these endpoints, in force at once, and those of the database once they are read.
    ///
    /// # Errors
    /// A policy that cannot be followed.
    pub(crate) fn new(
        endpoints: &[EndpointConfig],
        server: ServerConfig,
        serving: Arc<Serving>,
        events: Arc<EventJournal>,
        place: (Option<String>, &str),
    ) -> Result<Self, TrafficConfigError> {
        let (database, server_name) = place;
        let mut configured = BTreeMap::new();
        for endpoint in endpoints {
            let Some(policy) = &endpoint.traffic else {
                continue;
            };
            let checked = EndpointTraffic::check(policy, serving.gateway());
            let checked = checked.and_then(|()| match policy.experiments().is_empty() {
                true => Ok(()),
                false => Err(TrafficError::Experiments),
            });
            checked.map_err(|problem| {
                let endpoint = endpoint.name.clone();
                TrafficConfigError { endpoint, problem }
            })?;
            configured.insert(endpoint.name.clone(), policy.clone());
        }
        let traffic = Self {
            serving,
            events,
            server,
            database,
            replica: Salt::of(server_name).hash("traffic"),
            configured,
            following: tokio::sync::Mutex::default(),
            state: Mutex::default(),
        };
        traffic.want();
        traffic.enforce_at_once();
        Ok(traffic)
    }

    /// Reads the policies of the database for the first time, before requests arrive.
    pub(crate) async fn read_first(&self) {
        let reading = tokio::time::timeout(FIRST_READ, self.refresh());
        if reading.await.is_err() {
            let problem = "the traffic policies could not be read at the start".to_owned();
            warn!("{problem}");
            self.state.lock().problem = Some(problem);
        }
    }

    async fn follow(&self) {
        loop {
            tokio::time::sleep(POLL).await;
            // Without a database, policies are those of the configuration.
            if self.database.is_some() {
                self.refresh().await;
            }
            self.tell_stopped_cascades().await;
        }
    }

    /// An event for each cascade that has stopped on this server.
    async fn tell_stopped_cascades(&self) {
        let mut events = Vec::new();
        for traffic in self.table().all() {
            let Some(cascade) = traffic.cascade().filter(|cascade| cascade.tells_stop()) else {
                continue;
            };
            let (endpoint, first) = (traffic.endpoint(), cascade.cascade().first.as_str());
            let counts = cascade.counts();
            warn!(endpoint, first, "the cascade stopped: it agrees too rarely");
            let event = Event::new("cascade.stopped", crate::clock::now_ms())
                .about(endpoint, first)
                .with("audited", counts.audited)
                .with("disagreed", counts.disagreed)
                .with("agreement", cascade.cascade().agreement.unwrap_or(1.0));
            events.push(event);
        }
        if !events.is_empty() {
            events.into_iter().for_each(|event| self.events.add(event));
            self.events.persist().await;
        }
    }

    /// Reads what has changed and puts it in force. While the database cannot be reached, policies
    /// stay as they are.
    pub(crate) async fn refresh(&self) {
        let _following = self.following.lock().await;
        let is_first = self.state.lock().change.is_none();
        let problem = self.read_changes().await.err();
        let problem = problem.map(|error| format!("the traffic policies cannot be read: {error}"));
        {
            let mut state = self.state.lock();
            match (&state.problem, &problem) {
                (None, Some(problem)) => warn!("{problem}"),
                (Some(_), None) => info!("the traffic policies can be read again"),
                _ => {}
            }
            state.problem = problem;
        }
        match is_first {
            true => self.enforce_at_once(),
            false => self.enforce_loaded().await,
        }
    }

    async fn read_changes(&self) -> Result<(), StoreError> {
        let Some(store) = self.store().await? else {
            return Ok(());
        };
        let change = match store.traffic_change().await {
            Ok(change) => change,
            Err(error) => {
                // Another file may be at its path by now.
                self.state.lock().store = None;
                return Err(error);
            }
        };
        // The usual case: nothing changed, and one small query was enough to see it.
        if self.state.lock().change == Some(change) {
            return Ok(());
        }
        let stored = store.traffic().await?;
        let stored = stored
            .into_iter()
            .map(|change| (change.endpoint.clone(), change))
            .collect();
        let (is_first, before) = {
            let mut state = self.state.lock();
            let is_first = state.change.replace(change).is_none();
            (is_first, std::mem::replace(&mut state.stored, stored))
        };
        if !is_first {
            self.tell_changes(&before).await;
        }
        self.want();
        Ok(())
    }

    /// The database; `None` where the server keeps nothing.
    pub(crate) async fn store(&self) -> Result<Option<Store>, StoreError> {
        let Some(database) = &self.database else {
            return Ok(None);
        };
        if let Some(store) = &self.state.lock().store {
            return Ok(Some(store.clone()));
        }
        let store = Store::open(database).await?;
        let mut state = self.state.lock();
        // A database that was opened again may count its changes from another number.
        state.change = state.change.map(|_| -1);
        state.store = Some(store.clone());
        Ok(Some(store))
    }

    /// An event for each endpoint whose policy was changed, here or on another server.
    async fn tell_changes(&self, before: &BTreeMap<String, TrafficChange>) {
        let stored = self.state.lock().stored.clone();
        let changed = stored
            .values()
            .filter(|change| before.get(&change.endpoint) != Some(*change));
        for change in changed {
            let earlier = self.policy_after(&change.endpoint, before.get(&change.endpoint));
            let policy = self.policy_after(&change.endpoint, Some(change));
            let changes = in_words::changes(earlier.as_ref(), policy.as_ref());
            let event = Event::new("traffic.changed", u64::try_from(change.at_ms).unwrap_or(0))
                .about(&change.endpoint, "")
                .with("revision", change.revision)
                .with("by", change.actor.as_str())
                .with("action", change.action.as_str())
                .with("changes", changes.join("; "));
            info!(
                endpoint = change.endpoint,
                revision = change.revision,
                by = change.actor,
                "traffic policy changed"
            );
            self.events.add(event);
        }
        self.events.persist().await;
    }

    /// Whether a policy of an endpoint is in force as it should be.
    fn is_in_force(&self, wanted: &Arc<EndpointTraffic>) -> bool {
        let current = self.table().of(wanted.endpoint());
        current.is_some_and(|current| Arc::ptr_eq(&current, wanted))
    }

    /// The policy that should be in force for an endpoint.
    pub(crate) fn wanted_policy(&self, endpoint: &str) -> Option<TrafficPolicy> {
        let state = self.state.lock();
        let wanted = state.wanted.get(endpoint)?;
        Some(wanted.policy().clone())
    }

    /// Whether policies can be set at run time.
    pub(crate) fn keeps_policies(&self) -> bool {
        self.database.is_some()
    }

    fn table(&self) -> &TrafficTable {
        self.serving.traffic()
    }
}

impl Component for Traffic {
    fn name(&self) -> &'static str {
        "traffic"
    }

    fn routes(self: Arc<Self>) -> Routes<()> {
        api::routes(self)
    }

    fn start(self: Arc<Self>, background: &mut JoinSet<()>) {
        if let Err(error) = TrafficTable::start_shadows(&self.serving) {
            warn!(%error, "shadows get no requests");
        }
        background.spawn(async move { self.follow().await });
    }

    fn problems(&self) -> Vec<String> {
        let state = self.state.lock();
        let waiting = state
            .waiting
            .iter()
            .map(|(endpoint, why)| format!("the traffic policy of {endpoint} waits: {why}"));
        let unusable = state
            .unusable
            .iter()
            .map(|(endpoint, why)| format!("the traffic policy of {endpoint} is not used: {why}"));
        let in_force = self.table().all();
        let stopped = in_force.iter().filter(|traffic| {
            let cascade = traffic.cascade();
            cascade.is_some_and(|cascade| cascade.is_stopped())
        });
        let cascades = stopped.map(|traffic| {
            let endpoint = traffic.endpoint();
            format!("the cascade of {endpoint} stopped: its first version agrees too rarely")
        });
        let problem = state.problem.iter().cloned();
        problem
            .chain(waiting)
            .chain(unusable)
            .chain(cascades)
            .collect()
    }
}
