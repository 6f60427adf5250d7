//! The state of an objective: its error rate, what is left of its budget, and how fast it burns.

use crate::burn::{Burn, BurnWindow};
use crate::ledger::{Counts, Ledger};
use crate::slo::Slo;
use crate::window::{DAY_MS, Window};

/// The state of an objective at one moment.
///
/// ```
/// use tidegate_observe::{Ledger, Objective, SloStatus};
///
/// let objective = Objective { name: "fraud".into(), target: 0.99, ..Objective::default() };
/// let slo = objective.parse()?;
/// let now_ms = 1_700_000_040_000;
/// let mut ledger = Ledger::default();
/// ledger.add(now_ms - 60_000, 995, 1000);
///
/// let status = SloStatus::of(&slo, &ledger, now_ms);
/// assert_eq!(status.error_rate, Some(0.005));
/// assert_eq!(status.budget_remaining, 0.5);
/// # Ok::<(), tidegate_observe::ObjectiveError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct SloStatus {
    /// Requests in the objective's own window.
    pub counts: Counts,
    /// The share of bad requests among them; `None` without requests.
    pub error_rate: Option<f64>,
    /// The part of the error budget that is left: 1 without bad requests, 0 at exactly as many as
    /// allowed, negative if overspent.
    pub budget_remaining: f64,
    /// The burn in every window of [`BurnWindow::ALL`], in that order.
    pub burns: [Burn; 7],
    /// When the budget will be used up, in Unix milliseconds, at the request rate and error rate of
    /// the last hour. `now_ms` if it is used up already, `None` if it will not be.
    pub exhausted_ms: Option<u64>,
}

impl SloStatus {
    /// The state of an objective at a moment.
    pub fn of(slo: &Slo, ledger: &Ledger, now_ms: u64) -> Self {
        let since_ms = slo.window().start_ms(now_ms);
        let own = Burn::new(slo, ledger.sum(since_ms, now_ms));
        let burns = BurnWindow::ALL.map(|window| Burn::of(slo, ledger, window, now_ms));
        // Without requests nothing can be spent.
        let spent = own.rate.unwrap_or(0.0);
        let last_hour = burns[BurnWindow::OneHour as usize].rate.unwrap_or(0.0);
        Self {
            counts: own.counts,
            error_rate: own.counts.error_rate(),
            budget_remaining: 1.0 - spent,
            burns,
            exhausted_ms: exhaustion(slo.window(), spent, last_hour, now_ms),
        }
    }

    /// The burn in one window.
    pub fn burn(&self, window: BurnWindow) -> Burn {
        self.burns[window as usize]
    }
}

/// What is left of an error budget in words: `34.1% left`, or `overspent 2.5 times`, where 2.5 is what
/// was spent over what was allowed.
///
/// ```
/// use tidegate_observe::describe_budget;
///
/// assert_eq!(describe_budget(0.341), "34.1% left");
/// assert_eq!(describe_budget(0.0), "used up");
/// assert_eq!(describe_budget(-1.5), "overspent 2.5 times");
/// ```
pub fn describe_budget(remaining: f64) -> String {
    // A negative percentage such as -7153 % is hard to read: the multiple says it better.
    if remaining < 0.0 {
        let times = (10.0 * (1.0 - remaining)).round() / 10.0;
        return format!("overspent {times} times");
    }
    if remaining == 0.0 {
        return "used up".to_owned();
    }
    let percent = (1000.0 * remaining).round() / 10.0;
    format!("{percent}% left")
}

