//! The state of objectives that survives restarts, in `objectives.json`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_observe::{BurnAlerts, Counts, Freeze, Ledger, Objective, Slo};

/// By the objectives' names. Those that are no longer configured stay, and are pruned by their age
/// of 90 days at most.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct PersistedState {
    slos: BTreeMap<String, SloState>,
    /// Objectives that were set through the API.
    pub(super) set: BTreeMap<String, Objective>,
    /// The group that this server counts with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) membership: Option<Membership>,
    /// Whether it ever counted with one: its ledgers then have what others counted.
    pub(super) was_in_group: bool,
}

/// Who this server is in its group.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Membership {
    pub(super) group: String,
    /// The id by which the others know it.
    pub(super) replica: String,
    /// The number of the last addition to the group's counts that was begun.
    pub(super) addition: i64,
    /// Whether it is known which additions from before this start the store has.
    #[serde(skip)]
    pub(super) is_reconciled: bool,
}

/// The state of one objective.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct SloState {
    /// The definition of what it measured: a ledger of other requests does not apply.
    measures: String,
    #[serde(flatten)]
    pub(super) counted: Counted,
    pub(super) alerts: BurnAlerts,
    pub(super) freeze: Freeze,
}

/// The counts, by the place where they are stored.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Counted {
    /// The counts of this server or, in a group, the sum of all replicas.
    pub(super) ledger: Ledger,
    /// The counts to add to those of the group.
    #[serde(skip_serializing_if = "Ledger::is_empty")]
    pub(super) unsent: Ledger,
    /// The addition that is on its way.
    #[serde(skip_serializing_if = "Ledger::is_empty")]
    pub(super) sending: Ledger,
    /// The counts since the start, while it is not known whether earlier additions were made.
    #[serde(skip_serializing_if = "Ledger::is_empty")]
    pub(super) fresh: Ledger,
}

impl PersistedState {
    /// The counts of an objective; empty if it measures something else now.
    pub(super) fn of(&mut self, slo: &Slo) -> &mut SloState {
        let measures = format!("{} {:?}", slo.endpoint().unwrap_or("*"), slo.sli());
        let own = self.slos.entry(slo.name().to_owned()).or_default();
        if own.measures != measures {
            *own = SloState {
                measures,
                ..SloState::default()
            };
        }
        own
    }

    /// Counts requests.
    pub(super) fn count(&mut self, slo: &Slo, at_ms: u64, counts: Counts) {
        let is_reconciled = self
            .membership
            .as_ref()
            .map(|membership| membership.is_reconciled);
        let counted = &mut self.of(slo).counted;
        let ledger = match is_reconciled {
            None => &mut counted.ledger,
            Some(true) => &mut counted.unsent,
            Some(false) => &mut counted.fresh,
        };
        ledger.add(at_ms, counts.good, counts.total);
    }

    pub(super) fn forget(&mut self, name: &str) {
        self.slos.remove(name);
    }

    /// The counts of every objective, with the name by which all replicas know it.
    pub(super) fn all(&mut self) -> impl Iterator<Item = (String, &mut Counted)> {
        self.slos
            .iter_mut()
            .map(|(name, own)| (format!("{name} {}", own.measures), &mut own.counted))
    }
}

impl Counted {
    /// The sum of all of them, as far as it is known here.
    pub(super) fn all(&self) -> Cow<'_, Ledger> {
        // Most often nothing waits: then no ledger is copied.
        let own = [&self.sending, &self.unsent, &self.fresh];
        if own.iter().all(|ledger| ledger.is_empty()) {
            return Cow::Borrowed(&self.ledger);
        }
        let mut all = self.ledger.clone();
        own.iter().for_each(|ledger| all.merge(ledger));
        Cow::Owned(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persisted_state::StateFile;

    fn slo(endpoint: &str) -> Slo {
        Objective {
            name: "x".to_owned(),
            endpoint: endpoint.to_owned(),
            ..Objective::default()
        }
        .parse()
        .unwrap()
    }

    #[tokio::test]
    async fn counts_survive_a_restart_unless_the_objective_measures_something_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("objectives.json");
        let (state_file, mut state): (_, PersistedState) = StateFile::open(file.clone());
        state.of(&slo("a")).counted.ledger.add(60_000, 9, 10);
        state_file.write(|| serde_json::to_vec(&state)).await;
        let (_, mut read): (_, PersistedState) = StateFile::open(file.clone());
        assert_eq!(read.of(&slo("a")).counted.all().sum(0, 120_000).total, 10);
        assert_eq!(read.of(&slo("b")).counted.all().sum(0, 120_000).total, 0);
        std::fs::write(&file, "{").unwrap();
        let (_, mut broken): (_, PersistedState) = StateFile::open(file);
        assert_eq!(
            broken.of(&slo("a")).counted.ledger.buckets(),
            0,
            "a broken file starts empty"
        );
    }
}
