//! The metrics of the console.

use prometheus::IntCounter;
use tidegate_serving::MetricRegistry;

/// Counts the pages of the console that could not be kept up to date.
#[derive(Clone)]
pub(crate) struct ConsoleMetrics {
    refused_streams: IntCounter,
}

impl ConsoleMetrics {
    /// Registers the metrics of the console.
    pub(crate) fn new(registry: &MetricRegistry) -> Self {
        Self {
            refused_streams: registry.counter(
                "tidegate_console_streams_refused_total",
                "Pages of the console that were not kept up to date because `console.max_streams` \
                 were",
            ),
        }
    }

    /// Counts a page that is not kept up to date, because too many are.
    pub(crate) fn stream_refused(&self) {
        self.refused_streams.inc();
    }
}
