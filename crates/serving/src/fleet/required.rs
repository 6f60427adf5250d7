//! Versions that traffic policies name: they are served whatever the policy of versions says.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Fleet;
use super::managed_model::ManagedModel;
use super::policy::Target;
use crate::RequiredVersions;
use crate::models::requested_number;

impl Fleet {
    /// Serves these versions too from now on, and of those that were required before, only what the
    /// policy of versions wants.
    pub fn require_versions(&self, versions: RequiredVersions) {
        let mut required = self.required.lock();
        if *required != versions {
            *required = versions;
            // Targets change although nothing changed in the registry.
            self.must_read_registry.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the registry has a version of a model, by number or alias, as it was read last; `None`
    /// if the model is not one of the registry's.
    pub fn has_version(&self, model: &str, version: &str) -> Option<bool> {
        let managed = self.managed.lock();
        let model = managed.get(model)?;
        let number = requested_number(version, &model.registry_aliases);
        Some(number.is_some_and(|number| model.registry_versions.contains(&number)))
    }

    /// Adds to a target what traffic policies name.
    pub(super) fn add_required(
        self: &Arc<Self>,
        name: &str,
        target: &mut Target,
        model: &ManagedModel,
    ) {
        let required = self.required.lock();
        for version in required.get(name).into_iter().flatten() {
            let Some(number) = requested_number(version, &model.registry_aliases) else {
                continue;
            };
            if !model.registry_versions.contains(&number) {
                continue;
            }
            // A name that a freeze keeps on an earlier version stays there.
            if version.parse::<u64>().is_err() && !target.names.contains_key(version) {
                target.names.insert(version.clone(), number);
            }
            target.versions.insert(number);
        }
    }
}
