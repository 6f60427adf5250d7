//! The metrics of the models of the registry.

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec};

use crate::metrics::MetricRegistry;

/// The metrics of a [`Fleet`](crate::Fleet). A server that follows no registry has them too, so
/// that dashboards and alert rules are the same for all servers.
pub struct FleetMetrics {
    cold_start_requests: IntCounterVec,
    evictions: IntCounterVec,
    versions: IntGaugeVec,
    memory_budget_bytes: IntGauge,
    memory_charged_bytes: IntGauge,
    registry_reachable: IntGauge,
}

impl FleetMetrics {
    /// Registers the metrics of a fleet.
    pub fn new(registry: &MetricRegistry) -> Self {
        Self {
            cold_start_requests: registry.counter_vec(
                "tidegate_cold_start_requests_total",
                "Requests that waited until their version was loaded",
                &["model"],
            ),
            evictions: registry.counter_vec(
                "tidegate_evictions_total",
                "Versions unloaded to keep within the memory budget",
                &["model"],
            ),
            versions: registry.gauge_vec(
                "tidegate_versions",
                "Versions of the registry, by state",
                &["state"],
            ),
            memory_budget_bytes: registry.gauge(
                "tidegate_memory_budget_bytes",
                "Maximum memory of all versions of the registry together",
            ),
            memory_charged_bytes: registry.gauge(
                "tidegate_memory_charged_bytes",
                "Memory of versions of the registry: measured, or estimated if not measured yet",
            ),
            registry_reachable: registry.gauge(
                "tidegate_registry_reachable",
                "Whether the last attempt to read the registry succeeded, 1 or 0",
            ),
        }
    }

    /// Counts a request that waits until its model is loaded.
    pub(super) fn count_cold_start_request(&self, model: &str) {
        self.cold_start_requests.with_label_values(&[model]).inc();
    }

    /// Counts a version that is unloaded for the memory budget.
    pub(super) fn count_eviction(&self, model: &str) {
        self.evictions.with_label_values(&[model]).inc();
    }

    /// Sets how many versions are in a state.
    pub(super) fn set_versions(&self, state: &str, versions: i64) {
        self.versions.with_label_values(&[state]).set(versions);
    }

    pub(super) fn set_memory_budget(&self, bytes: u64) {
        self.memory_budget_bytes.set(gauge_value(bytes));
    }

    pub(super) fn set_memory_charged(&self, bytes: u64) {
        self.memory_charged_bytes.set(gauge_value(bytes));
    }

    pub(super) fn set_registry_reachable(&self, is_reachable: bool) {
        self.registry_reachable.set(i64::from(is_reachable));
    }

    /// Removes a model that is gone from the exposition.
    pub(super) fn remove_model(&self, model: &str) {
        // An error means that there was nothing to remove.
        let _ = self.cold_start_requests.remove_label_values(&[model]);
        let _ = self.evictions.remove_label_values(&[model]);
    }
}

fn gauge_value(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
