//! Servers that serve the same: they count objectives together, share what people told one of them,
//! and one of them tells people of the alerts that all of them have.
//!
//! Every few seconds, and at once where there is something to say, each exchanges what is new with
//! the store. While the store does not answer, each goes on with what it knows, and tells people
//! itself: better twice than never.

mod config;
mod metrics;
pub(crate) mod notes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tidegate_observe::Ledger;
use tidegate_serving::MetricRegistry;
use tidegate_store::{Addition, Note, Replica, Store, StoreError, Tier};
use tokio::sync::Notify;
use tracing::{info, warn};

pub use self::config::{ReplicasConfig, ReplicasError};
use self::metrics::ReplicaMetrics;
use crate::app::App;
use crate::clock;

/// Longest that an exchange may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longest that the last exchange may take.
const FAREWELL: Duration = Duration::from_secs(2);
/// Exchanges that the one who tells of alerts may miss before another one does.
const LEASE_EXCHANGES: u32 = 3;
/// And the shortest time after which one does.
const SHORTEST_LEASE: Duration = Duration::from_secs(5);
/// The duty of telling people of the alerts that all have.
const ALERTS: &str = "alerts";
/// How long ago a replica may have been heard of to be there.
const SEEN_WITHIN_MS: i64 = 60_000;
/// How many exchanges there are between two that clear up.
const PRUNE_EVERY: u64 = 60;
/// Counts of this age are forgotten: a bit more than the longest window.
const LONGEST_MS: i64 = 91 * 86_400_000;
/// Most notes that wait for the store.
const MAX_NOTES: usize = 1000;

/// A server's place in its group.
pub struct Replicas {
    group: String,
    database: String,
    /// For people.
    name: String,
    exchange_every: Duration,
    metrics: ReplicaMetrics,
    wake: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    store: Option<Store>,
    exchanges: u64,
    /// What this server is known by.
    own: String,
    /// The last change that was read.
    seen: i64,
    /// Whether everything is to be read the next time.
    reads_all: bool,
    /// Who tells of alerts, and until when that is certain.
    teller: Option<(String, Instant)>,
    replicas: Vec<Replica>,
    /// Notes that the store does not have yet, by kind and name.
    notes: BTreeMap<(String, String), Note>,
    exchanged_ms: Option<u64>,
    problem: Option<String>,
}

/// How a group stands, as one of its servers sees it.
pub(crate) struct GroupStatus {
    pub(crate) group: String,
    /// This server.
    pub(crate) name: String,
    /// Who tells of alerts.
    pub(crate) teller: Option<String>,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) exchanged_ms: Option<u64>,
    /// Why the last exchange failed.
    pub(crate) problem: Option<String>,
}

