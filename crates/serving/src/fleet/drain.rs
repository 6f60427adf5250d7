//! Taking versions out of service: wait for the last answers, then release the memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::info;

use super::Fleet;
use super::managed_model::{LoadedVersion, ManagedModel};

/// How long to pause between two checks whether the last request is done. The pause doubles from
/// the first to the longest: most requests take milliseconds, and a version that has a slow one
/// should not keep a thread busy.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// The version that an eviction takes.
struct Victim {
    model: String,
    number: u64,
    last_used: Instant,
}

impl Fleet {
    /// Waits for the last answers of a version that takes no more requests, and releases its
    /// memory.
    pub(super) fn drain(self: &Arc<Self>, model: &str, number: u64, mut loaded: LoadedVersion) {
        // Before the task starts, so that the eviction that called this counts the memory as coming
        // free and evicts no more than it must.
        loaded.reservation.mark_draining();
        let (fleet, model) = (self.clone(), model.to_owned());
        self.runtime.spawn(async move {
            wait_for_last_request(&loaded).await;
            let dropping = fleet.clone();
            let dropped = tokio::task::spawn_blocking(move || dropping.drop_version(loaded));
            // A panic of the engine while it ends has been reported. The reservation is dropped
            // with it, so that the memory counts as released.
            let _ = dropped.await;
            fleet.finish_draining(&model, number);
        });
    }

    /// Ends a version's instances and releases its memory. Blocks.
    fn drop_version(&self, loaded: LoadedVersion) {
        let LoadedVersion {
            version,
            reservation,
        } = loaded;
        // Memory that is freed meanwhile would falsify what a load beside it measures.
        let _active = self.activity.start();
        let is_gone = version.scheduler().gone();
        drop(version);
        while !is_gone() {
            // The scheduler's threads end by themselves, and nothing signals it.
            std::thread::sleep(FIRST_PAUSE);
        }
        // The order matters: whoever waits for the reservation may load at once, and the memory
        // must be there then.
        crate::memory::give_back();
        drop(reservation);
    }

    fn finish_draining(self: &Arc<Self>, model: &str, number: u64) {
        let mut managed = self.managed.lock();
        if let Some(managed_model) = managed.get_mut(model) {
            let reconciliation = managed_model.finish_draining(number);
            self.apply(managed_model, reconciliation);
        }
        self.remove_empty_models(&mut managed);
        drop(managed);
        // Loads that wait for memory look at the states of versions too, and those changed after
        // the reservation was released.
        self.budget.notify_waiters();
    }

    /// Evicts the least recently used versions until so many bytes will fit once those are drained,
    /// for a load of another version. Returns whether they will.
    pub(super) fn evict_until_fits(self: &Arc<Self>, model: &str, number: u64, bytes: u64) -> bool {
        while !self.budget.will_fit(bytes) {
            if !self.evict_one(model, number) {
                return false;
            }
        }
        true
    }

    /// Evicts the least recently used version. Returns whether there was one that may go.
    fn evict_one(self: &Arc<Self>, for_model: &str, for_number: u64) -> bool {
        let mut managed = self.managed.lock();
        let evictable = managed
            .values()
            .filter(|candidate| !self.config.is_pinned(&candidate.name))
            .flat_map(victims)
            .filter(|victim| victim.model != for_model || victim.number != for_number);
        let Some(victim) = evictable.min_by_key(|victim| victim.last_used) else {
            return false;
        };
        let Some(managed_model) = managed.get_mut(&victim.model) else {
            return false;
        };
        let Some(loaded) = managed_model.take_out(victim.number) else {
            return false;
        };
        info!(
            model = victim.model,
            version = victim.number,
            bytes = loaded.reservation.bytes(),
            idle_ms = victim.last_used.elapsed().as_millis() as u64,
            reserved_bytes = self.budget.reserved(),
            budget_bytes = self.budget.limit(),
            evicted_for = %format_args!("{for_model}:{for_number}"),
            "version evicted"
        );
        self.metrics.count_eviction(&victim.model);
        self.publish(managed_model);
        self.drain(&victim.model, victim.number, loaded);
        true
    }

    /// Whether memory is reserved by a load or a drain in progress. These notify the waiters when
    /// they end, so that waiting for memory is not in vain.
    pub(super) fn has_memory_in_transit(&self) -> bool {
        let managed = self.managed.lock();
        let slots = managed.values().flat_map(|model| model.slots.values());
        let loaded_bytes: u64 = slots
            .filter_map(|slot| slot.loaded.as_ref())
            .map(|loaded| loaded.reservation.bytes())
            .sum();
        self.budget.reserved() > loaded_bytes
    }
}

/// Returns when no request holds the version any more. Those that have begun hold an `Arc` of it.
async fn wait_for_last_request(loaded: &LoadedVersion) {
    let mut pause = FIRST_PAUSE;
    // Each request holds one reference, and the last one is held here.
    while Arc::strong_count(&loaded.version) > 1 {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// The versions of a model that an eviction may take.
fn victims(model: &ManagedModel) -> impl Iterator<Item = Victim> {
    model
        .slots
        .iter()
        .filter(|(number, _)| !model.is_outgoing(**number))
        .filter_map(|(number, slot)| {
            Some(Victim {
                model: model.name.clone(),
                number: *number,
                last_used: slot.loaded.as_ref()?.version.last_used().get(),
            })
        })
}
