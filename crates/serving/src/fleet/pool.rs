//! The warm pool: lazy models that are loaded before anybody asks, and are not unloaded when idle.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::info;

use super::Fleet;
use super::load::LoadReason;
use super::managed_model::ManagedModel;

impl Fleet {
    /// Loads the warm pool. Nothing has been used yet, so that it takes those lazy models that were
    /// pushed last.
    pub(super) fn fill_pool(self: &Arc<Self>) {
        let mut managed = self.managed.lock();
        let lazy = managed
            .values()
            .filter(|model| self.config.is_lazy(&model.name));
        let mut newest: Vec<(i64, String, u64)> = lazy.filter_map(default_by_age).collect();
        newest.sort_unstable_by(|one, two| two.cmp(one));
        for (_, name, number) in newest.into_iter().take(self.config.keep_ready) {
            if let Some(model) = managed.get_mut(&name) {
                self.start_load(model, number, LoadReason::Preload);
            }
        }
    }

    /// Unloads lazy versions that nobody has asked for lately, except the warm pool: those that
    /// were used last.
    pub(super) fn unload_idle(self: &Arc<Self>) {
        if self.config.idle_unload_s == 0 {
            return;
        }
        let limit = Duration::from_secs(self.config.idle_unload_s);
        let mut managed = self.managed.lock();
        let mut by_use: Vec<(Instant, String, u64)> = managed
            .values()
            .filter(|model| self.config.is_lazy(&model.name))
            .flat_map(loaded_by_use)
            .collect();
        // The most recently used first: those are the pool.
        by_use.sort_unstable_by(|one, two| two.cmp(one));
        let idle = by_use
            .into_iter()
            .skip(self.config.keep_ready)
            .filter(|(last_used, ..)| last_used.elapsed() >= limit);
        for (_, name, number) in idle {
            if let Some(model) = managed.get_mut(&name) {
                self.unload_version(model, number);
            }
        }
    }

    fn unload_version(self: &Arc<Self>, model: &mut ManagedModel, number: u64) {
        let Some(loaded) = model.take_out(number) else {
            return;
        };
        info!(
            model = model.name,
            version = number,
            idle_s = self.config.idle_unload_s,
            "idle version unloaded"
        );
        self.publish(model);
        self.drain(&model.name, number, loaded);
    }
}

/// When the default version of a model was pushed, and which it is.
fn default_by_age(model: &ManagedModel) -> Option<(i64, String, u64)> {
    let number = model.resolve(None)?;
    let pushed_ms = model.slots.get(&number)?.record.pushed_ms;
    Some((pushed_ms, model.name.clone(), number))
}

/// When each loaded version of a model was used last. A version that serves only until its
/// successor is loaded is left out: it is never loaded again.
fn loaded_by_use(model: &ManagedModel) -> impl Iterator<Item = (Instant, String, u64)> {
    let slots = model.slots.iter();
    slots
        .filter(|(number, _)| !model.is_outgoing(**number))
        .filter_map(|(number, slot)| {
            let last_used = slot.loaded.as_ref()?.version.last_used().get();
            Some((last_used, model.name.clone(), *number))
        })
}
