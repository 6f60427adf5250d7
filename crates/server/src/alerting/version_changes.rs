//! Changes of versions, found every few seconds: an event for each version that becomes ready,
//! disappears or fails to load.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tidegate_serving::{IndexEntry, ModelState};

/// Most models that are remembered.
const MAX_MODELS: usize = 10_000;
/// Most versions of a model that are remembered.
const MAX_VERSIONS: usize = 32;

/// The versions that have been ready, saved over restarts: only another one is a deploy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct KnownVersions {
    /// Whether anything was ever compared: the versions that a new server starts with are not
    /// deploys.
    is_primed: bool,
    models: BTreeMap<String, KnownModel>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct KnownModel {
    /// The version that answers requests that name none.
    default: String,
    seen: BTreeSet<String>,
}

/// The versions and loads as they were at the last evaluation.
#[derive(Debug, Default)]
pub(super) struct LastSeen {
    ready: BTreeSet<(String, String)>,
    failed: BTreeMap<(String, String), String>,
    loads: BTreeMap<String, LoadCounts>,
}

/// The loads of a model that the metrics have counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct LoadCounts {
    pub(super) ok: f64,
    pub(super) failed: f64,
}

/// A change of a version, or of a model.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct VersionChange {
    pub(super) model: String,
    pub(super) version: String,
    pub(super) change: Change,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    /// It became ready; for the first time, or in the place of another version.
    Ready {
        is_deploy: bool,
    },
    /// It was loaded again under its number.
    Reloaded,
    Gone,
    LoadFailed {
        reason: String,
        times: u64,
    },
}

impl VersionChange {
    /// Whether something new answers requests by now.
    pub(super) fn is_deploy(&self) -> bool {
        matches!(
            self.change,
            Change::Ready { is_deploy: true } | Change::Reloaded
        )
    }
}

impl KnownVersions {
    /// Compares the index and the counted loads with the last ones. `is_immutable` says of a model
    /// that the content of a version never changes under its number.
    pub(super) fn update(
        &mut self,
        last: &mut LastSeen,
        index: &[IndexEntry],
        loads: BTreeMap<String, LoadCounts>,
        is_immutable: impl Fn(&str) -> bool,
    ) -> Vec<VersionChange> {
        let mut changes = Vec::new();
        let now = LastSeen::new(index, loads);
        self.add_ready(last, index, &mut changes);
        for (model, version) in last.ready.difference(&now.ready) {
            changes.push(version_change(model, version, Change::Gone));
        }
        // A model that is new to `last` was loaded for the first time, not again.
        for model in last.loads.keys() {
            let is_loaded_again = now.gained(last, model, |loads| loads.ok) > 0;
            if !is_loaded_again || is_immutable(model) {
                continue;
            }
            let versions = now.versions(model);
            // Another version is a change of its own, which was added above.
            if versions == last.versions(model) {
                let version = versions.last().copied().unwrap_or_default();
                changes.push(version_change(model, version, Change::Reloaded));
            }
        }
        for (version, reason) in &now.failed {
            let times = now.gained(last, &version.0, |loads| loads.failed);
            if times > 0 || last.failed.get(version) != Some(reason) {
                let change = Change::LoadFailed {
                    reason: reason.clone(),
                    times: times.max(1),
                };
                changes.push(version_change(&version.0, &version.1, change));
            }
        }
        *last = now;
        changes
    }

    fn add_ready(
        &mut self,
        last: &LastSeen,
        index: &[IndexEntry],
        changes: &mut Vec<VersionChange>,
    ) {
        for entry in index.iter().filter(|entry| answers(entry)) {
            if !self.models.contains_key(&entry.name) && self.models.len() >= MAX_MODELS {
                self.models
                    // Models that are gone make place for new ones.
                    .retain(|name, _| index.iter().any(|entry| entry.name == *name));
            }
            let known = self.models.entry(entry.name.clone()).or_default();
            let is_new = known.seen.insert(entry.version.clone());
            let is_swap = entry.is_default && known.default != entry.version;
            if is_swap {
                known.default.clone_from(&entry.version);
            }
            while known.seen.len() > MAX_VERSIONS {
                known.seen.pop_first();
            }
            let is_newly_ready = !last.ready.contains(&key(entry));
            let is_deploy = self.is_primed && (is_new || is_swap);
            if is_newly_ready || is_deploy {
                let change = Change::Ready { is_deploy };
                changes.push(version_change(&entry.name, &entry.version, change));
            }
        }
        self.is_primed = true;
    }
}

impl LastSeen {
    fn new(index: &[IndexEntry], loads: BTreeMap<String, LoadCounts>) -> Self {
        let ready = index.iter().filter(|entry| answers(entry)).map(key);
        let failed = index
            .iter()
            .filter_map(|entry| Some((key(entry), reason(entry)?.to_owned())));
        Self {
            ready: ready.collect(),
            failed: failed.collect(),
            loads,
        }
    }