/// When a budget will be used up at this burn rate, given that the share `spent` of it is gone and
/// that requests keep coming as often as before.
///
/// Rolling window of length W: a whole budget lasts W / rate (the workbook's time to exhaustion), so
/// the rest lasts W · (1 - spent) / rate. Errors that leave the window meanwhile are ignored; the
/// estimate is therefore early, never late.
///
/// Calendar month that has run for e: the requests so far allow a budget proportional to e, of which
/// spent · e is gone. After another t, e + t is allowed and spent · e + rate · t is gone. Both are
/// equal at t = e · (1 - spent) / (rate - 1), if the month is that long.
fn exhaustion(window: Window, spent: f64, rate: f64, now_ms: u64) -> Option<u64> {
    if spent >= 1.0 {
        return Some(now_ms);
    }
    let left = 1.0 - spent;
    let (in_ms, until_ms) = match window {
        Window::Rolling { days } => ((u64::from(days) * DAY_MS) as f64 * left / rate, u64::MAX),
        // The budget of a month grows with its requests: at a rate of 1 or less it never runs out.
        Window::Month if rate <= 1.0 => return None,
        Window::Month => {
            let elapsed = (now_ms - window.start_ms(now_ms)) as f64;
            (elapsed * left / (rate - 1.0), window.end_ms(now_ms))
        }
    };
    // Without errors in the last hour the rate is 0 and the division infinite: no end in sight.
    if !in_ms.is_finite() {
        return None;
    }
    let at_ms = now_ms.saturating_add(in_ms as u64);
    (at_ms < until_ms).then_some(at_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objective::Objective;
    use crate::window::HOUR_MS;

    /// 2024-02-15 00:00 UTC: 14 of 29 days of the month have passed.
    const NOW: u64 = 1_707_955_200_000;

    fn slo(window: &str) -> Slo {
        Objective {
            name: "x".to_owned(),
            window: window.parse().unwrap(),
            ..Objective::default()
        }
        .parse()
        .unwrap()
    }

    /// 1,000 requests an hour for 20 days, of which `bad` were bad in each hour of the last
    /// `hours`.
    fn ledger(bad: u64, hours: u64) -> Ledger {
        let mut ledger = Ledger::default();
        for hour in 1..=20 * 24 {
            let bad = if hour <= hours { bad } else { 0 };
            ledger.add(NOW - hour * HOUR_MS, 1000 - bad, 1000);
        }
        ledger
    }

    #[test]
    fn rates_are_relative_to_the_budget() {
        // Of 1,000 requests an hour one may fail. 2 failed in each of the last 12 hours.
        let status = SloStatus::of(&slo("30d"), &ledger(2, 12), NOW);
        let rate = |window| status.burn(window).rate.unwrap();
        assert_eq!(
            status.burn(BurnWindow::FiveMinutes).rate,
            None,
            "all requests came at the full hour"
        );
        assert!((rate(BurnWindow::OneHour) - 2.0).abs() < 1e-9);
        assert!((rate(BurnWindow::SixHours) - 2.0).abs() < 1e-9);
        assert!((rate(BurnWindow::OneDay) - 1.0).abs() < 1e-9);
        assert!((rate(BurnWindow::ThreeDays) - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!(
            status.burn(BurnWindow::OneDay).counts,
            Counts {
                good: 23_976,
                total: 24_000
            }
        );
    }

    #[test]
    fn the_budget_is_relative_to_the_requests_so_far() {
        // 480,000 requests allow 480 bad ones; 120 were.
        let status = SloStatus::of(&slo("30d"), &ledger(10, 12), NOW);
        assert!((status.budget_remaining - 0.75).abs() < 1e-9);
        assert_eq!(status.error_rate, Some(120.0 / 480_000.0));
        // Since the first of the month, 336 hours, 336 were allowed.
        let month = SloStatus::of(&slo("month"), &ledger(10, 12), NOW);
        assert!((month.budget_remaining - (1.0 - 120.0 / 336.0)).abs() < 1e-9);
        // 1,200 bad ones are two and a half budgets.
        let spent = SloStatus::of(&slo("30d"), &ledger(100, 12), NOW);
        assert!((spent.budget_remaining + 1.5).abs() < 1e-9);
        assert_eq!(spent.exhausted_ms, Some(NOW));
    }

    #[test]
    fn without_requests_the_whole_budget_is_left() {
        let status = SloStatus::of(&slo("30d"), &Ledger::default(), NOW);
        assert_eq!(
            (
                status.error_rate,
                status.budget_remaining,
                status.exhausted_ms
            ),
            (None, 1.0, None)
        );
    }

    #[test]
    fn a_rolling_budget_is_exhausted_after_what_is_left_over_the_rate() {
        // Three quarters are left and burn tenfold: 30 days · 0.75 / 10 = 54 hours.
        let at_ms = SloStatus::of(&slo("30d"), &ledger(10, 12), NOW)
            .exhausted_ms
            .unwrap();
        assert!(at_ms.abs_diff(NOW + 54 * HOUR_MS) < 10, "{at_ms}");
        assert_eq!(
            SloStatus::of(&slo("30d"), &ledger(0, 0), NOW).exhausted_ms,
            None
        );
    }

    #[test]
    fn a_monthly_budget_may_last_until_the_month_ends() {
        // Spent 120 of 336. At 10 a hour where 1 is allowed, the other 216 are gone in 24 hours.
        let at_ms = SloStatus::of(&slo("month"), &ledger(10, 12), NOW)
            .exhausted_ms
            .unwrap();
        assert!(at_ms.abs_diff(NOW + 24 * HOUR_MS) < 10, "{at_ms}");
        // 2 an hour for 12 hours: 24 of 336 are gone, one more each hour beyond what is allowed:
        // 312 hours, of 360.
        let at_ms = SloStatus::of(&slo("month"), &ledger(2, 12), NOW)
            .exhausted_ms
            .unwrap();
        assert!(at_ms.abs_diff(NOW + 312 * HOUR_MS) < 100, "{at_ms}");
        // One an hour is what is allowed for ever.
        assert_eq!(
            SloStatus::of(&slo("month"), &ledger(1, 12), NOW).exhausted_ms,
            None
        );
        assert_eq!(
            exhaustion(Window::Month, 0.1, 1.5, NOW),
            None,
            "14 days · 0.9 / 0.5 is 25 days, 15 are left"
        );
    }
}
