//! How the exchange with the other replicas of a group goes, as metrics.

use prometheus::IntGaugeVec;

use super::{Metrics, Registrar};

/// The metrics of a group of replicas; a server that is alone has none of them.
pub(super) struct ReplicaMetrics {
    seen: IntGaugeVec,
    is_connected: IntGaugeVec,
    tells_alerts: IntGaugeVec,
}

impl ReplicaMetrics {
    pub(super) fn new(set: &mut Registrar) -> Self {
        Self {
            seen: set.gauges(
                "tidegate_replicas",
                "Servers of this one's group that exchanged counts within a minute, as of its last exchange",
                &["group"],
            ),
            is_connected: set.gauges(
                "tidegate_replicas_connected",
                "Whether the last exchange with the group's database succeeded, 1 or 0",
                &["group"],
            ),
            tells_alerts: set.gauges(
                "tidegate_replicas_tells_alerts",
                "Whether this server tells people of the alerts that its whole group has, 1 or 0",
                &["group"],
            ),
        }
    }
}

impl Metrics {
    /// Says how the last exchange of a group went: how many replicas there are (`None` if it
    /// failed), and whether this one tells people of the group's alerts.
    pub fn replicas(&self, group: &str, seen: Option<usize>, tells_alerts: bool) {
        self.replicas
            .is_connected
            .with_label_values(&[group])
            .set(i64::from(seen.is_some()));
        if let Some(seen) = seen {
            self.replicas
                .seen
                .with_label_values(&[group])
                .set(i64::try_from(seen).unwrap_or(i64::MAX));
        }
        self.replicas
            .tells_alerts
            .with_label_values(&[group])
            .set(i64::from(tells_alerts));
    }
}
