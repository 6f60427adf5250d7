//! Rollouts that wait because an error budget is spent.

use serde::{Deserialize, Serialize};

use crate::burn::Standing;
use crate::objective::BudgetPolicy;
use crate::slo::Slo;

/// A freeze ends once this share of the budget is there again, so that single requests do not end
/// and begin it.
const THAW_ABOVE: f64 = 0.05;

/// Whether an objective freezes rollouts. Serializable, so that a restart is no way around it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// Since when it does, in Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    since_ms: Option<u64>,
    /// Until when somebody said that it must not.
    #[serde(default)]
    lifted_until_ms: u64,
}

/// What came of looking at a [`Freeze`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreezeChange {
    /// The budget is spent: rollouts wait from now on.
    Frozen,
    /// They go on.
    Thawed,
}

impl Freeze {
    /// Since when rollouts wait, in Unix milliseconds; `None` if they do not.
    pub fn since_ms(&self) -> Option<u64> {
        self.since_ms
    }

    /// Lets rollouts go on until a moment, whatever the budget is. `false` if somebody said just
    /// that before.
    pub fn lift(&mut self, until_ms: u64) -> bool {
        self.since_ms = None;
        std::mem::replace(&mut self.lifted_until_ms, until_ms) != until_ms
    }

    /// Brings it up to a moment.
    pub fn step(&mut self, slo: &Slo, standing: &Standing, now_ms: u64) -> Option<FreezeChange> {
        let left = standing.budget_remaining;
        let is_lifted = slo.policy() != BudgetPolicy::Freeze || now_ms < self.lifted_until_ms;
        match self.since_ms {
            Some(_) if is_lifted || left > THAW_ABOVE => {
                self.since_ms = None;
                Some(FreezeChange::Thawed)
            }
            None if !is_lifted && left <= 0.0 && standing.counts.total >= slo.min_events() => {
                self.since_ms = Some(now_ms);
                Some(FreezeChange::Frozen)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ledger, Objective};

    const MINUTE_MS: u64 = 60_000;

    fn slo(policy: BudgetPolicy) -> Slo {
        let name = "x".to_owned();
        Objective {
            name,
            policy,
            target: 0.9,
            ..Objective::default()
        }
        .parse()
        .unwrap()
    }

    fn standing(good: u64, total: u64) -> Standing {
        let mut ledger = Ledger::default();
        ledger.add(MINUTE_MS, good, total);
        Standing::of(&slo(BudgetPolicy::Freeze), &ledger, 2 * MINUTE_MS)
    }

    #[test]
    fn a_spent_budget_freezes_until_some_of_it_is_back() {
        let (slo, mut freeze) = (slo(BudgetPolicy::Freeze), Freeze::default());
        assert_eq!(
            freeze.step(&slo, &standing(4, 9), 1),
            None,
            "too few requests to say anything"
        );
        assert_eq!(
            freeze.step(&slo, &standing(91, 100), 2),
            None,
            "a tenth of the budget is left"
        );
        assert_eq!(
            freeze.step(&slo, &standing(90, 100), 3),
            Some(FreezeChange::Frozen)
        );
        assert_eq!(
            freeze.step(&slo, &standing(903, 1000), 4),
            None,
            "3% are back"
        );
        assert_eq!(freeze.since_ms(), Some(3));
        assert_eq!(
            freeze.step(&slo, &standing(906, 1000), 5),
            Some(FreezeChange::Thawed)
        );
        assert_eq!(freeze.since_ms(), None);
    }

    #[test]
    fn a_lifted_freeze_comes_back_when_its_time_is_over() {
        let (slo, mut freeze) = (slo(BudgetPolicy::Freeze), Freeze::default());
        freeze.step(&slo, &standing(0, 100), 1);
        assert!(freeze.lift(10) && !freeze.lift(10));
        assert_eq!(
            (freeze.since_ms(), freeze.step(&slo, &standing(0, 100), 9)),
            (None, None)
        );
        assert_eq!(
            freeze.step(&slo, &standing(0, 100), 10),
            Some(FreezeChange::Frozen)
        );
    }

    #[test]
    fn without_the_policy_nothing_freezes() {
        let (none, mut freeze) = (slo(BudgetPolicy::None), Freeze::default());
        assert_eq!(freeze.step(&none, &standing(0, 100), 1), None);
        freeze.step(&slo(BudgetPolicy::Freeze), &standing(0, 100), 2);
        assert_eq!(
            freeze.step(&none, &standing(0, 100), 3),
            Some(FreezeChange::Thawed),
            "it was taken out"
        );
    }
}
