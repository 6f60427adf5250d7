//! The control loop: reads what changed in the registry, starts the loads that are due, unloads
//! idle versions.
//!
//! It polls instead of subscribing: one row tells whether anything changed, a poll works the same
//! with SQLite and PostgreSQL, and a missed notification cannot leave a server behind.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tidegate_registry::{Error, Position, Result, Snapshot};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;
use tracing::{info, warn};

use super::backoff::backoff;
use super::managed_model::ManagedModel;
use super::{Fleet, VersionNames, link};

/// How often this server reports which versions it uses. The registry takes a report for valid for
/// 120 s (`USE_LEASE`), so that one report may be lost.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);
/// The longest wait after a failed attempt to reach the registry.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(30);
/// A registry that has not answered for so long is reported as unreachable, while its answer is
/// still waited for.
const SLOW_READ: Duration = Duration::from_secs(3);
/// The shortest poll interval, whatever is configured: every poll is a query of the database.
const MIN_POLL_MS: u64 = 10;

/// Models and version numbers.
type Uses = Vec<(String, i64)>;

/// Follows the registry as long as the fleet lives.
pub(super) async fn run(fleet: Weak<Fleet>) {
    let mut follower = RegistryFollower::default();
    loop {
        let Some(fleet) = fleet.upgrade() else { return };
        let pause = follower.step(&fleet).await;
        // Not held while it sleeps: the task ends when everybody else has dropped the fleet.
        drop(fleet);
        tokio::time::sleep(pause).await;
    }
}

/// What the loop remembers from one step to the next.
#[derive(Default)]
struct RegistryFollower {
    /// Where the registry stood when it was last read itself.
    last_seen: Option<Position>,
    /// Whether the fleet has targets, be they from the registry or from the local cache.
    has_snapshot: bool,
    has_filled_pool: bool,
    /// What names stood for when that was last saved.
    saved_names: BTreeMap<String, VersionNames>,
    reads: RetryTimer,
    reports: RetryTimer,
    last_report: Option<(Instant, Uses)>,
    /// The report that is being written: it may wait for other writers, and the loop goes on.
    report: Option<JoinHandle<Result<Uses>>>,
}

/// When to retry after a failure.
#[derive(Default)]
struct RetryTimer {
    failures: u32,
    retry_at: Option<Instant>,
}

impl RetryTimer {
    fn is_due(&self) -> bool {
        self.retry_at.is_none_or(|at| at <= Instant::now())
    }

    fn record_failure(&mut self) {
        self.retry_at = Some(Instant::now() + backoff(self.failures, MAX_RETRY_DELAY));
        self.failures += 1;
    }

    fn record_success(&mut self) {
        *self = Self::default();
    }
}

impl RegistryFollower {
    /// Does one step, and returns the time until the next one.
    async fn step(&mut self, fleet: &Arc<Fleet>) -> Duration {
        if self.reads.is_due() {
            self.read(fleet).await;
        }
        if self.has_snapshot {
            self.bring_up_to_date(fleet).await;
        }
        Duration::from_millis(fleet.config.poll_interval_ms.max(MIN_POLL_MS))
    }

    async fn bring_up_to_date(&mut self, fleet: &Arc<Fleet>) {
        // Once only, and before the other loads: later, the pool is whatever was used last.
        if !std::mem::replace(&mut self.has_filled_pool, true) {
            fleet.fill_pool();
        }
        // On every step, not only after a change: failed loads come due with time.
        fleet.start_due_loads();
        fleet
            .has_started_initial_loads
            .store(true, Ordering::Relaxed);
        fleet.unload_idle();
        fleet.finish_initial_loads();
        if self.reads.retry_at.is_none() {
            self.report_uses(fleet).await;
        }
        let names = fleet.known_names();
        if !names.is_empty() && self.saved_names != names {
            fleet.link.save_names(names.clone()).await;
            self.saved_names = names;
        }
    }

    async fn read(&mut self, fleet: &Arc<Fleet>) {
        let must_read = fleet.must_read_registry.swap(false, Ordering::Relaxed);
        let last_seen = self.last_seen.clone().filter(|_| !must_read);
        match changed_since(fleet, last_seen.as_ref()).await {
            Ok(changed) => self.record_read(fleet, changed),
            Err(error) => {
                // What was due stays due. `fetch_or`, for it may have been set again meanwhile.
                fleet
                    .must_read_registry
                    .fetch_or(must_read, Ordering::Relaxed);
                self.record_read_failure(fleet, &error);
            }
        }
    }