    /// How many more loads of a model have been counted than in `before`. Metrics count in
    /// floating point, and begin at zero again after a restart.
    fn gained(&self, before: &Self, model: &str, count: fn(&LoadCounts) -> f64) -> u64 {
        let counted = self.loads.get(model).map_or(0.0, count);
        let counted_before = before.loads.get(model).map_or(0.0, count);
        (counted - counted_before).max(0.0) as u64
    }

    /// The versions of a model that answer.
    fn versions(&self, model: &str) -> Vec<&str> {
        self.ready
            .iter()
            .filter(|(name, _)| name == model)
            .map(|(_, version)| version.as_str())
            .collect()
    }
}

fn answers(entry: &IndexEntry) -> bool {
    matches!(entry.state, ModelState::Ready | ModelState::Stale(_))
}

fn reason(entry: &IndexEntry) -> Option<&str> {
    match &entry.state {
        ModelState::Failed(reason) | ModelState::Stale(reason) => Some(reason),
        _ => None,
    }
}

fn key(entry: &IndexEntry) -> (String, String) {
    (entry.name.clone(), entry.version.clone())
}

fn version_change(model: &str, version: &str, change: Change) -> VersionChange {
    VersionChange {
        model: model.to_owned(),
        version: version.to_owned(),
        change,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(version: &str, state: ModelState, is_default: bool) -> IndexEntry {
        IndexEntry {
            name: "fraud".to_owned(),
            version: version.to_owned(),
            state,
            aliases: Vec::new(),
            is_default,
            memory_bytes: None,
        }
    }

    fn loads(ok: f64, failed: f64) -> BTreeMap<String, LoadCounts> {
        BTreeMap::from([("fraud".to_owned(), LoadCounts { ok, failed })])
    }

    fn update(
        known: &mut KnownVersions,
        last: &mut LastSeen,
        index: &[IndexEntry],
        loads: BTreeMap<String, LoadCounts>,
    ) -> Vec<(String, Change)> {
        let changes = known.update(last, index, loads, |_| false);
        changes
            .into_iter()
            .map(|change| (change.version, change.change))
            .collect()
    }

    #[test]
    fn a_new_version_and_a_swap_are_deploys_and_a_restart_is_not() {
        let (mut known, mut last) = (KnownVersions::default(), LastSeen::default());
        let one = entry("1", ModelState::Ready, true);
        let begun = |is_deploy| Change::Ready { is_deploy };
        assert_eq!(
            update(
                &mut known,
                &mut last,
                std::slice::from_ref(&one),
                loads(1.0, 0.0)
            ),
            [("1".to_owned(), begun(false))]
        );
        assert_eq!(
            update(
                &mut known,
                &mut last,
                std::slice::from_ref(&one),
                loads(1.0, 0.0)
            ),
            []
        );
        let two = [
            entry("1", ModelState::Ready, false),
            entry("2", ModelState::Ready, true),
        ];
        assert_eq!(
            update(&mut known, &mut last, &two, loads(2.0, 0.0)),
            [("2".to_owned(), begun(true))]
        );
        let restarted = update(&mut known, &mut LastSeen::default(), &two, loads(2.0, 0.0));
        assert_eq!(
            restarted,
            [
                ("1".to_owned(), begun(false)),
                ("2".to_owned(), begun(false))
            ]
        );
        let back = update(&mut known, &mut last, &[one], loads(2.0, 0.0));
        assert_eq!(
            back,
            [
                ("1".to_owned(), begun(true)),
                ("2".to_owned(), Change::Gone)
            ],
            "a rollback"
        );
    }

    #[test]
    fn reloads_and_failures_are_recognized_by_their_counts() {
        let (mut known, mut last) = (KnownVersions::default(), LastSeen::default());
        let ready = [entry("1", ModelState::Ready, true)];
        update(&mut known, &mut last, &ready, loads(1.0, 0.0));
        assert_eq!(
            update(&mut known, &mut last, &ready, loads(2.0, 0.0)),
            [("1".to_owned(), Change::Reloaded)]
        );
        let stale = [entry(
            "1",
            ModelState::Stale("no such file".to_owned()),
            true,
        )];
        let failed = |times| {
            (
                "1".to_owned(),
                Change::LoadFailed {
                    reason: "no such file".to_owned(),
                    times,
                },
            )
        };
        assert_eq!(
            update(&mut known, &mut last, &stale, loads(2.0, 1.0)),
            [failed(1)]
        );
        assert_eq!(update(&mut known, &mut last, &stale, loads(2.0, 1.0)), []);
        assert_eq!(
            update(&mut known, &mut last, &stale, loads(2.0, 4.0)),
            [failed(3)]
        );
    }
}
