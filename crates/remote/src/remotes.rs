//! What the rest of the process sees of all remote versions: events and metrics.

use std::collections::{BTreeMap, VecDeque};
use std::sync::OnceLock;

use parking_lot::Mutex;
use prometheus::{IntCounterVec, IntGaugeVec};
use serde_json::Value;
use tokio::sync::Notify;

/// Events that nobody takes are dropped, the oldest first.
const MAX_EVENTS: usize = 1000;

/// The events of all remote versions, and where they count.
#[derive(Default)]
pub struct Remotes {
    events: Mutex<VecDeque<RemoteEvent>>,
    has_events: Notify,
    metrics: OnceLock<RemoteMetrics>,
    /// Versions without a server that works, by model and version, and why.
    outages: Mutex<BTreeMap<(String, String), String>>,
}

/// Something that changed: a breaker, or a server of a version.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteEvent {
    /// What happened, such as `remote.breaker_opened`.
    pub name: &'static str,
    /// The model.
    pub model: String,
    /// Its version.
    pub version: String,
    /// The numbers that led to it.
    pub fields: Vec<(&'static str, Value)>,
}

/// The metrics of remote versions. Labels are in the order of the comments.
#[derive(Clone)]
pub struct RemoteMetrics {
    /// Attempts by model, version, address and outcome.
    pub attempts: IntCounterVec,
    /// Attempts under way, by model, version and address.
    pub in_flight: IntGaugeVec,
    /// Further attempts by model, version and kind, `retry` or `hedge`.
    pub retries: IntCounterVec,
    /// Further attempts that the budget did not allow, by model, version and kind.
    pub retries_refused: IntCounterVec,
    /// Whether a server gets requests, by model, version and address.
    pub address_up: IntGaugeVec,
    /// Ejections by model, version and address.
    pub ejections: IntCounterVec,
    /// 0 closed, 1 half open, 2 open, by model and version.
    pub breaker_state: IntGaugeVec,
    /// Changes of the breaker by model, version and new state.
    pub breaker_changes: IntCounterVec,
}

impl Remotes {
    /// From now on these metrics are counted. Only the first call has an effect.
    pub fn set_metrics(&self, metrics: RemoteMetrics) {
        // A second server in one process counts with the first one's.
        let _ = self.metrics.set(metrics);
    }

    pub(crate) fn metrics(&self) -> Option<&RemoteMetrics> {
        self.metrics.get()
    }

    pub(crate) fn add(&self, event: RemoteEvent) {
        let mut events = self.events.lock();
        if events.len() == MAX_EVENTS {
            events.pop_front();
        }
        events.push_back(event);
        drop(events);
        self.has_events.notify_one();
    }

    /// The versions that no server answers for, in words for operators: they have addresses.
    pub fn problems(&self) -> Vec<String> {
        let outages = self.outages.lock();
        let problems = outages
            .iter()
            .map(|((model, version), why)| format!("{model}:{version} gets no answers: {why}"));
        problems.collect()
    }

    /// Notes why no server of a version works, or that one does.
    pub(crate) fn set_outage(&self, model: &str, version: &str, why: Option<String>) {
        let version = (model.to_owned(), version.to_owned());
        let mut outages = self.outages.lock();
        match why {
            Some(why) => drop(outages.insert(version, why)),
            None => drop(outages.remove(&version)),
        }
    }

    /// The next events, once there are some.
    pub async fn next_events(&self) -> Vec<RemoteEvent> {
        loop {
            let events: Vec<RemoteEvent> = self.events.lock().drain(..).collect();
            if !events.is_empty() {
                return events;
            }
            self.has_events.notified().await;
        }
    }
}

impl std::fmt::Debug for Remotes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Remotes with {} events", self.events.lock().len())
    }
}
