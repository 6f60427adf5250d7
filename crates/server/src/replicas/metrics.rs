//! The metrics of the exchange with the other replicas of a group.

use prometheus::IntGaugeVec;
use tidegate_serving::MetricRegistry;

/// Exposes the state of the exchange; a server without a group has no series of it.
pub(crate) struct ReplicaMetrics {
    seen: IntGaugeVec,
    is_connected: IntGaugeVec,
    tells_alerts: IntGaugeVec,
}

impl ReplicaMetrics {
    /// Registers the metrics of replicas.
    pub(crate) fn new(registry: &MetricRegistry) -> Self {
        Self {
            seen: registry.gauge_vec(
                "tidegate_replicas",
                "Servers of the group that exchanged counts in the last minute, as seen at this \
                 server's last exchange",
                &["group"],
            ),
            is_connected: registry.gauge_vec(
                "tidegate_replicas_connected",
                "Whether the last exchange with the group's database succeeded, 1 or 0",
                &["group"],
            ),
            tells_alerts: registry.gauge_vec(
                "tidegate_replicas_tells_alerts",
                "Whether this server sends the alerts of its whole group, 1 or 0",
                &["group"],
            ),
        }
    }

    /// Sets the result of the last exchange of a group: how many replicas there are (`None` if it
    /// failed), and whether this one sends the group's alerts.
    pub(super) fn set_exchange(&self, group: &str, seen: Option<usize>, tells_alerts: bool) {
        let labels = &[group];
        self.is_connected
            .with_label_values(labels)
            .set(i64::from(seen.is_some()));
        // After a failed exchange the last known number stays.
        if let Some(seen) = seen {
            let seen = i64::try_from(seen).unwrap_or(i64::MAX);
            self.seen.with_label_values(labels).set(seen);
        }
        self.tells_alerts
            .with_label_values(labels)
            .set(i64::from(tells_alerts));
    }
}
