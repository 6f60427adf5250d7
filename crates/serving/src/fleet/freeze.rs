//! Frozen rollouts: a model keeps the versions that its names stand for, and may only go back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::{info, warn};

use super::Fleet;
use super::policy::{DEFAULT_NAME, Target};

/// Versions by the names that stand for them. The empty name is the default version.
pub type VersionNames = BTreeMap<String, u64>;

/// The models whose rollouts are frozen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrozenModels {
    /// All of them.
    pub all: bool,
    /// Or these.
    pub models: BTreeSet<String>,
}

impl FrozenModels {
    fn contains(&self, model: &str) -> bool {
        self.all || self.models.contains(model)
    }
}

/// What is frozen, and which rollouts wait for that to end.
#[derive(Debug, Default)]
pub(super) struct Freezes {
    frozen: FrozenModels,
    /// What names stood for before a restart, by model.
    restored: BTreeMap<String, VersionNames>,
    /// What names would stand for without the freeze, by model.
    waiting: BTreeMap<String, VersionNames>,
}

/// What is known of a model's versions.
pub(super) struct ServedVersions<'a> {
    /// What it serves now.
    pub(super) current: Target,
    /// The versions that the registry has.
    pub(super) available: &'a BTreeSet<u64>,
    /// Those that have served requests here.
    pub(super) served_before: &'a BTreeSet<u64>,
}

/// What a freeze makes of a target.
#[derive(Debug, Default, PartialEq, Eq)]
struct FrozenTarget {
    target: Target,
    /// The names that would move without the freeze.
    waiting: VersionNames,
}

impl Fleet {
    /// Freezes the rollouts of these models from now on, and those of no others. Loads of what is
    /// served, and going back to an earlier version, are never frozen.
    pub fn freeze(&self, frozen: FrozenModels) {
        let mut freezes = self.freezes.lock();
        if freezes.frozen != frozen {
            info!(all = frozen.all, models = ?frozen.models, "rollouts frozen");
            freezes.frozen = frozen;
            // Targets change although nothing changed in the registry.
            self.must_read_registry.store(true, Ordering::Relaxed);
        }
    }

    /// Restores what names stood for before a restart. Call it before the registry is followed: a
    /// server that starts during a freeze would otherwise take the newest versions, as it serves
    /// none yet.
    pub fn restore_names(&self, names: BTreeMap<String, VersionNames>) {
        self.freezes.lock().restored = names;
    }

    /// Whether a model's rollouts are frozen.
    pub fn is_frozen(&self, model: &str) -> bool {
        self.freezes.lock().frozen.contains(model)
    }

    /// What the names of models whose rollouts are frozen stand for.
    pub fn frozen_names(&self) -> BTreeMap<String, VersionNames> {
        let managed = self.managed.lock();
        let freezes = self.freezes.lock();
        managed
            .values()
            .filter(|model| freezes.frozen.contains(&model.name))
            .map(|model| (model.name.clone(), model.current_target().names))
            .filter(|(_, names)| !names.is_empty())
            .collect()
    }

    /// What names would stand for without a freeze, by model, where that differs.
    pub fn waiting_rollouts(&self) -> BTreeMap<String, VersionNames> {
        self.freezes.lock().waiting.clone()
    }

    /// What a model should serve, if `wanted` is what the registry says.
    pub(super) fn apply_freeze(
        self: &Arc<Self>,
        model: &str,
        mut served: ServedVersions<'_>,
        wanted: Target,
    ) -> Target {
        let mut freezes = self.freezes.lock();
        if !freezes.frozen.contains(model) {
            freezes.waiting.remove(model);
            return wanted;
        }
        if served.current.names.is_empty()
            && let Some(names) = freezes.restored.get(model)
        {
            served.current = Target::of_names(names.clone());
        }
        let FrozenTarget { target, waiting } = freeze_target(wanted, &served);
        freezes.record_waiting(model, waiting);
        target
    }
}

impl Freezes {
    fn record_waiting(&mut self, model: &str, waiting: VersionNames) {
        if waiting.is_empty() {
            self.waiting.remove(model);
        } else if self.waiting.get(model) != Some(&waiting) {
            // Once for each rollout, not at every poll.
            warn!(
                model,
                versions = ?waiting,
                "rollouts of the model wait: its error budget is used up"
            );
            self.waiting.insert(model.to_owned(), waiting);
        }
    }
}

