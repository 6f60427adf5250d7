//! Rollouts that wait because an error budget is used up.

use serde::{Deserialize, Serialize};

use crate::objective::BudgetPolicy;
use crate::slo::Slo;
use crate::status::SloStatus;

/// A freeze ends once this share of the budget is available again. The distance to 0, where a freeze
/// begins, is a hysteresis: otherwise single requests would switch it on and off.
const THAW_ABOVE: f64 = 0.05;

/// Whether an objective freezes rollouts. Serializable, so that a restart does not lift a freeze.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// When the freeze began, in Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    since_ms: Option<u64>,
    /// Until when an operator lifted it, in Unix milliseconds.
    #[serde(default)]
    lifted_until_ms: u64,
}

/// A change of a [`Freeze`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreezeChange {
    /// The budget is used up: rollouts wait from now on.
    Frozen,
    /// Rollouts continue.
    Thawed,
}

impl Freeze {
    /// When the freeze began, in Unix milliseconds; `None` if rollouts do not wait.
    pub fn since_ms(&self) -> Option<u64> {
        self.since_ms
    }

    /// Lifts the freeze until a moment, whatever the budget is. `false` if it was already lifted
    /// until that very moment.
    pub fn lift(&mut self, until_ms: u64) -> bool {
        self.since_ms = None;
        std::mem::replace(&mut self.lifted_until_ms, until_ms) != until_ms
    }

    /// Updates the freeze from the objective's status, and returns what changed.
    pub fn update(&mut self, slo: &Slo, status: &SloStatus, now_ms: u64) -> Option<FreezeChange> {
        let left = status.budget_remaining;
        let is_lifted = slo.policy() != BudgetPolicy::Freeze || now_ms < self.lifted_until_ms;
        match self.since_ms {
            // Also ends where the policy was removed from the objective: then it counts as lifted.
            Some(_) if is_lifted || left > THAW_ABOVE => {
                self.since_ms = None;
                Some(FreezeChange::Thawed)
            }
            // As for alerts: one failure of a few requests must not stop a rollout.
            None if !is_lifted && left <= 0.0 && status.counts.total >= slo.min_events() => {
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

    fn status(good: u64, total: u64) -> SloStatus {
        let mut ledger = Ledger::default();
        ledger.add(MINUTE_MS, good, total);
        SloStatus::of(&slo(BudgetPolicy::Freeze), &ledger, 2 * MINUTE_MS)
    }

    #[test]
    fn a_used_up_budget_freezes_rollouts_until_part_of_it_is_available() {
        let (slo, mut freeze) = (slo(BudgetPolicy::Freeze), Freeze::default());
        assert_eq!(
            freeze.update(&slo, &status(4, 9), 1),
            None,
            "too few requests to say anything"
        );
        assert_eq!(
            freeze.update(&slo, &status(91, 100), 2),
            None,
            "a tenth of the budget is left"
        );
        assert_eq!(
            freeze.update(&slo, &status(90, 100), 3),
            Some(FreezeChange::Frozen)
        );
        assert_eq!(
            freeze.update(&slo, &status(903, 1000), 4),
            None,
            "3% are back"
        );
        assert_eq!(freeze.since_ms(), Some(3));
        assert_eq!(
            freeze.update(&slo, &status(906, 1000), 5),
            Some(FreezeChange::Thawed)
        );
        assert_eq!(freeze.since_ms(), None);
    }

    #[test]
    fn a_lifted_freeze_returns_when_its_time_is_over() {
        let (slo, mut freeze) = (slo(BudgetPolicy::Freeze), Freeze::default());
        freeze.update(&slo, &status(0, 100), 1);
        assert!(freeze.lift(10) && !freeze.lift(10));
        assert_eq!(
            (freeze.since_ms(), freeze.update(&slo, &status(0, 100), 9)),
            (None, None)
        );
        assert_eq!(
            freeze.update(&slo, &status(0, 100), 10),
            Some(FreezeChange::Frozen)
        );
    }

    #[test]
    fn without_the_policy_nothing_freezes() {
        let (none, mut freeze) = (slo(BudgetPolicy::None), Freeze::default());
        assert_eq!(freeze.update(&none, &status(0, 100), 1), None);
        freeze.update(&slo(BudgetPolicy::Freeze), &status(0, 100), 2);
        assert_eq!(
            freeze.update(&none, &status(0, 100), 3),
            Some(FreezeChange::Thawed),
            "it was taken out"
        );
    }
}
