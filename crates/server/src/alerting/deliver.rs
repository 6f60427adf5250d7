//! Delivery: each route by itself, so that a failing one does not delay the others.

use std::sync::Arc;
use std::time::Duration;

use tidegate_observe::alerting::{Message, Route};
use tracing::{debug, warn};

use super::metrics::MessageOutcome;
use super::receiver::{Alertmanager, MessageReceiver, Receiver, Undelivered};
use super::{Alerting, State};
use crate::clock::now_ms;

/// How often an Alertmanager is sent alerts that still fire; it resolves those that it was not sent
/// for five minutes.
const REFRESH_MS: u64 = 60_000;
/// How long after a failure an Alertmanager is tried again.
const RETRY_MS: u64 = 10_000;

impl Alerting {
    /// Delivers the messages of one route until it is dropped.
    pub(super) async fn deliver(self: Arc<Self>, route: usize) {
        let (route, receiver) = &self.plan.routes[route];
        match receiver {
            Receiver::Alertmanager(alertmanager) => self.refresh(route, alertmanager).await,
            Receiver::Messages(receiver) => self.empty_outbox(route, &**receiver).await,
        }
    }

    /// Sends the messages of a route as they become due.
    async fn empty_outbox(&self, route: &Route, receiver: &dyn MessageReceiver) {
        let mut evaluated = self.evaluated.subscribe();
        loop {
            let Some((next_ms, message)) = self.next_message(&route.name) else {
                // This cannot fail: `self` has the sender.
                drop(evaluated.changed().await);
                continue;
            };
            let now_ms = now_ms();
            if next_ms > now_ms {
                let wait = Duration::from_millis(next_ms - now_ms);
                // Meanwhile another message may become due earlier.
                let _ = tokio::time::timeout(wait, evaluated.changed()).await;
            } else {
                self.send(receiver, &message).await;
            }
        }
    }

    /// The next message of a route, and when it is due.
    fn next_message(&self, route: &str) -> Option<(u64, Message)> {
        let state = self.state.lock();
        let pending = state.persisted.outbox.next(route)?;
        Some((pending.next_ms, pending.message.clone()))
    }

    async fn send(&self, receiver: &dyn MessageReceiver, message: &Message) {
        let outcome = receiver.send(&self.http, message).await;
        self.record_outcome(message, outcome);
        // At once: a restart must not send again what was delivered.
        self.persist().await;
    }

    fn record_outcome(&self, message: &Message, outcome: Result<(), Undelivered>) {
        let (now_ms, metrics) = (now_ms(), &self.metrics);
        let mut state = self.state.lock();
        let State {
            persisted,
            deliveries,
            ..
        } = &mut *state;
        match outcome {
            Ok(()) => {
                metrics.count(MessageOutcome::Ok);
                debug!(
                    route = message.route,
                    id = message.id,
                    "a message about alerts was delivered"
                );
                persisted.outbox.remove(&message.id);
                deliveries.arrived(&message.route, now_ms);
            }
            Err(Undelivered::Later { reason, wait_ms }) => {
                metrics.count(MessageOutcome::Failed);
                warn!(
                    route = message.route,
                    reason, "alerts could not be delivered: trying again"
                );
                deliveries.failed(&message.route, &reason, now_ms);
                persisted.outbox.retry(&message.id, now_ms, wait_ms);
            }
            Err(Undelivered::Never { reason }) => {
                deliveries.failed(&message.route, &reason, now_ms);
                // It may have been dropped meanwhile, for its age.
                if persisted.outbox.remove(&message.id).is_some() {
                    self.dropped(message, &reason, now_ms);
                }
            }
        }
    }

    /// Sends an Alertmanager its alerts whenever they have changed, and once a minute otherwise.
    async fn refresh(&self, route: &Route, alertmanager: &Alertmanager) {
        let mut evaluated = self.evaluated.subscribe();
        let (mut sent, mut next_ms) = (Vec::new(), 0);
        loop {
            drop(evaluated.changed().await);
            let now_ms = now_ms();
            let triaged = self.alerts();
            let alerts = alertmanager.alerts(route, &triaged, now_ms);
            // Numbers in descriptions change all the time: what counts is which alerts there are,
            // and in what state.
            let states: Vec<_> = alerts
                .iter()
                .map(|alert| (alert.fingerprint(), alert.state))
                .collect();
            if alerts.is_empty() || now_ms < next_ms && sent == states {
                continue;
            }
            let outcome = alertmanager.send(&self.http, &alerts).await;
            let wait_ms = if outcome.is_ok() {
                REFRESH_MS
            } else {
                RETRY_MS
            };
            (sent, next_ms) = (states, now_ms + wait_ms);
            self.record_refresh(route, outcome, now_ms);
        }
    }

    fn record_refresh(&self, route: &Route, outcome: Result<(), Undelivered>, now_ms: u64) {
        let metrics = &self.metrics;
        match outcome {
            Ok(()) => {
                metrics.count(MessageOutcome::Ok);
                self.state.lock().deliveries.arrived(&route.name, now_ms);
            }
            Err(Undelivered::Later { reason, .. } | Undelivered::Never { reason }) => {
                metrics.count(MessageOutcome::Failed);
                warn!(
                    route = route.name,
                    reason, "alerts could not be sent to an Alertmanager: trying again"
                );
                let deliveries = &mut self.state.lock().deliveries;
                deliveries.failed(&route.name, &reason, now_ms);
            }
        }
    }
}
