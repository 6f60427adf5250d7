//! The state of delivery, by route.

use std::collections::BTreeMap;

/// The results of deliveries since the process began, by the names of routes.
#[derive(Debug, Default)]
pub(super) struct Deliveries(BTreeMap<String, Delivery>);

/// The results of deliveries on one route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// When a message last arrived, in Unix milliseconds.
    pub(crate) arrived_ms: Option<u64>,
    /// Since when none has arrived, and why the last one did not; `None` while they arrive.
    pub(crate) failing: Option<Failing>,
}

/// Why messages do not arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failing {
    /// When the first one did not, in Unix milliseconds.
    pub(crate) since_ms: u64,
    /// The last reason, which names no secret.
    pub(crate) reason: String,
}

impl Deliveries {
    /// A message of a route has arrived.
    pub(super) fn arrived(&mut self, route: &str, now_ms: u64) {
        self.0.insert(
            route.to_owned(),
            Delivery {
                arrived_ms: Some(now_ms),
                failing: None,
            },
        );
    }

    /// A message of a route has not arrived.
    pub(super) fn failed(&mut self, route: &str, reason: &str, now_ms: u64) {
        let delivery = self.0.entry(route.to_owned()).or_default();
        // The first failure since the last success: how long it lasts is what matters.
        let since_ms = delivery
            .failing
            .as_ref()
            .map_or(now_ms, |failing| failing.since_ms);
        delivery.failing = Some(Failing {
            since_ms,
            reason: reason.to_owned(),
        });
    }

    /// The state of delivery on a route.
    pub(super) fn of(&self, route: &str) -> Delivery {
        self.0.get(route).cloned().unwrap_or_default()
    }
}

/// The status of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RouteStatus {
    pub(crate) name: String,
    /// The kind of its receiver: the key in the configuration.
    pub(crate) receiver: &'static str,
    /// Messages that have not arrived.
    pub(crate) waiting: usize,
    pub(crate) delivery: Delivery,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_fails_since_its_first_failure_until_a_message_arrives() {
        let mut deliveries = Deliveries::default();
        assert_eq!(deliveries.of("a"), Delivery::default());
        deliveries.failed("a", "refused", 1);
        deliveries.failed("a", "timeout", 2);
        let failing = Failing {
            since_ms: 1,
            reason: "timeout".to_owned(),
        };
        assert_eq!(
            deliveries.of("a"),
            Delivery {
                arrived_ms: None,
                failing: Some(failing)
            }
        );
        assert_eq!(deliveries.of("b"), Delivery::default());
        deliveries.arrived("a", 3);
        assert_eq!(
            deliveries.of("a"),
            Delivery {
                arrived_ms: Some(3),
                failing: None
            }
        );
    }
}
