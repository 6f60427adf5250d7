//! What is kept of cost, in a file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_observe::cost::{Budget, BudgetStatus, Day, Ledger};

/// What was used, and what was told of budgets.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Kept {
    pub(super) ledger: Ledger,
    pub(super) told: Told,
}

/// Which shares of budgets were said to be used up, and since when their day or month was, by the
/// budgets' names.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Told(BTreeMap<String, (Day, Vec<f64>)>);

impl Told {
    /// Whether it was not told in this day or month that a share is used up; it is, then.
    pub(super) fn is_news(&mut self, status: &BudgetStatus<'_>, share: f64) -> bool {
        let fresh = || (status.since, Vec::new());
        let told = self
            .0
            .entry(status.budget.name.clone())
            .or_insert_with(fresh);
        if told.0 != status.since {
            *told = fresh();
        }
        let is_news = !told.1.contains(&share);
        if is_news {
            told.1.push(share);
        }
        is_news
    }

    /// Forgets budgets that are no longer there.
    pub(super) fn forget(&mut self, budgets: &[Budget]) {
        self.0
            .retain(|name, _| budgets.iter().any(|budget| budget.name == *name));
    }
}

#[cfg(test)]
mod tests {
    use tidegate_observe::cost::{BudgetPeriod, Micros};

    use super::*;
    use crate::kept::KeptFile;

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
    async fn a_share_is_told_once_in_its_day_also_over_a_restart() {
        let budget = budget();
        let status = |since_ms| BudgetStatus {
            budget: &budget,
            since: Day::of_ms(since_ms),
            spent: Micros(9),
        };
        let folder = tempfile::tempdir().unwrap();
        let (file, mut kept): (_, Kept) = KeptFile::open(folder.path().join("cost.json"));
        assert!(kept.told.is_news(&status(0), 0.8) && !kept.told.is_news(&status(0), 0.8));
        file.write(|| serde_json::to_vec(&kept)).await;
        let (_, mut read): (_, Kept) = KeptFile::open(folder.path().join("cost.json"));
        assert!(!read.told.is_news(&status(0), 0.8) && read.told.is_news(&status(0), 1.0));
        assert!(
            read.told.is_news(&status(86_400_000), 0.8),
            "the next day is another"
        );
        read.told.forget(&[]);
        assert!(read.told.is_news(&status(86_400_000), 0.8));
    }
}
