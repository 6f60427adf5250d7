//! The metrics of connections.

use prometheus::{IntCounter, IntGaugeVec};
use tidegate_serving::MetricRegistry;

/// Counts the connections of all ports.
#[derive(Clone)]
pub(crate) struct ConnectionMetrics {
    open: IntGaugeVec,
    refused: IntCounter,
    timed_out: IntCounter,
    streams_timed_out: IntCounter,
}

impl ConnectionMetrics {
    /// Registers the metrics of connections.
    pub(crate) fn new(registry: &MetricRegistry) -> Self {
        Self {
            open: registry.gauge_vec(
                "tidegate_open_connections",
                "Open client connections",
                &["protocol"],
            ),
            refused: registry.counter(
                "tidegate_connections_refused_total",
                "Connections closed immediately because all clients, or one client, had too many",
            ),
            timed_out: registry.counter(
                "tidegate_connections_timed_out_total",
                "HTTP/2 connections ended because they were idle",
            ),
            streams_timed_out: registry.counter(
                "tidegate_streams_timed_out_total",
                "HTTP/2 streams reset because their client did not read their answers",
            ),
        }
    }

    /// Counts a connection that opens.
    pub(crate) fn opened(&self, protocol: &str) {
        self.open.with_label_values(&[protocol]).inc();
    }

    /// Counts a connection that closes.
    pub(crate) fn closed(&self, protocol: &str) {
        self.open.with_label_values(&[protocol]).dec();
    }

    /// Counts a connection that was refused.
    pub(crate) fn refused(&self) {
        self.refused.inc();
    }

    /// Counts a connection that was ended because it was idle.
    pub(crate) fn timed_out(&self) {
        self.timed_out.inc();
    }

    /// Counts a stream that was reset because its answer was not read.
    pub(crate) fn stream_timed_out(&self) {
        self.streams_timed_out.inc();
    }
}
