//! Delivery: each route by itself, so that one that is down holds up no other.

use std::sync::Arc;
use std::time::Duration;

use tidegate_observe::alerting::{Message, Route};
use tokio::sync::watch;
use tracing::{debug, warn};

use super::Alerting;
use super::metrics::MessageOutcome;
use super::receiver::{Alertmanager, MessageReceiver, Receiver, Undelivered};
use crate::clock::now_ms;

/// How often an Alertmanager hears of what still fires; it forgets what it has not heard of for
/// five minutes.
const REFRESH_MS: u64 = 60_000;
/// How long after a failure an Alertmanager is tried again.
const RETRY_MS: u64 = 10_000;

impl Alerting {
    /// Delivers what is for one route until it is dropped.
    pub(super) async fn deliver(self: Arc<Self>, route: usize) {
        let (route, receiver) = &self.plan.routes[route];
        match receiver {
            Receiver::Alertmanager(alertmanager) => self.refresh(route, alertmanager).await,
            Receiver::Messages(receiver) => self.empty_outbox(route, receiver).await,
        }
    }

    async fn empty_outbox(&self, route: &Route, receiver: &MessageReceiver) {
        let mut looked = self.looked.subscribe();
        loop {
            let next = {
                let state = self.state.lock();
                state
                    .kept
                    .outbox
                    .next(&route.name)
                    .map(|pending| (pending.next_ms, pending.message.clone()))
            };
            match next {
                None => drop(looked.changed().await),
                Some((next_ms, message)) => {
                    let now_ms = now_ms();
                    if next_ms > now_ms {
                        wait(&mut looked, next_ms - now_ms).await;
                    } else {
                        self.send(receiver, &message).await;
                    }
                }
            }
        }
    }

    async fn send(&self, receiver: &MessageReceiver, message: &Message) {
        let outcome = receiver.send(&self.http, message).await;
        {
            let now_ms = now_ms();
            let mut state = self.state.lock();
            let state = &mut *state;
            match outcome {
                Ok(()) => {
                    self.metrics.count(MessageOutcome::Ok);
                    debug!(
                        route = message.route,
                        id = message.id,
                        "a message about alerts has arrived"
                    );
                    state.kept.outbox.remove(&message.id);
                    state.deliveries.arrived(&message.route, now_ms);
                }
                Err(Undelivered::Later { reason, wait_ms }) => {
                    self.metrics.count(MessageOutcome::Failed);
                    warn!(
                        route = message.route,
                        reason, "alerts could not be delivered: tried again"
                    );
                    state.deliveries.failed(&message.route, &reason, now_ms);
                    state.kept.outbox.retry(&message.id, now_ms, wait_ms);
                }
                Err(Undelivered::Never { reason }) => {
                    state.deliveries.failed(&message.route, &reason, now_ms);
                    if state.kept.outbox.remove(&message.id).is_some() {
                        self.given_up(&mut state.events, message, &reason, now_ms);
                    }
                }
            }
        }
        self.keep().await;
    }

    /// Tells an Alertmanager whenever something has changed, and once a minute what has not.
    async fn refresh(&self, route: &Route, alertmanager: &Alertmanager) {
        let mut looked = self.looked.subscribe();
        let (mut told, mut next_ms) = (Vec::new(), 0);
        loop {
            drop(looked.changed().await);
            let now_ms = now_ms();
            let triaged = self.alerts();
            let alerts = alertmanager.told(route, &triaged, now_ms);
            // Numbers in descriptions change all the time: what counts is which alerts there are,
            // and in what state.
            let essence: Vec<_> = alerts
                .iter()
                .map(|alert| (alert.fingerprint(), alert.state))
                .collect();
            if alerts.is_empty() || now_ms < next_ms && told == essence {
                continue;
            }
            let sent = alertmanager.send(&self.http, &alerts).await;
            match sent {
                Ok(()) => {
                    self.metrics.count(MessageOutcome::Ok);
                    self.state.lock().deliveries.arrived(&route.name, now_ms);
                    (told, next_ms) = (essence, now_ms + REFRESH_MS);
                }
                Err(Undelivered::Later { reason, .. } | Undelivered::Never { reason }) => {
                    self.metrics.count(MessageOutcome::Failed);
                    warn!(
                        route = route.name,
                        reason, "an Alertmanager could not be told of alerts: tried again"
                    );
                    self.state
                        .lock()
                        .deliveries
                        .failed(&route.name, &reason, now_ms);
                    (told, next_ms) = (essence, now_ms + RETRY_MS);
                }
            }
        }
    }
}

/// Waits so long, or until there is something new.
async fn wait(looked: &mut watch::Receiver<u64>, ms: u64) {
    let _ = tokio::time::timeout(Duration::from_millis(ms), looked.changed()).await;
}
