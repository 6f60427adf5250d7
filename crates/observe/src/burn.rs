//! How fast an error budget burns, and how much of it is left.

use crate::ledger::{Counts, Ledger};
use crate::slo::Slo;
use crate::window::{DAY_MS, HOUR_MS, MINUTE_MS, Window};

/// The windows that burn rates are taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it")]
pub enum BurnWindow {
    FiveMinutes,
    ThirtyMinutes,
    OneHour,
    TwoHours,
    SixHours,
    OneDay,
    ThreeDays,
}

impl BurnWindow {
    /// Every window, the shortest first.
    pub const ALL: [Self; 7] = [
        Self::FiveMinutes,
        Self::ThirtyMinutes,
        Self::OneHour,
        Self::TwoHours,
        Self::SixHours,
        Self::OneDay,
        Self::ThreeDays,
    ];

    /// Its length in milliseconds.
    pub const fn ms(self) -> u64 {
        match self {
            Self::FiveMinutes => 5 * MINUTE_MS,
            Self::ThirtyMinutes => 30 * MINUTE_MS,
            Self::OneHour => HOUR_MS,
            Self::TwoHours => 2 * HOUR_MS,
            Self::SixHours => 6 * HOUR_MS,
            Self::OneDay => DAY_MS,
            Self::ThreeDays => 3 * DAY_MS,
        }
    }

    /// Its length as Prometheus writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FiveMinutes => "5m",
            Self::ThirtyMinutes => "30m",
            Self::OneHour => "1h",
            Self::TwoHours => "2h",
            Self::SixHours => "6h",
            Self::OneDay => "1d",
            Self::ThreeDays => "3d",
        }
    }
}

/// What was counted in one window up to now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burn {
    /// The requests.
    pub counts: Counts,
    /// The share of bad ones over the share that may be bad: at 1 the error budget lasts exactly
    /// for the objective's window, at 14.4 a budget of 30 days is spent in 50 hours. `None` without
    /// requests. (Google, The Site Reliability Workbook, chapter 5, "Alert on Burn Rate".)
    pub rate: Option<f64>,
}

impl Burn {
    /// The burn of an objective in a window that ends at `now_ms`. Exact if that is a whole minute,
    /// and for windows above 6 hours ten minutes; else the window is up to that much longer.
    pub fn of(slo: &Slo, ledger: &Ledger, window: BurnWindow, now_ms: u64) -> Self {
        Self::new(slo, ledger.sum(now_ms.saturating_sub(window.ms()), now_ms))
    }

    fn new(slo: &Slo, counts: Counts) -> Self {
        Self {
            counts,
            rate: counts.error_rate().map(|rate| rate / slo.error_budget()),
        }
    }
}

/// How an objective stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// What was counted in the objective's own window.
    pub counts: Counts,
    /// The share of bad requests in it; `None` without requests.
    pub error_rate: Option<f64>,
    /// What is left of the error budget of the requests so far: 1 if none was bad, 0 if as many
    /// were bad as may be, below 0 if more were.
    pub budget_remaining: f64,
    /// The burn in every window of [`BurnWindow::ALL`], in that order.
    pub burns: [Burn; 7],
    /// When the budget will be spent, in Unix milliseconds, if requests and errors go on as in the
    /// last hour; `now_ms` if it is spent, `None` if it will not be.
    pub exhausted_ms: Option<u64>,
}

impl Standing {
    /// How an objective stands at a moment.
    pub fn of(slo: &Slo, ledger: &Ledger, now_ms: u64) -> Self {
        let since_ms = slo.window().start_ms(now_ms);
        let own = Burn::new(slo, ledger.sum(since_ms, now_ms));
        let burns = BurnWindow::ALL.map(|window| Burn::of(slo, ledger, window, now_ms));
        let spent = own.rate.unwrap_or(0.0);
        let hour = Burn::of(slo, ledger, BurnWindow::OneHour, now_ms).rate;
        Self {
            counts: own.counts,
            error_rate: own.counts.error_rate(),
            budget_remaining: 1.0 - spent,
            burns,
            exhausted_ms: exhaustion(slo.window(), spent, hour.unwrap_or(0.0), now_ms),
        }
    }

    /// The burn in one window.
    pub fn burn(&self, window: BurnWindow) -> Burn {
        self.burns[window as usize]
    }
}

