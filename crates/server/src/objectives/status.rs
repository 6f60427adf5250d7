//! The present status of objectives: as figures, as gauges, as alerts, over time.

use tidegate_observe::alerting::{Alert, Links, RESOLVED_RETENTION_MS};
use tidegate_observe::{
    AlertState, BURN_ALERTS, BudgetAt, BurnAlert, BurnWindow, Slo, SloStatus, burn_down,
};

use super::Objectives;
use super::persisted::PersistedState;
use crate::clock::now_ms;

/// The status of an objective.
pub(crate) struct Status {
    pub(crate) slo: Slo,
    pub(crate) slo_status: SloStatus,
    pub(crate) alerts: Vec<(&'static BurnAlert, AlertState)>,
    /// Since when rollouts wait for its budget.
    pub(crate) frozen_since_ms: Option<u64>,
}

impl Objectives {
    /// The present status of each objective.
    pub(crate) fn status(&self) -> Vec<Status> {
        self.status_at(now_ms())
    }

    /// The remaining budgets of an endpoint's objectives, and of those of all endpoints, over time.
    pub(crate) fn burn_downs(
        &self,
        endpoint: &str,
        since_ms: u64,
        now_ms: u64,
        step_ms: u64,
    ) -> Vec<(Slo, Vec<BudgetAt>)> {
        let slos = self.slos();
        let mut state = self.state.lock();
        let mut burn_downs = Vec::new();
        for slo in slos.iter() {
            if slo.endpoint().is_none_or(|own| own == endpoint) {
                let counted = state.of(slo).counted.all();
                let points = burn_down(slo, &counted, since_ms, now_ms, step_ms);
                burn_downs.push((slo.clone(), points));
            }
        }
        burn_downs
    }

    /// The alerts of all objectives that are pending, firing, or were resolved not long ago.
    pub(crate) fn alerts(&self, links: &Links, now_ms: u64) -> Vec<Alert> {
        let mut alerts = Vec::new();
        for status in self.status_at(now_ms) {
            for (alert, state) in &status.alerts {
                if !is_old(*state, now_ms) {
                    let (slo, slo_status) = (&status.slo, &status.slo_status);
                    alerts.extend(Alert::of_burn(slo, alert, *state, slo_status, links));
                }
            }
        }
        alerts
    }

    /// Sets the gauges to the status at a moment.
    pub(super) fn expose(&self, now_ms: u64) {
        let metrics = &self.metrics;
        for status in self.status_at(now_ms) {
            let (name, slo_status) = (status.slo.name(), &status.slo_status);
            metrics.set_budget_remaining(name, slo_status.budget_remaining);
            metrics.set_freezes_rollouts(name, status.frozen_since_ms.is_some());
            for (window, burn) in BurnWindow::ALL.iter().zip(&slo_status.burns) {
                // A gauge needs a value; without requests nothing burns.
                metrics.set_burn_rate(name, window.name(), burn.rate.unwrap_or(0.0));
            }
            for (alert, state) in status.alerts {
                let is_firing = matches!(state, AlertState::Firing { .. });
                metrics.set_alert_firing(name, alert.id, alert.severity.name(), is_firing);
            }
        }
    }

    fn status_at(&self, now_ms: u64) -> Vec<Status> {
        let slos = self.slos();
        let mut state = self.state.lock();
        slos.iter()
            .map(|slo| Status::of(slo, &mut state, now_ms))
            .collect()
    }
}

impl Status {
    fn of(slo: &Slo, state: &mut PersistedState, now_ms: u64) -> Self {
        let own = state.of(slo);
        let alerts = BURN_ALERTS
            .iter()
            .map(|alert| (alert, own.alerts.state(alert)));
        Self {
            slo: slo.clone(),
            slo_status: SloStatus::of(slo, &own.counted.all(), now_ms),
            alerts: alerts.collect(),
            frozen_since_ms: own.freeze.since_ms(),
        }
    }
}

/// Whether an alert was resolved too long ago to be shown.
fn is_old(state: AlertState, now_ms: u64) -> bool {
    match state {
        AlertState::Resolved { since_ms } => {
            now_ms.saturating_sub(since_ms) > RESOLVED_RETENTION_MS
        }
        _ => false,
    }
}
