//! Events: what happened on a server, with the numbers that led to it.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Maximum number of events in the log.
pub const MAX_EVENTS: usize = 1000;
/// Maximum length of a text of an event, in bytes.
const MAX_TEXT: usize = 512;

/// Something that happened on the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Larger than the id of every event before it.
    pub id: u64,
    /// When, in Unix milliseconds.
    pub at_ms: u64,
    /// What happened, such as `version.load_failed`; [`Event::NAMES`] has all names.
    pub name: String,
    /// Its model or endpoint; empty if it has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub model: String,
    /// Its version; empty if it has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Further details.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, Value>,
}

impl Event {
    /// Every name, with what it means.
    pub const NAMES: [(&str, &str); 44] = [
        ("server.started", "server started"),
        (
            "configuration.changed",
            "the configuration changed since the last start",
        ),
        ("version.ready", "a version is serving"),
        ("version.gone", "a version was unloaded"),
        (
            "version.load_failed",
            "a version or model could not be loaded",
        ),
        (
            "version.reloaded",
            "a model was reloaded under the same number",
        ),
        ("alert.firing", "an alert is firing"),
        ("alert.resolved", "an alert is resolved"),
        (
            "alert.undelivered",
            "a message about alerts could not be delivered",
        ),
        (
            "rollouts.frozen",
            "an error budget is used up: rollouts wait",
        ),
        ("rollouts.thawed", "rollouts continue"),
        (
            "traffic.changed",
            "the traffic policy of an endpoint was changed",
        ),
        ("rollout.started", "a rollout was asked for"),
        ("rollout.changed", "a rollout went on, waits, or is over"),
        (
            "rollout.alert",
            "a rollout took traffic back, or something is wrong with it",
        ),
        ("policies.changed", "new access policies are in force"),
        (
            "policies.refused",
            "access policies have an error: the ones before stay in force",
        ),
        ("experiment.started", "an experiment was started"),
        ("experiment.ended", "an experiment was stopped"),
        (
            "cascade.stopped",
            "the first version of a cascade agrees too rarely: it is not asked any more",
        ),
        ("objective.set", "an objective was set"),
        ("objective.removed", "an objective was removed"),
        ("silence.added", "a silence was added"),
        ("silence.expired", "a silence was ended"),
        (
            "cost.budget_reached",
            "spending reached a share of a cost budget",
        ),
        (
            "drift.detected",
            "columns of a version are not as in the data that it was trained on",
        ),
        ("drift.ended", "no column of a version drifts any more"),
        ("retrain.fired", "a rule of retraining fired"),
        (
            "retrain.waiting",
            "a new version is asked for once a person approves",
        ),
        ("retrain.asked", "a new version was asked for"),
        (
            "retrain.closed",
            "the version that was asked for was pushed",
        ),
        (
            "retrain.failed",
            "the data set could not be made, or the message not be sent",
        ),
        (
            "retrain.held_back",
            "a rule of retraining has a reason, and may not fire now",
        ),
        (
            "breaker.opened",
            "too many requests to a version failed or were slow: it gets none",
        ),
        (
            "breaker.half_open",
            "one request tries whether a version works again",
        ),
        ("breaker.closed", "a version works again"),
        (
            "remote.breaker_opened",
            "too many requests to upstream servers failed: requests are refused",
        ),
        (
            "remote.breaker_half_open",
            "one request tries whether upstream servers work again",
        ),
        ("remote.breaker_closed", "upstream servers work again"),
        (
            "remote.address_ejected",
            "an upstream server failed too often and gets no requests",
        ),
        (
            "remote.address_readmitted",
            "an upstream server works again and gets requests",
        ),
        (
            "remote.address_unhealthy",
            "an upstream server failed its health checks",
        ),
        (
            "remote.address_healthy",
            "an upstream server passes its health checks again",
        ),
        (
            "remote.signature_differs",
            "an upstream server has another signature and gets no requests",
        ),
    ];

    /// An event at a moment, in Unix milliseconds. [`EventLog::add`] gives it its id.
    pub fn new(name: &str, at_ms: u64) -> Self {
        let (model, version) = (String::new(), String::new());
        Self {
            id: 0,
            at_ms,
            name: name.to_owned(),
            model,
            version,
            fields: BTreeMap::new(),
        }
    }

    /// The event with a model and a version.
    #[must_use]
    pub fn about(self, model: &str, version: &str) -> Self {
        Self {
            model: bounded(model),
            version: bounded(version),
            ..self
        }
    }

    /// The event with one more detail: a number, or a text, which is cut at 512 bytes.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        let value = match value.into() {
            Value::String(text) => Value::String(bounded(&text)),
            other => other,
        };
        self.fields.insert(field.to_owned(), value);
        self
    }
}

/// Texts come from clients and files: a long one must not fill the log.
fn bounded(text: &str) -> String {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        // UTF-8: a cut inside a character would panic.
        end -= 1;
    }
    text[..end].to_owned()
}

/// The last thousand events, the oldest first. Serializable.
///
/// ```
/// use tidegate_observe::{Event, EventLog};
///
/// let mut log = EventLog::default();
/// log.add(Event::new("version.ready", 1_700_000_000_000).about("fraud", "7"));
/// assert_eq!(log.iter().next().map(|event| event.id), Some(1));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EventLog {
    /// Number of events ever added.
    count: u64,
    events: VecDeque<Event>,
}

impl EventLog {
    /// Adds an event, and removes the oldest one if there are too many.
    pub fn add(&mut self, event: Event) {
        self.count += 1;
        self.events.push_back(Event {
            // Never reused, so that "older than this event" always means the same.
            id: self.count,
            ..event
        });
        if self.events.len() > MAX_EVENTS {
            self.events.pop_front();
        }
    }

    /// The events, the oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Event> {
        self.events.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_events_are_kept_and_numbered() {
        let mut log = EventLog::default();
        for at_ms in 0..1005 {
            log.add(
                Event::new("version.ready", at_ms)
                    .about("fraud", "3")
                    .with("took_ms", at_ms),
            );
        }
        let ids: Vec<u64> = log.iter().map(|event| event.id).collect();
        assert_eq!((ids.len(), ids[0], ids[999]), (1000, 6, 1005));
        let read: EventLog = serde_json::from_str(&serde_json::to_string(&log).unwrap()).unwrap();
        assert_eq!(read, log);
    }

    #[test]
    fn the_guide_names_every_event() {
        let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guides/alerts.md");
        let guide = std::fs::read_to_string(guide).unwrap();
        for (name, _) in Event::NAMES {
            assert!(
                guide.contains(&format!("`{name}`")),
                "{name} is not in docs/guides/alerts.md"
            );
        }
    }

    #[test]
    fn long_texts_are_cut_between_letters() {
        let event = Event::new("version.load_failed", 0).with("reason", "ä".repeat(300) + "x");
        assert_eq!(event.fields["reason"].as_str().map(str::len), Some(512));
        let event = event.with("reason", format!("x{}", "ä".repeat(300)));
        assert_eq!(event.fields["reason"].as_str().map(str::len), Some(511));
    }
}
