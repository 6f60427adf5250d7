//! The burn-down of an error budget: what was left of it over time.

use crate::burn::Burn;
use crate::ledger::{Counts, Ledger};
use crate::slo::Slo;

/// What was left of an error budget at a moment, computed as
/// [`SloStatus::budget_remaining`](crate::SloStatus::budget_remaining) is for now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BudgetAt {
    /// The moment, in Unix milliseconds.
    pub at_ms: u64,
    /// 1 if nothing was spent, 0 if all of it was, negative if overspent.
    pub remaining: f64,
}

/// What was left of the budget every `step_ms` from `since_ms` on, and at `now_ms`. The resolution is
/// that of the ledger: one minute for the last six hours, ten minutes for three days.
pub fn burn_down(
    slo: &Slo,
    ledger: &Ledger,
    since_ms: u64,
    now_ms: u64,
    step_ms: u64,
) -> Vec<BudgetAt> {
    // `step_by` panics at 0.
    let step_ms = step_ms.max(1);
    (since_ms..now_ms)
        .step_by(usize::try_from(step_ms).unwrap_or(usize::MAX))
        .chain([now_ms])
        .map(|at_ms| budget_at(slo, ledger, at_ms, now_ms))
        .collect()
}

fn budget_at(slo: &Slo, ledger: &Ledger, at_ms: u64, now_ms: u64) -> BudgetAt {
    let counts = counts_at(slo, ledger, at_ms, now_ms);
    // Without requests nothing is spent.
    let spent = Burn::new(slo, counts).rate.unwrap_or(0.0);
    BudgetAt {
        at_ms,
        remaining: 1.0 - spent,
    }
}

/// The requests in the objective's window as of `at_ms`.
fn counts_at(slo: &Slo, ledger: &Ledger, at_ms: u64, now_ms: u64) -> Counts {
    // Everything up to now, less what came after `at_ms`: the ledger keeps recent requests in finer
    // buckets than those that a whole window is summed from, so the difference is more exact than a
    // direct sum up to `at_ms`.
    let all = ledger.sum(slo.window().start_ms(at_ms), now_ms);
    // The bucket of this minute would be taken for requests that are still to come.
    let since = match at_ms < now_ms {
        true => ledger.sum(at_ms, now_ms),
        false => Counts::default(),
    };
    let total = all.total.saturating_sub(since.total);
    // The two sums may come from buckets of different widths, so neither difference is safe.
    let bad = all.bad().saturating_sub(since.bad()).min(total);
    Counts {
        good: total - bad,
        total,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objective::Objective;
    use crate::window::{HOUR_MS, MINUTE_MS};

    /// A whole hour.
    const NOW: u64 = 1_707_955_200_000;

    #[test]
    fn the_budget_goes_down_when_requests_fail() {
        let slo = Objective {
            name: "x".to_owned(),
            target: 0.99,
            ..Objective::default()
        }
        .parse()
        .unwrap();
        let mut ledger = Ledger::default();
        // 10,000 good requests ten days ago allow 100 bad ones; 50 fail half an hour ago.
        ledger.add(NOW - 240 * HOUR_MS, 10_000, 10_000);
        ledger.add(NOW - 30 * MINUTE_MS, 0, 50);
        let points = burn_down(&slo, &ledger, NOW - HOUR_MS, NOW, 10 * MINUTE_MS);
        let (moments, left): (Vec<u64>, Vec<f64>) = points
            .iter()
            .map(|point| (point.at_ms, point.remaining))
            .unzip();
        assert_eq!(
            (moments.len(), moments[0], moments[6]),
            (7, NOW - HOUR_MS, NOW)
        );
        assert_eq!(left[..4], [1.0; 4]);
        for left in &left[4..] {
            assert!(
                (left - (1.0 - 50.0 / 10_050.0 / 0.01)).abs() < 1e-9,
                "{left}"
            );
        }
        let status = crate::SloStatus::of(&slo, &ledger, NOW);
        assert_eq!(
            left[6], status.budget_remaining,
            "the last point is how it stands"
        );
    }

    #[test]
    fn what_was_counted_a_moment_ago_is_in_the_last_point() {
        let slo = Objective {
            name: "x".to_owned(),
            target: 0.99,
            ..Objective::default()
        }
        .parse()
        .unwrap();
        let mut ledger = Ledger::default();
        // In the middle of a minute, whose bucket is not full yet.
        let now = NOW + 31_000;
        ledger.add(now - 3000, 0, 3000);
        let points = burn_down(&slo, &ledger, NOW - HOUR_MS, now, MINUTE_MS);
        let status = crate::SloStatus::of(&slo, &ledger, now);
        assert!(status.budget_remaining < -90.0);
        assert_eq!(points.last().unwrap().remaining, status.budget_remaining);
    }

    #[test]
    fn without_requests_it_is_whole() {
        let slo = Objective {
            name: "x".to_owned(),
            ..Objective::default()
        }
        .parse()
        .unwrap();
        let points = burn_down(&slo, &Ledger::default(), NOW - 10, NOW, 0);
        assert_eq!(points.len(), 11);
        assert!(points.iter().all(|point| point.remaining == 1.0));
    }
}
