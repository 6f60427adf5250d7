//! Turns a snapshot of the registry into the target of each model, and targets into the models that
//! requests see.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use tidegate_registry::{Alias, Digest, Snapshot, VersionRecord};
use tracing::warn;

use super::freeze::ServedVersions;
use super::load::LoadReason;
use super::managed_model::{ManagedModel, Reconciliation};
use super::policy::{self, version_number};
use super::{Fleet, RegistryContent};

/// The versions and aliases of one model in the registry.
#[derive(Default)]
struct ModelEntries<'a> {
    versions: Vec<&'a VersionRecord>,
    aliases: Vec<&'a Alias>,
}

impl Fleet {
    /// Sets what each model should serve. Loads that are due then are started by the caller.
    pub(super) fn apply_snapshot(self: &Arc<Self>, snapshot: &Snapshot) {
        self.forget_deleted_measurements(snapshot);
        let entries = self.entries_by_model(snapshot);
        self.note_missing_models(snapshot);
        let mut managed = self.managed.lock();
        for name in entries.keys() {
            self.manage(&mut managed, name);
        }
        let nothing = ModelEntries::default();
        for (name, model) in managed.iter_mut() {
            // A model that the registry no longer has gets an empty target, and so is drained.
            let entries = entries.get(name.as_str()).unwrap_or(&nothing);
            self.update_target(model, entries);
        }
        self.remove_empty_models(&mut managed);
    }

    /// The versions and aliases in a snapshot of the models that this server serves.
    fn entries_by_model<'a>(&self, snapshot: &'a Snapshot) -> BTreeMap<&'a str, ModelEntries<'a>> {
        let mut entries: BTreeMap<&str, ModelEntries<'_>> = BTreeMap::new();
        for version in &snapshot.versions {
            if self.config.serves(&version.model) {
                let entry = entries.entry(&version.model).or_default();
                entry.versions.push(version);
            }
        }
        // An alias without a version of its model would make a model of nothing.
        for alias in &snapshot.aliases {
            if let Some(entry) = entries.get_mut(alias.model.as_str()) {
                entry.aliases.push(alias);
            }
        }
        entries
    }

    /// Remembers which models of the configuration the registry does not have: typos, most likely.
    fn note_missing_models(&self, snapshot: &Snapshot) {
        let names = snapshot.versions.iter().map(|version| &version.model);
        let present: BTreeSet<&String> = names.collect();
        let configured = self.config.configured_models();
        let missing = configured.filter(|(_, name)| !present.contains(name));
        *self.registry_content.lock() = RegistryContent {
            models: present.len(),
            missing: missing
                .map(|(key, name)| format!("{key} names {name:?}, which is not in the registry"))
                .collect(),
        };
    }

    /// Measurements are kept by content, and contents are deleted with their versions.
    fn forget_deleted_measurements(&self, snapshot: &Snapshot) {
        let versions = snapshot.versions.iter();
        let digests: BTreeSet<Digest> = versions.map(|version| version.digest).collect();
        self.measured_bytes
            .lock()
            .retain(|digest, _| digests.contains(digest));
    }

    fn manage(&self, managed: &mut BTreeMap<String, ManagedModel>, name: &str) {
        if managed.contains_key(name) {
            return;
        }
        // Two models under one name would replace each other with every change.
        if self.models.is_found(name) {
            warn!(
                model = name,
                "not served from the registry: a model of this name was found in a folder"
            );
            return;
        }
        let previous = self.previous_names.lock().remove(name).unwrap_or_default();
        managed.insert(name.to_owned(), ManagedModel::new(name, previous));
    }

    fn update_target(self: &Arc<Self>, model: &mut ManagedModel, entries: &ModelEntries<'_>) {
        let numbers = entries.versions.iter().map(|record| record.number);
        let available: BTreeSet<u64> = numbers.map(version_number).collect();
        model.remember_served(&available);
        model.set_registry_names(available.clone(), &entries.aliases);
        let served = ServedVersions {
            current: model.current_target(),
            available: &available,
            served_before: &model.served_before,
        };
        let policy = self.config.versions_of(&model.name);
        let wanted = policy::target(policy, &entries.versions, &entries.aliases);
        model.excluded_champion =
            policy::excluded_champion(&wanted, &entries.versions, &entries.aliases);
        let mut target = self.apply_freeze(&model.name, served, wanted);
        // After the freeze: it holds back rollouts, not what somebody has set.
        self.add_required(&model.name, &mut target, model);
        let replaced = model.set_target(target, &entries.versions);
        let mut reconciliation = model.reconcile();
        for (number, _) in &replaced {
            warn!(
                model = model.name,
                version = number,
                "the registry now has other content under this number: what was loaded ends"
            );
        }
        reconciliation.to_drain.extend(replaced);
        self.apply(model, reconciliation);
    }

    /// Brings what requests see in line with what is loaded, and drains what is no longer needed.
    pub(super) fn reconcile(self: &Arc<Self>, model: &mut ManagedModel) {
        let reconciliation = model.reconcile();
        self.apply(model, reconciliation);
    }

    pub(super) fn apply(self: &Arc<Self>, model: &ManagedModel, reconciliation: Reconciliation) {
        // Before the drains: they end when the last request is done, and as long as a version is
        // published it gets new ones.
        self.publish(model);
        for (number, loaded) in reconciliation.to_drain {
            self.drain(&model.name, number, loaded);
        }
        for number in reconciliation.removed {
            let metrics = self.models.load_metrics();
            metrics.remove_version(&model.name, &number.to_string());
        }
    }

    /// Puts the model's loaded versions into the snapshot that requests read.
    pub(super) fn publish(&self, model: &ManagedModel) {
        let published = self.models.model(&model.name).ok();
        match (model.to_model(), published) {
            // Copying the snapshot costs as much as there are models: not where nothing changes.
            (Some(current), Some(published)) if current.is_same(&published) => {}
            (Some(current), _) => drop(self.models.publish(current)),
            (None, Some(_)) => drop(self.models.withdraw(&model.name)),
            (None, None) => {}
        }
    }

    /// Removes the models that should serve nothing and have no version left.
    pub(super) fn remove_empty_models(&self, managed: &mut BTreeMap<String, ManagedModel>) {
        managed.retain(|name, model| {
            let stays = !model.slots.is_empty();
            if !stays {
                self.models.load_metrics().remove_model(name);
                self.metrics.remove_model(name);
            }
            stays
        });
    }

    /// Starts the loads that wait for no request.
    pub(super) fn start_due_loads(self: &Arc<Self>) {
        let now = Instant::now();
        for model in self.managed.lock().values_mut() {
            for number in model.due_loads(self.config.is_lazy(&model.name), now) {
                // A preload takes free memory only. A pinned model must be loaded, and a
                // replacement too: otherwise a rollout would never end where memory is short.
                let is_required = self.config.is_pinned(&model.name)
                    || model.is_replacement(number)
                    || model.is_stand_in(number);
                let reason = if is_required {
                    LoadReason::Required
                } else {
                    LoadReason::Preload
                };
                self.start_load(model, number, reason);
            }
        }
    }
}
