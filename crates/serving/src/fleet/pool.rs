//! Lazy models that are kept warm, and those that are not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::info;

use super::Fleet;
use super::load::Cause;

impl Fleet {
    /// Loads the warm pool: of the lazy models, those that changed last.
    pub(super) fn fill_pool(self: &Arc<Self>) {
        let mut families = self.families.lock();
        let lazy = families
            .values()
            .filter(|family| self.config.is_lazy(&family.name));
        let mut pool: Vec<(i64, String, u64)> = lazy
            .filter_map(|family| {
                let number = family.number(None)?;
                Some((
                    family.slots.get(&number)?.record.pushed_ms,
                    family.name.clone(),
                    number,
                ))
            })
            .collect();
        pool.sort_unstable_by(|one, two| two.cmp(one));
        for (_, name, number) in pool.into_iter().take(self.config.keep_ready) {
            if let Some(family) = families.get_mut(&name) {
                self.begin(family, number, Cause::Preload);
            }
        }
    }

    /// Unloads lazy versions that nobody has asked for lately, but for the warm pool.
    pub(super) fn unload_idle(self: &Arc<Self>) {
        if self.config.idle_unload_s == 0 {
            return;
        }
        let idle = Duration::from_secs(self.config.idle_unload_s);
        let mut families = self.families.lock();
        let mut lazy: Vec<(Instant, String, u64)> = Vec::new();
        for family in families
            .values()
            .filter(|family| self.config.is_lazy(&family.name))
        {
            for (number, slot) in &family.slots {
                let loaded = slot.loaded.as_ref().filter(|_| !family.stands_in(*number));
                let used = loaded.map(|loaded| loaded.version.last_used().get());
                lazy.extend(used.map(|used| (used, family.name.clone(), *number)));
            }
        }
        lazy.sort_unstable_by(|one, two| two.cmp(one));
        let idle = lazy
            .into_iter()
            .skip(self.config.keep_ready)
            .filter(|(used, ..)| used.elapsed() >= idle);
        for (_, name, number) in idle {
            let Some(family) = families.get_mut(&name) else {
                continue;
            };
            if let Some(loaded) = family.take_out(number) {
                info!(
                    model = name,
                    version = number,
                    idle_s = self.config.idle_unload_s,
                    "idle version unloaded"
                );
                self.publish(family);
                self.drain(&name, number, loaded);
            }
        }
    }
}
