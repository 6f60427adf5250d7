//! The metric of readiness.

use prometheus::IntGauge;
use tidegate_serving::MetricRegistry;

/// Shows whether the server is ready for traffic.
#[derive(Clone)]
pub(crate) struct ReadinessMetrics {
    ready: IntGauge,
}

impl ReadinessMetrics {
    /// Registers the metric.
    pub(crate) fn new(registry: &MetricRegistry) -> Self {
        Self {
            ready: registry.gauge(
                "tidegate_ready",
                "Whether the server is ready for traffic, 1 or 0",
            ),
        }
    }

    /// Sets whether the server is ready.
    pub(crate) fn set(&self, is_ready: bool) {
        self.ready.set(i64::from(is_ready));
    }
}
