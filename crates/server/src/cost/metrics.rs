//! The metrics of cost.

use prometheus::{CounterVec, GaugeVec, IntGaugeVec};
use tidegate_serving::MetricRegistry;

/// Exposes what serving costs and how far budgets are used up.
pub(super) struct CostMetrics {
    total: CounterVec,
    budget_used: GaugeVec,
    budget_reached: IntGaugeVec,
}

impl CostMetrics {
    /// Registers the metrics of cost; there are series only if cost is counted.
    pub(super) fn new(registry: &MetricRegistry) -> Self {
        Self {
            total: registry.float_counter_vec(
                "tidegate_cost_total",
                "Cost since the start, by part: `used` by versions, `idle` (not used), and `fixed`; \
                 the sum is the bill",
                &["currency", "part", "model", "version"],
            ),
            budget_used: registry.float_gauge_vec(
                "tidegate_cost_budget_used_ratio",
                "Share of a cost budget that is used up in its day or month; above 1 if it is \
                 overspent",
                &["budget"],
            ),
            budget_reached: registry.gauge_vec(
                "tidegate_cost_budget_reached",
                "Whether spending reached this share of a cost budget, 1 or 0",
                &["budget", "share"],
            ),
        }
    }

    /// Adds to the cost that a version has used.
    pub(super) fn add_used(&self, currency: &str, model: &str, version: &str, units: f64) {
        let labels = &[currency, "used", model, version];
        self.total.with_label_values(labels).inc_by(units);
    }

    /// Adds to the cost of unused capacity, and to the fixed cost.
    pub(super) fn add_shared(&self, currency: &str, idle_units: f64, fixed_units: f64) {
        for (part, units) in [("idle", idle_units), ("fixed", fixed_units)] {
            let labels = &[currency, part, "", ""];
            self.total.with_label_values(labels).inc_by(units);
        }
    }

    /// Removes a version that uses nothing any more from the exposition.
    pub(super) fn remove_version(&self, currency: &str, model: &str, version: &str) {
        let labels = &[currency, "used", model, version];
        // An error means that there was nothing to remove.
        let _ = self.total.remove_label_values(labels);
    }

    /// Sets which share of a budget is used up, and which of the shares at which an alert fires are
    /// reached.
    pub(super) fn set_budget(
        &self,
        budget: &str,
        used_ratio: f64,
        alerts: impl IntoIterator<Item = (f64, bool)>,
    ) {
        self.budget_used
            .with_label_values(&[budget])
            .set(used_ratio);
        for (share, is_reached) in alerts {
            self.budget_reached
                .with_label_values(&[budget, &share.to_string()])
                .set(i64::from(is_reached));
        }
    }
}
