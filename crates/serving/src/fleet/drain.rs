//! Taking versions out of service: the last answers, then the memory.

use std::sync::Arc;
use std::time::Duration;

use tracing::info;

use super::Fleet;
use super::family::Loaded;

/// How long it takes until somebody looks again whether the last request is done, at first and at
/// most.
const LOOK_AGAIN: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(50)];

impl Fleet {
    /// Waits for the last answers of a version that takes no more requests, and gives its memory
    /// back.
    pub(super) fn drain(self: &Arc<Self>, model: &str, number: u64, mut loaded: Loaded) {
        loaded.charge.leave();
        let (fleet, model) = (self.clone(), model.to_owned());
        self.runtime.spawn(async move {
            let Loaded { version, charge } = loaded;
            let mut pause = LOOK_AGAIN[0];
            while Arc::strong_count(&version) > 1 {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LOOK_AGAIN[1]);
            }
            let dropping = fleet.clone();
            let dropped = tokio::task::spawn_blocking(move || {
                let _active = dropping.activity.begin();
                let gone = version.scheduler().gone();
                drop(version);
                while !gone() {
                    std::thread::sleep(LOOK_AGAIN[0]);
                }
                crate::memory::give_back();
                drop(charge);
            });
            // A panic of the engine while it ends has been reported; its memory counts as given
            // back.
            let _ = dropped.await;
            fleet.drained(&model, number);
        });
    }

    fn drained(self: &Arc<Self>, model: &str, number: u64) {
        let mut families = self.families.lock();
        if let Some(family) = families.get_mut(model) {
            let settled = family.drained(number);
            self.bring_about(family, settled);
        }
        self.forget_empty(&mut families);
        drop(families);
        // Whoever waits for memory looks at the states too.
        self.budget.tell();
    }

    /// Takes out of service what was not asked for longest, until so many bytes will fit once it is
    /// gone, for a load of another version. Gives whether they will.
    pub(super) fn make_room(self: &Arc<Self>, model: &str, number: u64, bytes: u64) -> bool {
        loop {
            if self.budget.will_fit(bytes) {
                return true;
            }
            if !self.evict(model, number) {
                return false;
            }
        }
    }

    /// Takes the version out of service that was not asked for longest. Gives whether there was one
    /// that may go.
    fn evict(self: &Arc<Self>, model: &str, number: u64) -> bool {
        let mut families = self.families.lock();
        let mut longest: Option<(std::time::Instant, String, u64)> = None;
        for family in families
            .values()
            .filter(|family| !self.config.is_pinned(&family.name))
        {
            for (own, slot) in &family.slots {
                let Some(loaded) = &slot.loaded else { continue };
                let used = loaded.version.last_used().get();
                let stays = (family.name == model && *own == number) || family.stands_in(*own);
                if !stays && longest.as_ref().is_none_or(|(least, ..)| used < *least) {
                    longest = Some((used, family.name.clone(), *own));
                }
            }
        }
        let Some((used, victim, own)) = longest else {
            return false;
        };
        let Some(family) = families.get_mut(&victim) else {
            return false;
        };
        let Some(loaded) = family.take_out(own) else {
            return false;
        };
        info!(
            model = victim,
            version = own,
            bytes = loaded.charge.bytes(),
            idle_ms = used.elapsed().as_millis() as u64,
            charged_bytes = self.budget.charged(),
            budget_bytes = self.budget.limit(),
            room_for = %format_args!("{model}:{number}"),
            "version evicted"
        );
        self.metrics.evictions.with_label_values(&[&victim]).inc();
        self.publish(family);
        self.drain(&victim, own, loaded);
        true
    }

    /// Whether memory will be given back, or become free to be taken back, without further ado.
    pub(super) fn is_moving(&self) -> bool {
        let families = self.families.lock();
        let slots = families.values().flat_map(|family| family.slots.values());
        let loaded: u64 = slots
            .filter_map(|slot| slot.loaded.as_ref())
            .map(|loaded| loaded.charge.bytes())
            .sum();
        // What is charged beside that is being loaded or drained, and tells when that ends.
        self.budget.charged() > loaded
    }
}
