//! The control loop: reads what changed in the registry, and sees to what is due.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::backoff::backoff;
use super::{Fleet, link};

/// How often this server says which versions it uses.
const REPORT_EVERY: Duration = Duration::from_secs(60);
/// The longest wait after the registry could not be read.
const RETRY_AT_MOST: Duration = Duration::from_secs(30);

/// Follows the registry as long as the fleet lives.
pub(super) async fn run(fleet: Weak<Fleet>) {
    let mut follower = Follower::default();
    loop {
        let Some(fleet) = fleet.upgrade() else { return };
        let pause = follower.step(&fleet).await;
        drop(fleet);
        tokio::time::sleep(pause).await;
    }
}

/// What the loop remembers from one look to the next.
#[derive(Default)]
struct Follower {
    /// The last change that was seen in the registry itself.
    seen: Option<i64>,
    has_begun: bool,
    has_filled_pool: bool,
    failures: u32,
    retry_at: Option<Instant>,
    reported: Option<(Instant, Vec<(String, i64)>)>,
    report_failures: u32,
    report_at: Option<Instant>,
}

impl Follower {
    /// One look; gives the time until the next.
    async fn step(&mut self, fleet: &Arc<Fleet>) -> Duration {
        if self.retry_at.is_none_or(|at| at <= Instant::now()) {
            self.read(fleet).await;
        }
        if self.has_begun {
            if !std::mem::replace(&mut self.has_filled_pool, true) {
                fleet.fill_pool();
            }
            fleet.load_due();
            fleet.has_begun.store(true, Ordering::Relaxed);
            fleet.unload_idle();
            fleet.note_start();
            if self.retry_at.is_none() {
                self.report(fleet).await;
            }
        }
        Duration::from_millis(fleet.config.poll_interval_ms.max(10))
    }

    async fn read(&mut self, fleet: &Arc<Fleet>) {
        let is_stale = fleet.is_stale.swap(false, Ordering::Relaxed);
        match fleet
            .link
            .changed_since(self.seen.filter(|_| !is_stale))
            .await
        {
            Ok(changed) => {
                if self.failures > 0 {
                    info!("the registry can be read again");
                }
                (self.failures, self.retry_at) = (0, None);
                *fleet.unreachable.lock() = None;
                if let Some(snapshot) = changed {
                    self.seen = Some(snapshot.change);
                    self.has_begun = true;
                    fleet.sync(&snapshot);
                }
            }
            Err(error) => {
                fleet.is_stale.fetch_or(is_stale, Ordering::Relaxed);
                self.retry_at = Some(Instant::now() + backoff(self.failures, RETRY_AT_MOST));
                self.failures += 1;
                let reason = link::reason(&error);
                if self.failures == 1 {
                    warn!(
                        reason,
                        "the registry cannot be read: what is loaded goes on"
                    );
                }
                *fleet.unreachable.lock() = Some(reason);
                if !self.has_begun
                    && let Some(snapshot) = fleet.link.last_seen()
                {
                    warn!(
                        versions = snapshot.versions.len(),
                        "serving what the local cache has of the registry"
                    );
                    self.has_begun = true;
                    fleet.sync(&snapshot);
                }
                if !fleet.models.is_empty() {
                    // Models of folders do not wait for a registry that nobody knows.
                    fleet.started.send_replace(true);
                }
            }
        }
    }

    /// Says which versions are used, when that changed and every minute.
    async fn report(&mut self, fleet: &Fleet) {
        if self.report_at.is_some_and(|at| at > Instant::now()) {
            return;
        }
        let uses = fleet.uses();
        let is_fresh = |(at, before): &(Instant, Vec<(String, i64)>)| {
            at.elapsed() < REPORT_EVERY && *before == uses
        };
        if self.reported.as_ref().is_some_and(is_fresh) {
            return;
        }
        match fleet.link.report_uses(&uses).await {
            Ok(()) => {
                (self.report_failures, self.report_at) = (0, None);
                self.reported = Some((Instant::now(), uses));
            }
            Err(error) => {
                self.report_at =
                    Some(Instant::now() + backoff(self.report_failures, RETRY_AT_MOST));
                self.report_failures += 1;
                warn!(%error, "which versions are used could not be said");
            }
        }
    }
}

impl Fleet {
    /// The versions that are loaded or about to be.
    fn uses(&self) -> Vec<(String, i64)> {
        let families = self.families.lock();
        let slots = families
            .values()
            .flat_map(|family| family.slots.values().map(|slot| (&family.name, slot)));
        let used = slots.filter(|(_, slot)| slot.loaded.is_some() || slot.load.is_some());
        used.map(|(name, slot)| (name.clone(), slot.record.number))
            .collect()
    }

    /// Notes that the start is over once nothing is being loaded any more.
    pub(super) fn note_start(&self) {
        if *self.started.borrow() || !self.has_begun.load(Ordering::Relaxed) {
            return;
        }
        let families = self.families.lock();
        let is_loading = families
            .values()
            .flat_map(|family| family.slots.values())
            .any(|slot| slot.load.is_some());
        if !is_loading {
            self.started.send_replace(true);
        }
    }
}