/// `wanted`, as far as it goes back or names what is served already. The rest stays as it is.
fn freeze_target(wanted: Target, served: &ServedVersions<'_>) -> FrozenTarget {
    if served.current.names.is_empty() {
        // Nothing is served: there is nothing to keep, and something must answer.
        return FrozenTarget {
            target: wanted,
            waiting: VersionNames::new(),
        };
    }
    let (mut names, mut waiting) = (VersionNames::new(), VersionNames::new());
    for (name, version) in wanted.names {
        let frozen = frozen_version(&name, version, served);
        if frozen != Some(version) {
            waiting.insert(name.clone(), version);
        }
        names.extend(frozen.map(|frozen| (name, frozen)));
    }
    // New versions beside the served ones would be a rollout too, of `versions = "all"`.
    let unchanged = wanted
        .versions
        .into_iter()
        .filter(|version| served.current.versions.contains(version));
    let versions = unchanged.chain(names.values().copied()).collect();
    FrozenTarget {
        target: Target { versions, names },
        waiting,
    }
}

/// The version that a name stands for during a freeze, if without it that were `wanted`. `None` if
/// the name must not be added yet.
fn frozen_version(name: &str, wanted: u64, served: &ServedVersions<'_>) -> Option<u64> {
    let current = served.current.names.get(name).copied();
    let has_served = served.served_before.contains(&wanted);
    match current.filter(|version| served.available.contains(version)) {
        // Older numbers were pushed before: going there is a rollback, even to a version that this
        // server has not served since its start.
        Some(current) if wanted <= current || has_served => Some(wanted),
        Some(current) => Some(current),
        // A new name may stand for what is known to work. The default version is never left
        // without a version, or requests would fail.
        None => {
            let is_known = has_served || served.current.versions.contains(&wanted);
            (is_known || name == DEFAULT_NAME).then_some(wanted)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(names: &[(&str, u64)]) -> Target {
        let names = names
            .iter()
            .map(|(name, version)| ((*name).to_owned(), *version));
        Target::of_names(names.collect())
    }

    fn freeze(
        wanted: &[(&str, u64)],
        current: &[(&str, u64)],
        served_before: &[u64],
    ) -> (Target, VersionNames) {
        freeze_targets(target(wanted), target(current), served_before)
    }

    fn freeze_targets(
        wanted: Target,
        current: Target,
        served_before: &[u64],
    ) -> (Target, VersionNames) {
        let served = ServedVersions {
            current,
            available: &(1..=5).collect(),
            served_before: &served_before.iter().copied().collect(),
        };
        let frozen = freeze_target(wanted, &served);
        (frozen.target, frozen.waiting)
    }

    #[test]
    fn a_frozen_name_stays_or_goes_back() {
        let current = [("", 2), ("champion", 2)];
        let (frozen, waiting) = freeze(&[("", 3), ("champion", 3)], &current, &[2]);
        assert_eq!(
            (frozen, waiting),
            (target(&current), target(&[("", 3), ("champion", 3)]).names)
        );
        let (frozen, waiting) = freeze(&[("", 1), ("champion", 1)], &current, &[2]);
        assert_eq!(
            (frozen, waiting.len()),
            (target(&[("", 1), ("champion", 1)]), 0),
            "an older version"
        );
        let (frozen, waiting) = freeze(&[("", 4), ("champion", 4)], &current, &[2, 4]);
        assert_eq!(
            (frozen, waiting.len()),
            (target(&[("", 4), ("champion", 4)]), 0),
            "one that has served before"
        );
    }

    #[test]
    fn a_new_name_may_stand_for_what_is_served_only() {
        let current = [("", 2), ("champion", 2)];
        let (frozen, waiting) = freeze(
            &[("", 2), ("champion", 2), ("stable", 2), ("challenger", 3)],
            &current,
            &[],
        );
        assert_eq!(frozen, target(&[("", 2), ("champion", 2), ("stable", 2)]));
        assert_eq!(waiting, target(&[("challenger", 3)]).names);
    }

    #[test]
    fn deleted_versions_and_removed_aliases_are_not_kept() {
        let (frozen, _) = freeze(&[("", 3)], &[("", 9)], &[]);
        assert_eq!(
            frozen,
            target(&[("", 3)]),
            "version 9 was deleted: something must answer"
        );
        let (frozen, waiting) = freeze(&[("", 3), ("champion", 3)], &[], &[]);
        assert_eq!(
            (frozen, waiting.len()),
            (target(&[("", 3), ("champion", 3)]), 0),
            "nothing is served yet"
        );
        let (frozen, waiting) = freeze(&[("", 2)], &[("", 2), ("champion", 2)], &[]);
        assert_eq!(
            (frozen, waiting.len()),
            (target(&[("", 2)]), 0),
            "an alias that was removed"
        );
    }

    #[test]
    fn new_versions_are_not_added_beside_served_ones() {
        let mut wanted = target(&[("", 2)]);
        wanted.versions.extend([1, 3]);
        let mut current = target(&[("", 2)]);
        current.versions.insert(1);
        let (frozen, _) = freeze_targets(wanted, current, &[]);
        assert_eq!(frozen.versions, BTreeSet::from([1, 2]));
    }
}
