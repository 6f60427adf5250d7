//! Alerts on burn rates, and the state of each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::burn::{Burn, BurnWindow};
use crate::ledger::Ledger;
use crate::slo::Slo;
use crate::window::MINUTE_MS;

/// How urgent an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Somebody must act now.
    Page,
    /// Somebody must act in working hours.
    Ticket,
}

impl Severity {
    /// `page` or `ticket`, the label `severity`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Ticket => "ticket",
        }
    }
}

/// An alert that fires while the burn rate is above `factor` in both of its windows. The long window
/// shows that a significant part of the budget is lost, the short one that the loss continues, so
/// that the alert resolves soon after its cause is gone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BurnAlert {
    /// Its windows, such as `1h5m`: unique among the alerts of an objective.
    pub id: &'static str,
    /// How urgent it is.
    pub severity: Severity,
    /// The burn rate above which it fires.
    pub factor: f64,
    /// The window that shows the loss.
    pub long: BurnWindow,
    /// The window that shows that the loss continues.
    pub short: BurnWindow,
    /// How long the rate must stay above the factor before it fires, in milliseconds.
    pub hold_ms: u64,
}

/// The four alerts of every objective: Google, The Site Reliability Workbook (2018), chapter 5,
/// "Multiwindow, Multi-Burn-Rate Alerts", table 5-8. At these factors, 2% (in 1 hour), 5% (6 hours)
/// and 10% (1 day, 3 days) of a budget of 30 days are spent; of a shorter window's budget, more.
/// Tickets must persist for 15 minutes.
pub const BURN_ALERTS: [BurnAlert; 4] = [
    BurnAlert {
        id: "1h5m",
        severity: Severity::Page,
        factor: 14.4,
        long: BurnWindow::OneHour,
        short: BurnWindow::FiveMinutes,
        hold_ms: 0,
    },
    BurnAlert {
        id: "6h30m",
        severity: Severity::Page,
        factor: 6.0,
        long: BurnWindow::SixHours,
        short: BurnWindow::ThirtyMinutes,
        hold_ms: 0,
    },
    BurnAlert {
        id: "1d2h",
        severity: Severity::Ticket,
        factor: 3.0,
        long: BurnWindow::OneDay,
        short: BurnWindow::TwoHours,
        hold_ms: 15 * MINUTE_MS,
    },
    BurnAlert {
        id: "3d6h",
        severity: Severity::Ticket,
        factor: 1.0,
        long: BurnWindow::ThreeDays,
        short: BurnWindow::SixHours,
        hold_ms: 15 * MINUTE_MS,
    },
];

/// The state of an alert. Times are Unix milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    /// The condition does not hold, and did not hold recently.
    #[default]
    Inactive,
    /// The condition holds, but not for long enough.
    Pending {
        /// Since when.
        since_ms: u64,
    },
    /// The condition holds.
    Firing {
        /// Since when it fires.
        since_ms: u64,
    },
    /// It fired, and the condition does not hold any more.
    Resolved {
        /// Since when.
        since_ms: u64,
    },
}

impl AlertState {
    /// The next state, by the rules of Prometheus: as soon as the condition does not hold, a firing
    /// alert resolves and a pending one starts over.
    pub(crate) fn next(self, holds: bool, hold_ms: u64, now_ms: u64) -> Self {
        match (self, holds) {
            // It has not lasted for `hold_ms` yet.
            (Self::Pending { since_ms }, true) if now_ms.saturating_sub(since_ms) < hold_ms => self,
            (Self::Firing { .. }, true) | (Self::Inactive | Self::Resolved { .. }, false) => self,
            (Self::Inactive | Self::Resolved { .. }, true) if hold_ms > 0 => {
                Self::Pending { since_ms: now_ms }
            }
            // Held long enough, or `hold_ms` is 0.
            (_, true) => Self::Firing { since_ms: now_ms },
            (Self::Pending { .. }, false) => Self::Inactive,
            (Self::Firing { .. }, false) => Self::Resolved { since_ms: now_ms },
        }
    }
}

/// An alert that changed its state, with the numbers that led to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AlertChange {
    /// The alert.
    pub alert: &'static BurnAlert,
    /// The state it had.
    pub before: AlertState,
    /// The state it has.
    pub after: AlertState,
    /// The burn in the long window.
    pub long: Burn,
    /// The burn in the short window.
    pub short: Burn,
}

/// The states of the alerts of one objective. Serializable, so that a restart neither loses nor
/// repeats an alert.
///
/// ```
/// use tidegate_observe::{BurnAlerts, Ledger, Objective};
///
/// let slo = Objective { name: "all".into(), ..Objective::default() }.parse()?;
/// let (mut ledger, mut alerts) = (Ledger::default(), BurnAlerts::default());
/// let now_ms = 1_700_000_040_000;
/// // 5 % of the requests of the last hour failed, where 0.1 % may: a burn rate of 50.
/// for minute in 1..=60 {
///     ledger.add(now_ms - minute * 60_000, 95, 100);
/// }
/// let changes = alerts.evaluate(&slo, &ledger, now_ms);
/// assert_eq!(changes[0].alert.id, "1h5m");
/// assert_eq!(changes[0].long.rate.map(f64::round), Some(50.0));
/// assert!(alerts.firing().any(|alert| alert.severity.name() == "page"));
/// # Ok::<(), tidegate_observe::ObjectiveError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BurnAlerts(BTreeMap<String, AlertState>);

impl BurnAlerts {
    /// Evaluates every alert of an objective, and returns those whose state changed. Call it once a
    /// minute, at whole minutes.
    pub fn evaluate(&mut self, slo: &Slo, ledger: &Ledger, now_ms: u64) -> Vec<AlertChange> {
        let mut changes = Vec::new();
        for alert in &BURN_ALERTS {
            let long = Burn::of(slo, ledger, alert.long, now_ms);
            let short = Burn::of(slo, ledger, alert.short, now_ms);
            let before = self.state(alert);
            let after = before.next(alert.holds(slo, long, short), alert.hold_ms, now_ms);
            // Only changes are returned: what follows from a state is sent once.
            if before != after {
                self.0.insert(alert.id.to_owned(), after);
                changes.push(AlertChange {
                    alert,
                    before,
                    after,
                    long,
                    short,
                });
            }
        }
        changes
    }

    /// The state of an alert.
    pub fn state(&self, alert: &BurnAlert) -> AlertState {
        self.0.get(alert.id).copied().unwrap_or_default()
    }

    /// The alerts that fire.
    pub fn firing(&self) -> impl Iterator<Item = &'static BurnAlert> + '_ {
        BURN_ALERTS
            .iter()
            .filter(|alert| matches!(self.state(alert), AlertState::Firing { .. }))
    }
}

impl BurnAlert {
    fn holds(&self, slo: &Slo, long: Burn, short: Burn) -> bool {
        // A few requests prove little: one failure of two would be a burn rate of hundreds.
        let has_enough_requests = long.counts.total >= slo.min_events();
        has_enough_requests && self.is_exceeded_by(long) && self.is_exceeded_by(short)
    }

    fn is_exceeded_by(&self, burn: Burn) -> bool {
        // No rate is no alert: without requests nothing of the budget is spent.
        burn.rate.is_some_and(|rate| rate > self.factor)
    }
}

#[cfg(test)]
mod tests;
