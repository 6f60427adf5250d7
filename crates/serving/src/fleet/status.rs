//! What the fleet reports about itself: the index, readiness, problems and gauges.

use std::collections::BTreeMap;

use tidegate_registry::VersionRecord;

use super::Fleet;
use super::managed_model::{ManagedModel, VersionSlot};
use crate::{IndexEntry, LoadReport, ModelState};

impl Fleet {
    /// Waits until the registry, or the local cache instead of it, has been read and every load of
    /// the start has ended.
    pub async fn wait_for_initial_loads(&self) -> LoadReport {
        let mut is_done = self.initial_loads_done.subscribe();
        // It does not fail: the sender lives as long as the fleet.
        let _ = is_done.wait_for(|is_done| *is_done).await;
        let mut report = LoadReport::default();
        for entry in self.index() {
            let name = format!("{}:{}", entry.name, entry.version);
            match entry.state {
                ModelState::Ready => report.ready.push(name),
                ModelState::Failed(reason) => report.failed.push((name, reason)),
                _ => {}
            }
        }
        report
    }

    /// Whether a model of this name is, or would be, served from the registry.
    pub fn manages(&self, model: &str) -> bool {
        self.managed.lock().contains_key(model)
    }

    /// Every version that should be served or still is, with its state.
    pub fn index(&self) -> Vec<IndexEntry> {
        let managed = self.managed.lock();
        managed.values().flat_map(index_entries).collect()
    }

    /// The registry's records of the versions of a model that should be served or still are,
    /// ascending.
    pub fn version_records(&self, model: &str) -> Vec<VersionRecord> {
        let managed = self.managed.lock();
        let slots = managed
            .get(model)
            .into_iter()
            .flat_map(|model| model.slots.values());
        slots.map(|slot| slot.record.clone()).collect()
    }

    /// Whether the loads of the start have ended and every pinned model answers.
    pub fn is_ready(&self) -> bool {
        let managed = self.managed.lock();
        *self.initial_loads_done.borrow()
            && self
                .config
                .pinned
                .iter()
                .all(|name| managed.get(name).is_some_and(ManagedModel::is_serving))
    }

    /// Whether a model was taken out of service.
    pub(crate) fn has_unloaded(&self) -> bool {
        let managed = self.managed.lock();
        managed.values().any(|model| model.is_unloaded)
    }

    /// Whether there is a model that was not taken out of service.
    pub(crate) fn can_load(&self) -> bool {
        let managed = self.managed.lock();
        managed.values().any(|model| !model.is_unloaded)
    }

    /// How many models the registry has, whether or not they are served here.
    pub fn registry_models(&self) -> usize {
        self.registry_content.lock().models
    }

    /// The models of the configuration that the registry does not have.
    pub fn missing_models(&self) -> Vec<String> {
        self.registry_content.lock().missing.clone()
    }

    /// Why the registry cannot be read, which configured models do not exist, which versions could
    /// not be loaded, and which aliases have no effect.
    pub fn problems(&self) -> Vec<String> {
        let registry_error = self.registry_error.lock().clone();
        let registry = registry_error.map(|why| format!("the registry cannot be read: {why}"));
        let storage = self.link.storage_problem();
        let failed_loads = self.index().into_iter().filter_map(load_problem);
        registry
            .into_iter()
            .chain(storage)
            .chain(self.missing_models())
            .chain(failed_loads)
            .chain(self.excluded_champions())
            .collect()
    }

    /// The models whose champion is left out by the policy of versions.
    fn excluded_champions(&self) -> Vec<String> {
        let managed = self.managed.lock();
        let models = managed.values().filter(|model| !model.is_unloaded);
        models
            .filter_map(|model| {
                let policy = self.config.versions_of(&model.name);
                excluded_champion(model, &policy.to_string())
            })
            .collect()
    }

    /// Sets the gauges to their values of now.
    pub fn update_gauges(&self) {
        // States that no version is in any more must go back to 0.
        let mut counts = BTreeMap::from(ModelState::NAMES.map(|name| (name, 0)));
        for entry in self.index() {
            *counts.entry(entry.state.name()).or_default() += 1;
        }
        for (state, count) in counts {
            self.metrics.set_versions(state, count);
        }
        self.metrics.set_memory_charged(self.budget.reserved());
        let is_reachable = self.registry_error.lock().is_none();
        self.metrics.set_registry_reachable(is_reachable);
    }
}

fn index_entries(model: &ManagedModel) -> impl Iterator<Item = IndexEntry> {
    let slots = model.slots.iter();
    slots.map(|(number, slot)| index_entry(model, *number, slot))
}

fn index_entry(model: &ManagedModel, number: u64, slot: &VersionSlot) -> IndexEntry {
    let is_idle = matches!(slot.state, ModelState::Absent | ModelState::Failed(_));
    // A version that still drains shows that, also of a model that is unloaded.
    let state = if model.is_unloaded && is_idle {
        ModelState::Unloaded
    } else {
        slot.state.clone()
    };
    let (aliases, is_default) = model.names_of(number);
    let loaded = slot.loaded.as_ref();
    IndexEntry {
        aliases,
        is_default,
        memory_bytes: loaded.map(|loaded| loaded.reservation.bytes()),
        ..IndexEntry::new(model.name.clone(), &number.to_string(), state)
    }
}

fn excluded_champion(model: &ManagedModel, policy: &str) -> Option<String> {
    let champion = model.excluded_champion?;
    let name = &model.name;
    let answers = match model.resolve(None) {
        Some(number) => format!("{name}:{number} is the default version instead"),
        None => "no version is served instead".to_owned(),
    };
    Some(format!(
        "{name}@champion is {name}:{champion}, but fleet.versions = {policy:?} leaves it out: \
         {answers}, and moving the alias has no effect here"
    ))
}

fn load_problem(entry: IndexEntry) -> Option<String> {
    let ModelState::Failed(reason) = entry.state else {
        return None;
    };
    let (name, version) = (entry.name, entry.version);
    Some(format!("{name}:{version} is not served: {reason}"))
}
