//! Metrics of data sets.

use prometheus::{IntCounter, IntGauge};
use tidegate_serving::MetricRegistry;

/// The metrics of data sets.
pub(super) struct DatasetMetrics {
    disk: IntGauge,
    pub(super) refused: IntCounter,
}

impl DatasetMetrics {
    pub(super) fn new(registry: &MetricRegistry) -> Self {
        Self {
            disk: registry.gauge(
                "tidegate_dataset_disk_bytes",
                "What the files of data sets take",
            ),
            refused: registry.counter(
                "tidegate_datasets_refused_total",
                "Data sets that were not made because all would take more than `datasets.max_disk_bytes`",
            ),
        }
    }

    pub(super) fn set_disk(&self, bytes: u64) {
        self.disk.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}
