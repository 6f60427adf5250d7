//! Which versions answer, looked at every few seconds: what begins, ends and fails becomes an
//! event.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tidegate_serving::{IndexEntry, ModelState};

/// Most models that are remembered.
const MAX_MODELS: usize = 10_000;
/// Most versions of a model that are remembered.
const MAX_VERSIONS: usize = 32;

/// The versions that have answered, kept over restarts: only one that has not is a deploy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Known {
    /// Whether anything was ever looked at: what a new server begins with is no deploy.
    is_primed: bool,
    models: BTreeMap<String, KnownModel>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct KnownModel {
    /// The version that answers requests that name none.
    default: String,
    seen: BTreeSet<String>,
}

/// How it was at the last look.
#[derive(Debug, Default)]
pub(super) struct LastLook {
    answering: BTreeSet<(String, String)>,
    failed: BTreeMap<(String, String), String>,
    loads: BTreeMap<String, Loads>,
}

/// The loads of a model that the metrics have counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Loads {
    pub(super) ok: f64,
    pub(super) failed: f64,
}

/// What has happened to a version, or to a model.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Happening {
    pub(super) model: String,
    pub(super) version: String,
    pub(super) what: What,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    /// It began to answer; for the first time, or in the place of another version.
    Ready {
        is_deploy: bool,
    },
    /// It was loaded anew under its number.
    Reloaded,
    Gone,
    LoadFailed {
        reason: String,
        times: u64,
    },
}

impl Known {
    /// Compares the index and the counted loads with how they were. `is_pinned_down` says of a
    /// model that its versions never change under their number.
    pub(super) fn look(
        &mut self,
        last: &mut LastLook,
        index: &[IndexEntry],
        loads: BTreeMap<String, Loads>,
        is_pinned_down: impl Fn(&str) -> bool,
    ) -> Vec<Happening> {
        let mut happenings = Vec::new();
        let answering: BTreeSet<(String, String)> = index
            .iter()
            .filter(|entry| answers(entry))
            .map(key)
            .collect();
        self.begun(last, index, &mut happenings);
        for (model, version) in last.answering.difference(&answering) {
            happenings.push(happening(model, version, What::Gone));
        }
        let gained = |model: &String, of: fn(&Loads) -> f64| {
            let before = last.loads.get(model).map_or(0.0, of);
            loads
                .get(model)
                .map_or(0.0, |now| (of(now) - before).max(0.0)) as u64
        };
        // A load at the first look is one of those that just began.
        for model in last
            .loads
            .keys()
            .filter(|model| gained(model, |loads| loads.ok) > 0 && !is_pinned_down(model))
        {
            let of_model = |set: &BTreeSet<(String, String)>| {
                set.iter()
                    .filter(|(name, _)| name == model)
                    .cloned()
                    .collect::<Vec<_>>()
            };
            let now = of_model(&answering);
            if now == of_model(&last.answering) {
                let version = now.last().map_or("", |(_, version)| version.as_str());
                happenings.push(happening(model, version, What::Reloaded));
            }
        }
        let failed: BTreeMap<(String, String), String> = index
            .iter()
            .filter_map(|entry| Some((key(entry), reason(entry)?.to_owned())))
            .collect();
        for ((model, version), reason) in &failed {
            let times = gained(model, |loads| loads.failed);
            let is_new = last.failed.get(&(model.clone(), version.clone())) != Some(reason);
            if times > 0 || is_new {
                let what = What::LoadFailed {
                    reason: reason.clone(),
                    times: times.max(1),
                };
                happenings.push(happening(model, version, what));
            }
        }
        *last = LastLook {
            answering,
            failed,
            loads,
        };
        happenings
    }

    fn begun(&mut self, last: &LastLook, index: &[IndexEntry], happenings: &mut Vec<Happening>) {
        for entry in index.iter().filter(|entry| answers(entry)) {
            if !self.models.contains_key(&entry.name) && self.models.len() >= MAX_MODELS {
                self.models
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
            let begins = !last.answering.contains(&key(entry));
            let is_deploy = self.is_primed && (is_new || is_swap);
            if begins || is_deploy {
                happenings.push(happening(
                    &entry.name,
                    &entry.version,
                    What::Ready { is_deploy },
                ));
            }
        }
        self.is_primed = true;
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

fn happening(model: &str, version: &str, what: What) -> Happening {
    Happening {
        model: model.to_owned(),
        version: version.to_owned(),
        what,
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

    fn loads(ok: f64, failed: f64) -> BTreeMap<String, Loads> {
        BTreeMap::from([("fraud".to_owned(), Loads { ok, failed })])
    }

    fn look(
        known: &mut Known,
        last: &mut LastLook,
        index: &[IndexEntry],
        loads: BTreeMap<String, Loads>,
    ) -> Vec<(String, What)> {
        let happenings = known.look(last, index, loads, |_| false);
        happenings
            .into_iter()
            .map(|happening| (happening.version, happening.what))
            .collect()
    }

    #[test]
    fn a_new_version_and_a_swap_are_deploys_and_a_restart_is_none() {
        let (mut known, mut last) = (Known::default(), LastLook::default());
        let one = entry("1", ModelState::Ready, true);
        let begun = |is_deploy| What::Ready { is_deploy };
        assert_eq!(
            look(
                &mut known,
                &mut last,
                std::slice::from_ref(&one),
                loads(1.0, 0.0)
            ),
            [("1".to_owned(), begun(false))]
        );
        assert_eq!(
            look(
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
            look(&mut known, &mut last, &two, loads(2.0, 0.0)),
            [("2".to_owned(), begun(true))]
        );
        let restarted = look(&mut known, &mut LastLook::default(), &two, loads(2.0, 0.0));
        assert_eq!(
            restarted,
            [
                ("1".to_owned(), begun(false)),
                ("2".to_owned(), begun(false))
            ]
        );
        let back = look(&mut known, &mut last, &[one], loads(2.0, 0.0));
        assert_eq!(
            back,
            [("1".to_owned(), begun(true)), ("2".to_owned(), What::Gone)],
            "a rollback"
        );
    }

    #[test]
    fn loads_are_told_by_their_counts() {
        let (mut known, mut last) = (Known::default(), LastLook::default());
        let ready = [entry("1", ModelState::Ready, true)];
        look(&mut known, &mut last, &ready, loads(1.0, 0.0));
        assert_eq!(
            look(&mut known, &mut last, &ready, loads(2.0, 0.0)),
            [("1".to_owned(), What::Reloaded)]
        );
        let stale = [entry(
            "1",
            ModelState::Stale("no such file".to_owned()),
            true,
        )];
        let failed = |times| {
            (
                "1".to_owned(),
                What::LoadFailed {
                    reason: "no such file".to_owned(),
                    times,
                },
            )
        };
        assert_eq!(
            look(&mut known, &mut last, &stale, loads(2.0, 1.0)),
            [failed(1)]
        );
        assert_eq!(look(&mut known, &mut last, &stale, loads(2.0, 1.0)), []);
        assert_eq!(
            look(&mut known, &mut last, &stale, loads(2.0, 4.0)),
            [failed(3)]
        );
    }
}
