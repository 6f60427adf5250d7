//! The state of costs that survives restarts, in `cost.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_observe::cost::{Budget, BudgetStatus, Day, Ledger};

/// The usage, and the shares of budgets that were reached.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct PersistedState {
    pub(super) ledger: Ledger,
    // Files of earlier versions have this name.
    #[serde(rename = "told")]
    pub(super) reached: ReachedShares,
}

/// The shares of budgets that were reached, by the names of the budgets, each with the first day of
/// the day or month in which they were.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct ReachedShares(BTreeMap<String, (Day, Vec<f64>)>);

impl ReachedShares {
    /// Notes that a share was reached. `false` if it had been already, in this day or month.
    pub(super) fn insert(&mut self, status: &BudgetStatus<'_>, share: f64) -> bool {
        let (since, shares) = self
            .0
            .entry(status.budget.name.clone())
            .or_insert_with(|| (status.since, Vec::new()));
        if *since != status.since {
            *since = status.since;
            shares.clear();
        }
        let is_new = !shares.contains(&share);
        if is_new {
            shares.push(share);
        }
        is_new
    }

    /// Removes all budgets except these.
    pub(super) fn retain(&mut self, budgets: &[Budget]) {
        self.0
            .retain(|name, _| budgets.iter().any(|budget| budget.name == *name));
    }
}

#[cfg(test)]
mod tests {
    use tidegate_observe::cost::{BudgetPeriod, Micros};

    use super::*;
    use crate::persisted_state::StateFile;

    fn budget() -> Budget {
        let (name, alert_at) = ("team".to_owned(), vec![0.8, 1.0]);
        Budget {
            name,
            model: None,
            amount: Micros(10),
            per: BudgetPeriod::Day,
            alert_at,
        }
    }

    #[tokio::test]
    async fn a_share_is_reached_once_a_day_also_over_a_restart() {
        let budget = budget();
        let status = |since_ms| BudgetStatus {
            budget: &budget,
            since: Day::of_ms(since_ms),
            spent: Micros(9),
        };
        let folder = tempfile::tempdir().unwrap();
        let (file, mut state): (_, PersistedState) =
            StateFile::open(folder.path().join("cost.json"));
        assert!(state.reached.insert(&status(0), 0.8) && !state.reached.insert(&status(0), 0.8));
        file.write(|| serde_json::to_vec(&state)).await;
        let (_, mut read): (_, PersistedState) = StateFile::open(folder.path().join("cost.json"));
        assert!(!read.reached.insert(&status(0), 0.8) && read.reached.insert(&status(0), 1.0));
        assert!(
            read.reached.insert(&status(86_400_000), 0.8),
            "the next day is another"
        );
        read.reached.retain(&[]);
        assert!(read.reached.insert(&status(86_400_000), 0.8));
    }
}
