//! Rollouts that are held: a model keeps the versions that its names mean, but for going back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::{info, warn};

use super::Fleet;
use super::policy::{DEFAULT, Target};

/// Versions by the names that mean them.
pub type VersionNames = BTreeMap<String, u64>;

/// Which models' rollouts are held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrozenModels {
    /// Those of all models.
    pub all: bool,
    /// Or those of these.
    pub models: BTreeSet<String>,
}

impl FrozenModels {
    fn has(&self, model: &str) -> bool {
        self.all || self.models.contains(model)
    }
}

/// What is held, and what it holds back.
#[derive(Debug, Default)]
pub(super) struct Freezes {
    frozen: FrozenModels,
    /// What names meant before a restart, by model.
    kept: BTreeMap<String, VersionNames>,
    /// What names would mean, by model.
    held_back: BTreeMap<String, VersionNames>,
}

impl Fleet {
    /// Holds the rollouts of these models from now on, and lets those of all others go on. Loads
    /// for what is served, and going back to what was, are not held.
    pub fn freeze(&self, frozen: FrozenModels) {
        let mut freezes = self.freezes.lock();
        if freezes.frozen != frozen {
            info!(all = frozen.all, models = ?frozen.models, "rollouts are held");
            freezes.frozen = frozen;
            // The registry is read anew: what was held back is due, or what was due is held back.
            self.is_stale.store(true, Ordering::Relaxed);
        }
    }

    /// Says what names meant before a restart, for models whose rollouts are held already.
    pub fn restore_names(&self, kept: BTreeMap<String, VersionNames>) {
        self.freezes.lock().kept = kept;
    }

    /// Whether a model's rollouts are held.
    pub fn is_frozen(&self, model: &str) -> bool {
        self.freezes.lock().frozen.has(model)
    }

    /// What the names of models whose rollouts are held mean; the name that answers requests
    /// without one is empty.
    pub fn frozen_names(&self) -> BTreeMap<String, VersionNames> {
        let families = self.families.lock();
        let freezes = self.freezes.lock();
        let frozen = families
            .values()
            .filter(|family| freezes.frozen.has(&family.name));
        frozen
            .map(|family| (family.name.clone(), family.held().names))
            .filter(|(_, names)| !names.is_empty())
            .collect()
    }

    /// The versions that names would mean were rollouts not held, by model.
    pub fn held_back(&self) -> BTreeMap<String, VersionNames> {
        self.freezes.lock().held_back.clone()
    }

    /// What of a model should be served, if `wanted` is what the registry says.
    pub(super) fn hold(
        self: &Arc<Self>,
        model: &str,
        served: Served<'_>,
        wanted: Target,
    ) -> Target {
        let mut freezes = self.freezes.lock();
        if !freezes.frozen.has(model) {
            freezes.held_back.remove(model);
            return wanted;
        }
        let mut before = served.before;
        if before.names.is_empty()
            && let Some(kept) = freezes.kept.get(model)
        {
            before = Target {
                versions: kept.values().copied().collect(),
                names: kept.clone(),
            };
        }
        let (target, held_back) = held(wanted, &before, served.there, served.answered);
        if held_back.is_empty() {
            freezes.held_back.remove(model);
        } else if freezes.held_back.get(model) != Some(&held_back) {
            warn!(
                model,
                ?held_back,
                "a rollout waits: the error budget is spent"
            );
            freezes.held_back.insert(model.to_owned(), held_back);
        }
        target
    }
}

/// What is known of a model's versions.
pub(super) struct Served<'a> {
    /// What it serves now.
    pub(super) before: Target,
    /// The versions that the registry has.
    pub(super) there: &'a BTreeSet<u64>,
    /// Those that have answered.
    pub(super) answered: &'a BTreeSet<u64>,
}

