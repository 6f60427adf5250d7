//! How the exchange with the other replicas of a group goes, as metrics.

use prometheus::IntGauge;

use super::{Metrics, Registrar};

/// The metrics of a group of replicas.
pub(super) struct ReplicaMetrics {
    seen: IntGauge,
    is_connected: IntGauge,
    tells_alerts: IntGauge,
}

impl ReplicaMetrics {
    pub(super) fn new(set: &mut Registrar) -> Self {
        Self {
            seen: set.int_gauge(
                "tidegate_replicas",
                "Servers of this one's group that exchanged counts within the last minute; 0 without a group",
            ),
            is_connected: set.int_gauge(
                "tidegate_replicas_connected",
                "Whether the last exchange with the group's database succeeded, 1 or 0; 0 without a group",
            ),
            tells_alerts: set.int_gauge(
                "tidegate_replicas_tells_alerts",
                "Whether this server tells people of the alerts that its whole group has, 1 or 0; 1 without a group",
            ),
        }
    }
}

impl Metrics {
    /// Says how many replicas there are, as of an exchange that succeeded; `None` if it did not.
    pub fn replicas(&self, seen: Option<usize>) {
        self.replicas.is_connected.set(i64::from(seen.is_some()));
        if let Some(seen) = seen {
            self.replicas.seen.set(i64::try_from(seen).unwrap_or(i64::MAX));
        }
    }

    /// Says whether this server tells people of its group's alerts.
    pub fn replica_tells_alerts(&self, tells: bool) {
        self.replicas.tells_alerts.set(i64::from(tells));
    }
}
