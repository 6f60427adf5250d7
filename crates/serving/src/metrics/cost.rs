//! What serving costs, as metrics.

use prometheus::{CounterVec, GaugeVec, IntGaugeVec};

use super::{Metrics, Registrar};

/// The metrics of cost.
pub(super) struct CostMetrics {
    total: CounterVec,
    budget_used: GaugeVec,
    budget_reached: IntGaugeVec,
}

impl CostMetrics {
    pub(super) fn new(set: &mut Registrar) -> Self {
        Self {
            total: set.float_counters(
                "tidegate_cost_total",
                "Cost since the start: `used` by versions, `idle` that nobody used, and `fixed`; together the bill",
                &["currency", "part", "model", "version"],
            ),
            budget_used: set.float_gauges(
                "tidegate_cost_budget_used_ratio",
                "Share of a cost budget that is used up in its day or month; above 1 if it is overspent",
                &["budget"],
            ),
            budget_reached: set.gauges(
                "tidegate_cost_budget_reached",
                "Whether a share of a cost budget at which an alert fires is used up, 1 or 0",
                &["budget", "share"],
            ),
        }
    }
}

impl Metrics {
    /// Adds to what a version has used.
    pub fn cost_used(&self, currency: &str, model: &str, version: &str, units: f64) {
        self.cost
            .total
            .with_label_values(&[currency, "used", model, version])
            .inc_by(units);
    }

    /// Adds to what nobody used, and to what is fixed.
    pub fn cost_shared(&self, currency: &str, idle_units: f64, fixed_units: f64) {
        for (part, units) in [("idle", idle_units), ("fixed", fixed_units)] {
            self.cost
                .total
                .with_label_values(&[currency, part, "", ""])
                .inc_by(units);
        }
    }

    /// Takes a version that uses nothing any more out of the exposition.
    pub fn forget_cost(&self, currency: &str, model: &str, version: &str) {
        // It is no fault if there was nothing to remove.
        let _ = self
            .cost
            .total
            .remove_label_values(&[currency, "used", model, version]);
    }

    /// Says which share of a budget is used up, and which of the shares at which an alert fires are
    /// reached.
    pub fn cost_budget(
        &self,
        budget: &str,
        used_ratio: f64,
        alerts: impl IntoIterator<Item = (f64, bool)>,
    ) {
        self.cost
            .budget_used
            .with_label_values(&[budget])
            .set(used_ratio);
        for (share, is_reached) in alerts {
            let share = share.to_string();
            self.cost
                .budget_reached
                .with_label_values(&[budget, &share])
                .set(i64::from(is_reached));
        }
    }
}