impl Replicas {
    /// This server's place in the group that is configured, if one is, by a name for people. The
    /// group meets in `registry`, a database, unless another one is named. Nothing is contacted
    /// yet.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn new(
        config: &ReplicasConfig,
        registry: impl FnOnce() -> String,
        name: String,
        metrics: &MetricRegistry,
    ) -> Result<Option<Self>, ReplicasError> {
        let metrics = ReplicaMetrics::new(metrics);
        let Some(group) = config.parse()? else {
            return Ok(None);
        };
        let database = config.database.clone().unwrap_or_else(registry);
        let exchange_every = Duration::from_millis(config.exchange_interval_ms);
        let (wake, state) = (Notify::new(), Mutex::default());
        Ok(Some(Self {
            group,
            database,
            name,
            exchange_every,
            metrics,
            wake,
            state,
        }))
    }

    /// Exchanges until it is dropped.
    pub(crate) async fn run(self: Arc<Self>, app: Arc<App>) {
        loop {
            self.try_exchange(&app, PATIENCE).await;
            let _ = tokio::time::timeout(self.exchange_every, self.wake.notified()).await;
        }
    }

    /// Gives what is left to the group, and the duty to another one.
    pub(crate) async fn finish(&self, app: &App) {
        let (store, replica) = (self.state.lock().store.clone(), app.objectives.replica());
        let (Some(store), Some(replica)) = (store, replica) else {
            return;
        };
        self.try_exchange(app, FAREWELL).await;
        let _ = tokio::time::timeout(FAREWELL, store.release_lease(&self.group, ALERTS, &replica))
            .await;
    }

    /// Tells the others soon.
    pub(crate) fn say(&self, note: Note) {
        let mut state = self.state.lock();
        if state.notes.len() >= MAX_NOTES {
            warn!(
                kind = note.kind,
                name = note.name,
                "too many notes wait for the group's database: one is given up"
            );
            return;
        }
        state
            .notes
            .insert((note.kind.clone(), note.name.clone()), note);
        drop(state);
        self.wake.notify_one();
    }

    /// Who else tells people of the group's alerts; `None` if it is this server, or not known.
    pub(crate) fn notifying_replica(&self) -> Option<String> {
        let state = self.state.lock();
        let teller = state.teller().filter(|teller| *teller != state.own)?;
        Some(state.name_of(teller))
    }

    /// Reads all that the group has counted once more.
    pub(crate) fn read_all(&self) {
        self.state.lock().reads_all = true;
        self.wake.notify_one();
    }

    /// How the group stands.
    pub(crate) fn status(&self) -> GroupStatus {
        let state = self.state.lock();
        GroupStatus {
            group: self.group.clone(),
            name: self.name.clone(),
            teller: state.teller().map(|teller| state.name_of(teller)),
            replicas: state.replicas.clone(),
            exchanged_ms: state.exchanged_ms,
            problem: state.problem.clone(),
        }
    }

    async fn try_exchange(&self, app: &App, patience: Duration) {
        let problem = match tokio::time::timeout(patience, self.exchange(app)).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("the database did not answer within {patience:?}")),
        };
        let mut state = self.state.lock();
        match (&state.problem, &problem) {
            (None, Some(problem)) => warn!(
                group = self.group,
                problem, "the replicas of the group cannot be reached"
            ),
            (Some(_), None) => info!(
                group = self.group,
                "the replicas of the group are reached again"
            ),
            _ => {}
        }
        let tells_alerts = state.teller().is_none_or(|teller| teller == state.own);
        self.metrics.set_exchange(
            &self.group,
            problem.is_none().then_some(state.replicas.len()),
            tells_alerts,
        );
        state.problem = problem;
    }

    /// Gives what is new here, and takes what is new elsewhere.
    async fn exchange(&self, app: &App) -> Result<(), StoreError> {
        let store = self.store(app).await?;
        let Some(outgoing) = app.objectives.outgoing() else {
            return Ok(());
        };
        self.hold_duty(&store, &outgoing.replica).await?;
        let (replica, number) = (outgoing.replica.as_str(), outgoing.number);
        let addition = Addition {
            group: &self.group,
            replica,
            name: &self.name,
            number,
            counts: &outgoing.counts,
        };
        store.add_counts(addition).await?;
        self.send_notes(&store).await?;
        let seen = self.begin_reading();
        let mut news = store.shared_news(&self.group, seen).await?;
        if news.change < seen {
            // It is another database than before, or an older state of it.
            news = store.shared_news(&self.group, 0).await?;
        }
        app.objectives.receive(news.counts);
        for note in news.notes {
            notes::heed(app, note).await;
        }
        let replicas = store.replicas(&self.group, SEEN_WITHIN_MS).await?;
        let is_due = {
            let mut state = self.state.lock();
            (state.seen, state.replicas, state.exchanged_ms) =
                (news.change, replicas, Some(clock::now_ms()));
            state.exchanges += 1;
            state.exchanges % PRUNE_EVERY == 1
        };
        if is_due {
            store
                .prune_shared(&self.group, &tiers(), LONGEST_MS)
                .await?;
        }
        Ok(())
    }

    /// The open database. At the first time the last addition that it has is taken in.
    async fn store(&self, app: &App) -> Result<Store, StoreError> {
        if let Some(store) = self.state.lock().store.clone() {
            return Ok(store);
        }
        let store = Store::open(&self.database).await?;
        if let Some(replica) = app.objectives.replica() {
            app.objectives
                .settle(store.last_addition(&self.group, &replica).await?)
                .await;
        }
        self.state.lock().store = Some(store.clone());
        Ok(store)
    }

    /// Takes the duty of telling people of alerts if nobody has it.
    async fn hold_duty(&self, store: &Store, replica: &str) -> Result<(), StoreError> {
        // Before the question: by then the lease may have begun.
        let length = (LEASE_EXCHANGES * self.exchange_every).max(SHORTEST_LEASE);
        let until = Instant::now() + length;
        let length_ms = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
        let teller = store
            .hold_lease(&self.group, ALERTS, replica, length_ms)
            .await?;
        let mut state = self.state.lock();
        replica.clone_into(&mut state.own);
        let before = state
            .teller
            .replace((teller, until))
            .map(|(before, _)| before);
        if state.teller() == Some(replica) && before.as_deref() != Some(replica) {
            info!(
                group = self.group,
                "this server tells people of the group's alerts"
            );
        }
        Ok(())
    }

    async fn send_notes(&self, store: &Store) -> Result<(), StoreError> {
        let waiting: Vec<Note> = self.state.lock().notes.values().cloned().collect();
        for note in waiting {
            store.leave_note(&self.group, &note).await?;
            let mut state = self.state.lock();
            let key = (note.kind.clone(), note.name.clone());
            // A newer one of this name may have come meanwhile.
            if state.notes.get(&key) == Some(&note) {
                state.notes.remove(&key);
            }
        }
        Ok(())
    }

    /// After which change to read.
    fn begin_reading(&self) -> i64 {
        let mut state = self.state.lock();
        if std::mem::take(&mut state.reads_all) {
            0
        } else {
            state.seen
        }
    }
}

impl State {
    /// Who tells of alerts, if that is certain.
    fn teller(&self) -> Option<&str> {
        self.teller
            .as_ref()
            .filter(|(_, until)| Instant::now() < *until)
            .map(|(teller, _)| teller.as_str())
    }

    fn name_of(&self, replica: &str) -> String {
        let known = self.replicas.iter().find(|known| known.id == replica);
        known.map_or_else(|| replica.to_owned(), |known| known.name.clone())
    }
}

/// How many buckets the store is to keep: as many as a ledger does.
fn tiers() -> [Tier; 3] {
    Ledger::TIERS.map(|(width_ms, buckets)| Tier {
        width_ms: i64::try_from(width_ms).unwrap_or(i64::MAX),
        buckets: i64::try_from(buckets).unwrap_or(i64::MAX),
    })
}
