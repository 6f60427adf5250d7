//! How fast an error budget burns.

use crate::ledger::{Counts, Ledger};
use crate::slo::Slo;
use crate::window::{DAY_MS, HOUR_MS, MINUTE_MS};

/// The windows over which burn rates are measured.
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

/// The requests of one window up to now, and the burn rate that follows from them.
///
/// ```
/// use tidegate_observe::{Burn, BurnWindow, Ledger, Objective};
///
/// let slo = Objective { name: "all".into(), target: 0.99, ..Objective::default() }.parse()?;
/// let now_ms = 1_700_000_040_000;
/// let mut ledger = Ledger::default();
/// ledger.add(now_ms - 60_000, 95, 100);
/// let burn = Burn::of(&slo, &ledger, BurnWindow::OneHour, now_ms);
/// // 5 % of the requests failed, where 1 % may.
/// assert_eq!(burn.rate.map(f64::round), Some(5.0));
/// assert_eq!(burn.counts.bad(), 5);
/// # Ok::<(), tidegate_observe::ObjectiveError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burn {
    /// Good requests and all requests.
    pub counts: Counts,
    /// Error rate divided by the error budget. At 1 the budget lasts exactly for the objective's
    /// window; at 14.4 a budget of 30 days is spent in 50 hours. `None` without requests. (Google,
    /// The Site Reliability Workbook, chapter 5, "Alert on Burn Rate".)
    pub rate: Option<f64>,
}

impl Burn {
    /// The burn of an objective in a window that ends at `now_ms`.
    ///
    /// Exact at whole minutes, and for windows above 6 hours at whole ten minutes. At other moments
    /// the window reaches back to the start of the bucket that it begins in.
    pub fn of(slo: &Slo, ledger: &Ledger, window: BurnWindow, now_ms: u64) -> Self {
        // Saturates: a clock near 1970, as machines without a battery start with, has no window
        // before it.
        Self::new(slo, ledger.sum(now_ms.saturating_sub(window.ms()), now_ms))
    }

    pub(crate) fn new(slo: &Slo, counts: Counts) -> Self {
        Self {
            counts,
            rate: counts.error_rate().map(|rate| rate / slo.error_budget()),
        }
    }
}
