//! The metrics of deliveries of alerts.

use prometheus::IntCounterVec;
use tidegate_serving::MetricRegistry;

/// Counts messages about alerts.
pub(super) struct DeliveryMetrics {
    messages: IntCounterVec,
}

/// The result of a message about alerts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MessageOutcome {
    /// It arrived.
    Ok,
    /// It did not arrive, and is tried again.
    Failed,
    /// It did not arrive, and is not tried again.
    Dropped,
    /// It was not made, because its route has as many as it may have.
    Limited,
}

impl DeliveryMetrics {
    /// Registers the metrics of deliveries.
    pub(super) fn new(registry: &MetricRegistry) -> Self {
        Self {
            messages: registry.counter_vec(
                "tidegate_alert_deliveries_total",
                "Messages about alerts by outcome: ok, failed (retried), dropped, limited",
                &["outcome"],
            ),
        }
    }

    /// Counts a message.
    pub(super) fn count(&self, outcome: MessageOutcome) {
        let name = match outcome {
            MessageOutcome::Ok => "ok",
            MessageOutcome::Failed => "failed",
            MessageOutcome::Dropped => "dropped",
            MessageOutcome::Limited => "limited",
        };
        self.messages.with_label_values(&[name]).inc();
    }
}
