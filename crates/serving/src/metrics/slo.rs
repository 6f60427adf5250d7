//! How the service level objectives stand, as metrics.

use prometheus::{GaugeVec, IntGaugeVec};

use super::{Metrics, Registrar};

/// The metrics of objectives.
pub(super) struct SloMetrics {
    budget_remaining: GaugeVec,
    burn_rate: GaugeVec,
    alert_firing: IntGaugeVec,
    freezes_rollouts: IntGaugeVec,
}

impl SloMetrics {
    pub(super) fn new(set: &mut Registrar) -> Self {
        Self {
            budget_remaining: set.float_gauges(
                "tidegate_slo_error_budget_remaining",
                "Share of an objective's error budget that is left; below 0 if it is overspent",
                &["slo"],
            ),
            burn_rate: set.float_gauges(
                "tidegate_slo_burn_rate",
                "Burn rate of an objective's error budget over a window; 1 spends it in the objective's own window",
                &["slo", "window"],
            ),
            alert_firing: set.gauges(
                "tidegate_slo_alert_firing",
                "Whether an alert of an objective fires, 1 or 0",
                &["slo", "alert", "severity"],
            ),
            freezes_rollouts: set.gauges(
                "tidegate_slo_freezes_rollouts",
                "Whether rollouts wait because an objective's error budget is spent, 1 or 0",
                &["slo"],
            ),
        }
    }
}

impl Metrics {
    /// Says what is left of an objective's error budget.
    pub fn slo_budget_remaining(&self, slo: &str, share: f64) {
        self.slo
            .budget_remaining
            .with_label_values(&[slo])
            .set(share);
    }

    /// Says how fast an objective's error budget burns over a window.
    pub fn slo_burn_rate(&self, slo: &str, window: &str, rate: f64) {
        self.slo
            .burn_rate
            .with_label_values(&[slo, window])
            .set(rate);
    }

    /// Says whether an alert of an objective fires.
    pub fn slo_alert_firing(&self, slo: &str, alert: &str, severity: &str, is_firing: bool) {
        self.slo
            .alert_firing
            .with_label_values(&[slo, alert, severity])
            .set(i64::from(is_firing));
    }

    /// Says whether an objective holds rollouts.
    pub fn slo_freezes_rollouts(&self, slo: &str, is_frozen: bool) {
        self.slo
            .freezes_rollouts
            .with_label_values(&[slo])
            .set(i64::from(is_frozen));
    }

    /// Takes objectives out of the exposition; those that are left are said again.
    pub fn forget_slos(&self) {
        self.slo.budget_remaining.reset();
        self.slo.burn_rate.reset();
        self.slo.alert_firing.reset();
        self.slo.freezes_rollouts.reset();
    }
}
