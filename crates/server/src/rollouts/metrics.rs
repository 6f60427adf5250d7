//! The metrics of rollouts.

use prometheus::{GaugeVec, IntGaugeVec};
use tidegate_delivery::policy::PARTS;
use tidegate_serving::MetricRegistry;

use super::persisted::{PersistedRollouts, target};

pub(super) struct RolloutMetrics {
    weight: GaugeVec,
    rolled_back: IntGaugeVec,
}

impl RolloutMetrics {
    pub(super) fn new(registry: &MetricRegistry) -> Self {
        Self {
            weight: registry.float_gauge_vec(
                "tidegate_rollout_weight",
                "The share of requests that the new version of a rollout answers, from 0 to 1",
                &["endpoint", "version"],
            ),
            rolled_back: registry.gauge_vec(
                "tidegate_rollout_rolled_back",
                "1 for an hour after a rollout took the traffic of a version back by itself",
                &["endpoint", "version"],
            ),
        }
    }

    /// Shows the state. One server alone says that a version was taken back: one alert is enough.
    pub(super) fn show(&self, persisted: &PersistedRollouts, is_leader: bool, now_ms: u64) {
        self.weight.reset();
        for rollout in &persisted.rollouts.active {
            let target = target(rollout);
            let labels = [target.endpoint.as_str(), target.to.as_str()];
            let parts = f64::from(rollout.traffic().answers.parts());
            let weight = parts / f64::from(PARTS);
            self.weight.with_label_values(&labels).set(weight);
        }
        self.rolled_back.reset();
        let shown = persisted.rolled_back.iter();
        for (endpoint, bad) in shown.filter(|(_, bad)| is_leader && bad.is_shown(now_ms)) {
            let labels = [endpoint.as_str(), bad.version.as_str()];
            self.rolled_back.with_label_values(&labels).set(1);
        }
    }
}