/// When a budget of which the share `spent` is gone will be spent at this burn rate, if as many
/// requests come as did.
///
/// Rolling, over W: a budget's worth is spent in W over the burn rate (the workbook's time to
/// exhaustion), the rest in that part of it; that older errors leave the window is left out, which
/// errs on the early side. In a calendar month that has run for e, requests so far allow the budget
/// e, of which spent · e is gone; after another t they allow e + t, and spent · e + rate · t is
/// gone. Both are equal after t = e · (1 - spent) / (rate - 1), if the month is that long.
fn exhaustion(window: Window, spent: f64, rate: f64, now_ms: u64) -> Option<u64> {
    if spent >= 1.0 {
        return Some(now_ms);
    }
    let left = 1.0 - spent;
    let (in_ms, until_ms) = match window {
        Window::Rolling { days } => ((u64::from(days) * DAY_MS) as f64 * left / rate, u64::MAX),
        Window::Month if rate <= 1.0 => return None,
        Window::Month => {
            let elapsed = (now_ms - window.start_ms(now_ms)) as f64;
            (elapsed * left / (rate - 1.0), window.end_ms(now_ms))
        }
    };
    // No errors in the last hour: a division by zero, and no end.
    let at_ms = in_ms
        .is_finite()
        .then(|| now_ms.saturating_add(in_ms as u64))?;
    (at_ms < until_ms).then_some(at_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objective::Objective;

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
        let standing = Standing::of(&slo("30d"), &ledger(2, 12), NOW);
        let rate = |window| standing.burn(window).rate.unwrap();
        assert_eq!(
            standing.burn(BurnWindow::FiveMinutes).rate,
            None,
            "all requests came at the full hour"
        );
        assert!((rate(BurnWindow::OneHour) - 2.0).abs() < 1e-9);
        assert!((rate(BurnWindow::SixHours) - 2.0).abs() < 1e-9);
        assert!((rate(BurnWindow::OneDay) - 1.0).abs() < 1e-9);
        assert!((rate(BurnWindow::ThreeDays) - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!(
            standing.burn(BurnWindow::OneDay).counts,
            Counts {
                good: 23_976,
                total: 24_000
            }
        );
    }

    #[test]
    fn the_rest_of_the_budget_is_of_the_requests_so_far() {
        // 480,000 requests allow 480 bad ones; 120 were.
        let standing = Standing::of(&slo("30d"), &ledger(10, 12), NOW);
        assert!((standing.budget_remaining - 0.75).abs() < 1e-9);
        assert_eq!(standing.error_rate, Some(120.0 / 480_000.0));
        // Since the first of the month, 336 hours, 336 were allowed.
        let month = Standing::of(&slo("month"), &ledger(10, 12), NOW);
        assert!((month.budget_remaining - (1.0 - 120.0 / 336.0)).abs() < 1e-9);
        // 1,200 bad ones are two and a half budgets.
        let spent = Standing::of(&slo("30d"), &ledger(100, 12), NOW);
        assert!((spent.budget_remaining + 1.5).abs() < 1e-9);
        assert_eq!(spent.exhausted_ms, Some(NOW));
    }

    #[test]
    fn without_requests_the_budget_is_whole() {
        let standing = Standing::of(&slo("30d"), &Ledger::default(), NOW);
        assert_eq!(
            (
                standing.error_rate,
                standing.budget_remaining,
                standing.exhausted_ms
            ),
            (None, 1.0, None)
        );
    }

    #[test]
    fn a_rolling_budget_lasts_as_long_as_its_rest_over_the_rate() {
        // Three quarters are left and burn tenfold: 30 days · 0.75 / 10 = 54 hours.
        let at_ms = Standing::of(&slo("30d"), &ledger(10, 12), NOW)
            .exhausted_ms
            .unwrap();
        assert!(at_ms.abs_diff(NOW + 54 * HOUR_MS) < 10, "{at_ms}");
        assert_eq!(
            Standing::of(&slo("30d"), &ledger(0, 0), NOW).exhausted_ms,
            None
        );
    }

    #[test]
    fn a_months_budget_may_outlast_it() {
        // Spent 120 of 336. At 10 a hour where 1 is allowed, the other 216 are gone in 24 hours.
        let at_ms = Standing::of(&slo("month"), &ledger(10, 12), NOW)
            .exhausted_ms
            .unwrap();
        assert!(at_ms.abs_diff(NOW + 24 * HOUR_MS) < 10, "{at_ms}");
        // 2 an hour for 12 hours: 24 of 336 are gone, one more each hour beyond what is allowed:
        // 312 hours, of 360.
        let at_ms = Standing::of(&slo("month"), &ledger(2, 12), NOW)
            .exhausted_ms
            .unwrap();
        assert!(at_ms.abs_diff(NOW + 312 * HOUR_MS) < 100, "{at_ms}");
        // One an hour is what is allowed for ever.
        assert_eq!(
            Standing::of(&slo("month"), &ledger(1, 12), NOW).exhausted_ms,
            None
        );
        assert_eq!(
            exhaustion(Window::Month, 0.1, 1.5, NOW),
            None,
            "14 days · 0.9 / 0.5 is 25 days, 15 are left"
        );
    }
}