/// `wanted` as far as it goes back, or names what is served already; for the rest what was
/// `before`. With it the names that are held back.
fn held(
    wanted: Target,
    before: &Target,
    there: &BTreeSet<u64>,
    answered: &BTreeSet<u64>,
) -> (Target, VersionNames) {
    if before.names.is_empty() {
        // Nothing is served: there is nothing to keep, and something must answer.
        return (wanted, VersionNames::new());
    }
    let (mut names, mut held_back) = (VersionNames::new(), VersionNames::new());
    for (name, version) in &wanted.names {
        let own = before.names.get(name).filter(|own| there.contains(own));
        let is_known = before.versions.contains(version) || answered.contains(version);
        match own {
            // Older numbers were pushed before: going there is a rollback, whatever this server has
            // seen.
            Some(own) if version <= own || answered.contains(version) => {
                drop(names.insert(name.clone(), *version))
            }
            Some(own) => {
                names.insert(name.clone(), *own);
                held_back.insert(name.clone(), *version);
            }
            None if is_known || name == DEFAULT => drop(names.insert(name.clone(), *version)),
            None => drop(held_back.insert(name.clone(), *version)),
        }
    }
    let stay = wanted
        .versions
        .iter()
        .copied()
        .filter(|version| before.versions.contains(version));
    let versions = stay.chain(names.values().copied()).collect();
    (Target { versions, names }, held_back)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(names: &[(&str, u64)]) -> Target {
        let names: VersionNames = names
            .iter()
            .map(|(name, version)| ((*name).to_owned(), *version))
            .collect();
        Target {
            versions: names.values().copied().collect(),
            names,
        }
    }

    fn hold(
        wanted: &[(&str, u64)],
        before: &[(&str, u64)],
        answered: &[u64],
    ) -> (Target, VersionNames) {
        let there: BTreeSet<u64> = (1..=5).collect();
        held(
            target(wanted),
            &target(before),
            &there,
            &answered.iter().copied().collect(),
        )
    }

    #[test]
    fn a_name_does_not_move_on_and_may_go_back() {
        let before = [("", 2), ("champion", 2)];
        let (held, back) = hold(&[("", 3), ("champion", 3)], &before, &[2]);
        assert_eq!(
            (held, back),
            (target(&before), target(&[("", 3), ("champion", 3)]).names)
        );
        let (held, back) = hold(&[("", 1), ("champion", 1)], &before, &[2]);
        assert_eq!(
            (held, back.len()),
            (target(&[("", 1), ("champion", 1)]), 0),
            "an older version"
        );
        let (held, back) = hold(&[("", 4), ("champion", 4)], &before, &[2, 4]);
        assert_eq!(
            (held, back.len()),
            (target(&[("", 4), ("champion", 4)]), 0),
            "one that has answered"
        );
    }

    #[test]
    fn a_new_name_may_mean_what_is_served_and_nothing_else() {
        let before = [("", 2), ("champion", 2)];
        let (held, back) = hold(
            &[("", 2), ("champion", 2), ("stable", 2), ("challenger", 3)],
            &before,
            &[],
        );
        assert_eq!(held, target(&[("", 2), ("champion", 2), ("stable", 2)]));
        assert_eq!(back, target(&[("challenger", 3)]).names);
    }

    #[test]
    fn what_is_gone_or_was_never_there_is_not_kept() {
        let (held, _) = hold(&[("", 3)], &[("", 9)], &[]);
        assert_eq!(
            held,
            target(&[("", 3)]),
            "version 9 was deleted: something must answer"
        );
        let (held, back) = hold(&[("", 3), ("champion", 3)], &[], &[]);
        assert_eq!(
            (held, back.len()),
            (target(&[("", 3), ("champion", 3)]), 0),
            "nothing is served yet"
        );
        let (held, back) = hold(&[("", 2)], &[("", 2), ("champion", 2)], &[]);
        assert_eq!(
            (held, back.len()),
            (target(&[("", 2)]), 0),
            "an alias that was removed"
        );
    }

    #[test]
    fn new_versions_are_not_added_beside_those_that_are_served() {
        let mut wanted = target(&[("", 2)]);
        wanted.versions.extend([1, 3]);
        let mut before = target(&[("", 2)]);
        before.versions.insert(1);
        let (held, _) = held(wanted, &before, &(1..=3).collect(), &BTreeSet::new());
        assert_eq!(held.versions, BTreeSet::from([1, 2]));
    }
}
