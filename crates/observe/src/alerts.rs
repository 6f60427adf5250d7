//! Alerts on burn rates, and what state each is in.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::burn::{Burn, BurnWindow};
use crate::ledger::Ledger;
use crate::slo::Slo;
use crate::window::MINUTE_MS;

/// How soon someone must look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Now.
    Page,
    /// In working hours.
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

/// One alert: it fires if the burn rate is above `factor` in both windows. The long one says that
/// much was lost, the short one that it goes on, so that the alert ends soon after its cause.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BurnAlert {
    /// Its windows, such as `1h5m`: what tells it from the others of an objective.
    pub id: &'static str,
    /// How soon someone must look.
    pub severity: Severity,
    /// The burn rate above which it fires.
    pub factor: f64,
    /// The window that must have lost much.
    pub long: BurnWindow,
    /// The window in which it must go on.
    pub short: BurnWindow,
    /// How long both must hold before it fires, in milliseconds.
    pub hold_ms: u64,
}

/// The four alerts of every objective: Google, The Site Reliability Workbook (2018), chapter 5,
/// "Multiwindow, Multi-Burn-Rate Alerts", table 5-8, where they spend 2% (in 1 hour), 5% (6 hours)
/// and 10% (1 day, 3 days) of a budget of 30 days. Of a shorter one they spend more. Tickets must
/// hold for 15 minutes.
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
    /// Nothing is wrong, and nothing was.
    #[default]
    Inactive,
    /// Its condition holds, but not for long enough.
    Pending {
        /// Since when.
        since_ms: u64,
    },
    /// Its condition holds.
    Firing {
        /// Since when it fires.
        since_ms: u64,
    },
    /// It fired, and its condition holds no longer.
    Resolved {
        /// Since when.
        since_ms: u64,
    },
}

impl AlertState {
    /// The next state, by Prometheus's rules: a condition that does not hold ends the state at
    /// once.
    pub(crate) fn next(self, holds: bool, hold_ms: u64, now_ms: u64) -> Self {
        match (self, holds) {
            (Self::Pending { since_ms }, true) if now_ms.saturating_sub(since_ms) < hold_ms => self,
            (Self::Firing { .. }, true) | (Self::Inactive | Self::Resolved { .. }, false) => self,
            (Self::Inactive | Self::Resolved { .. }, true) if hold_ms > 0 => {
                Self::Pending { since_ms: now_ms }
            }
            (_, true) => Self::Firing { since_ms: now_ms },
            (Self::Pending { .. }, false) => Self::Inactive,
            (Self::Firing { .. }, false) => Self::Resolved { since_ms: now_ms },
        }
    }
}

/// An alert that changed its state, with the numbers that made it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AlertChange {
    /// Which.
    pub alert: &'static BurnAlert,
    /// The state it had.
    pub before: AlertState,
    /// The state it has.
    pub after: AlertState,
    /// What burnt in the long window.
    pub long: Burn,
    /// What burnt in the short window.
    pub short: Burn,
}

/// The states of an objective's alerts. Serializable, so that a restart neither forgets nor repeats
/// an alert.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BurnAlerts(BTreeMap<String, AlertState>);

impl BurnAlerts {
    /// Looks at every alert of an objective, and says which changed. To be called once a minute, at
    /// whole minutes.
    pub fn evaluate(&mut self, slo: &Slo, ledger: &Ledger, now_ms: u64) -> Vec<AlertChange> {
        let mut changes = Vec::new();
        for alert in &BURN_ALERTS {
            let long = Burn::of(slo, ledger, alert.long, now_ms);
            let short = Burn::of(slo, ledger, alert.short, now_ms);
            let before = self.state(alert);
            let after = before.next(alert.holds(slo, long, short), alert.hold_ms, now_ms);
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
        let above = |burn: Burn| burn.rate.is_some_and(|rate| rate > self.factor);
        above(long) && above(short) && long.counts.total >= slo.min_events()
    }
}

#[cfg(test)]
mod tests;