    fn record_read(&mut self, fleet: &Arc<Fleet>, changed: Option<Arc<Snapshot>>) {
        self.reads.record_success();
        if fleet.registry_error.lock().take().is_some() {
            info!("the registry can be read again");
        }
        if let Some(snapshot) = changed {
            self.last_seen = Some(snapshot.position.clone());
            self.has_snapshot = true;
            fleet.apply_snapshot(&snapshot);
        }
    }

    fn record_read_failure(&mut self, fleet: &Arc<Fleet>, error: &Error) {
        self.reads.record_failure();
        let reason = link::reason(error);
        // Once, not at every retry.
        if self.reads.failures == 1 {
            warn!(
                reason,
                "cannot read the registry: loaded versions stay in service"
            );
        }
        *fleet.registry_error.lock() = Some(reason);
        if !self.has_snapshot {
            self.start_from_cache(fleet);
        }
        if !fleet.models.is_empty() {
            // Models of folders do not wait for a registry that may never answer. `last_seen`
            // stays unset, so that the first successful read takes everything.
            fleet.initial_loads_done.send_replace(true);
        }
    }

    /// A server that starts without its registry serves what the local cache has.
    fn start_from_cache(&mut self, fleet: &Arc<Fleet>) {
        let Some(snapshot) = fleet.link.last_snapshot() else {
            return;
        };
        warn!(
            versions = snapshot.versions.len(),
            "serving the versions of the local cache"
        );
        self.has_snapshot = true;
        fleet.apply_snapshot(&snapshot);
    }

    /// Reports which versions are used, when that has changed and every minute.
    async fn report_uses(&mut self, fleet: &Arc<Fleet>) {
        if let Some(report) = self.report.take_if(|report| report.is_finished()) {
            self.record_report(report.await);
        }
        if self.report.is_some() || !self.reports.is_due() {
            return;
        }
        let uses = fleet.uses();
        if self.is_reported(&uses) {
            return;
        }
        let fleet = fleet.clone();
        let report = async move { fleet.link.report_uses(&uses).await.map(|()| uses) };
        self.report = Some(tokio::spawn(report));
    }

    fn record_report(&mut self, outcome: std::result::Result<Result<Uses>, JoinError>) {
        match outcome {
            Ok(Ok(uses)) => {
                self.reports.record_success();
                self.last_report = Some((Instant::now(), uses));
            }
            Ok(Err(error)) => {
                self.reports.record_failure();
                warn!(%error, "cannot report the versions in use to the registry");
            }
            Err(error) => {
                self.reports.record_failure();
                warn!(%error, "the report of the versions in use ended early");
            }
        }
    }

    fn is_reported(&self, uses: &Uses) -> bool {
        self.last_report
            .as_ref()
            .is_some_and(|(at, reported)| at.elapsed() < REPORT_INTERVAL && reported == uses)
    }
}

/// What changed in the registry. Says so where that takes long.
async fn changed_since(fleet: &Fleet, seen: Option<&Position>) -> Result<Option<Arc<Snapshot>>> {
    let mut reading = pin!(fleet.link.changed_since(seen));
    match timeout(SLOW_READ, &mut reading).await {
        Ok(changed) => changed,
        Err(_) => {
            let problem = format!("it has not answered for {} s", SLOW_READ.as_secs());
            fleet.registry_error.lock().get_or_insert(problem);
            reading.await
        }
    }
}

impl Fleet {
    /// The versions that are loaded or about to be: the registry does not delete them.
    fn uses(&self) -> Uses {
        let managed = self.managed.lock();
        let slots = managed
            .values()
            .flat_map(|model| model.slots.values().map(|slot| (&model.name, slot)));
        slots
            .filter(|(_, slot)| slot.loaded.is_some() || slot.load.is_some())
            .map(|(name, slot)| (name.clone(), slot.record.number))
            .collect()
    }

    /// What the names of each model stand for, for the next start.
    pub(super) fn known_names(&self) -> BTreeMap<String, VersionNames> {
        let managed = self.managed.lock();
        let names = managed
            .values()
            .map(|model| (model.name.clone(), model.known_names()));
        names.filter(|(_, names)| !names.is_empty()).collect()
    }

    /// Ends the start once nothing is being loaded any more.
    pub(super) fn finish_initial_loads(&self) {
        // Before the first loads have started, "nothing is being loaded" means nothing.
        let is_done = *self.initial_loads_done.borrow();
        if is_done || !self.has_started_initial_loads.load(Ordering::Relaxed) {
            return;
        }
        let managed = self.managed.lock();
        if !managed.values().any(ManagedModel::is_starting) {
            self.initial_loads_done.send_replace(true);
        }
    }
}
