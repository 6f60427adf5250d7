//! The metrics of service level objectives.

use prometheus::{GaugeVec, IntGaugeVec};
use tidegate_serving::MetricRegistry;

/// Exposes the error budgets of objectives, their burn rates and alerts.
pub(super) struct SloMetrics {
    budget_remaining: GaugeVec,
    burn_rate: GaugeVec,
    alert_firing: IntGaugeVec,
    freezes_rollouts: IntGaugeVec,
}

impl SloMetrics {
    /// Registers the metrics of objectives.
    pub(super) fn new(registry: &MetricRegistry) -> Self {
        Self {
            budget_remaining: registry.float_gauge_vec(
                "tidegate_slo_error_budget_remaining",
                "Share of an objective's error budget that is left; below 0 if it is overspent",
                &["slo"],
            ),
            burn_rate: registry.float_gauge_vec(
                "tidegate_slo_burn_rate",
                "Burn rate of an objective's error budget over a window; at 1 the budget lasts \
                 exactly for the objective's window",
                &["slo", "window"],
            ),
            alert_firing: registry.gauge_vec(
                "tidegate_slo_alert_firing",
                "Whether an alert of an objective fires, 1 or 0",
                &["slo", "alert", "severity"],
            ),
            freezes_rollouts: registry.gauge_vec(
                "tidegate_slo_freezes_rollouts",
                "Whether rollouts wait because an objective's error budget is used up, 1 or 0",
                &["slo"],
            ),
        }
    }

    /// Sets which share of an objective's error budget is left.
    pub(super) fn set_budget_remaining(&self, slo: &str, share: f64) {
        self.budget_remaining.with_label_values(&[slo]).set(share);
    }

    /// Sets how fast an objective's error budget burns over a window.
    pub(super) fn set_burn_rate(&self, slo: &str, window: &str, rate: f64) {
        self.burn_rate.with_label_values(&[slo, window]).set(rate);
    }

    /// Sets whether an alert of an objective fires.
    pub(super) fn set_alert_firing(&self, slo: &str, alert: &str, severity: &str, is_firing: bool) {
        self.alert_firing
            .with_label_values(&[slo, alert, severity])
            .set(i64::from(is_firing));
    }

    /// Sets whether an objective freezes rollouts.
    pub(super) fn set_freezes_rollouts(&self, slo: &str, is_frozen: bool) {
        self.freezes_rollouts
            .with_label_values(&[slo])
            .set(i64::from(is_frozen));
    }

    /// Removes all objectives from the exposition, before those that are left are set again.
    pub(super) fn reset(&self) {
        self.budget_remaining.reset();
        self.burn_rate.reset();
        self.alert_firing.reset();
        self.freezes_rollouts.reset();
    }
}
