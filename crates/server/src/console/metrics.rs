//! The metrics of the console.

use prometheus::IntCounter;
use tidegate_serving::MetricRegistry;

/// Counts the pages of the console that were refused live updates.
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
                "Pages of the console without live updates, because `console.max_streams` others had \
                 them",
            ),
        }
    }

    /// Counts a page that gets no live updates, because too many pages have them.
    pub(crate) fn stream_refused(&self) {
        self.refused_streams.inc();
    }
}
