//! What has happened, with the numbers that led to it.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Most events that are kept.
pub const MAX_EVENTS: usize = 1000;
/// Longest text of an event, in bytes.
const MAX_TEXT: usize = 512;

/// Something that happened once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Larger than that of every event before it.
    pub id: u64,
    /// When, in Unix milliseconds.
    pub at_ms: u64,
    /// What, as in `version.load_failed`; [`Event::NAMES`] has all of them.
    pub name: String,
    /// The model or endpoint that it is about; empty if about none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub model: String,
    /// The version that it is about; empty if about none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// What else there is to say.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, Value>,
}

impl Event {
    /// Every name, with what it means.
    pub const NAMES: [(&str, &str); 16] = [
        ("server.started", "the process began"),
        (
            "configuration.changed",
            "the configuration is another one than at the last start",
        ),
        ("version.ready", "a version began to answer"),
        ("version.gone", "a version no longer answers"),
        (
            "version.load_failed",
            "a version or model could not be loaded",
        ),
        (
            "version.reloaded",
            "a model was loaded anew under the same number",
        ),
        ("alert.firing", "an alert began to fire"),
        ("alert.resolved", "an alert ended"),
        ("alert.undelivered", "a message about alerts was given up"),
        ("rollouts.frozen", "an error budget is spent: rollouts wait"),
        ("rollouts.thawed", "rollouts go on"),
        ("objective.set", "someone set an objective"),
        ("objective.removed", "someone removed an objective"),
        ("silence.added", "someone added a silence"),
        ("silence.expired", "someone ended a silence"),
        ("cost.budget_reached", "a share of a cost budget is used up"),
    ];

    /// An event that happens at a moment. It gets its number from the log.
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

    /// The same event about a version of a model.
    #[must_use]
    pub fn about(self, model: &str, version: &str) -> Self {
        Self {
            model: bounded(model),
            version: bounded(version),
            ..self
        }
    }

    /// The same event with a number or a text of up to 512 bytes.
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

fn bounded(text: &str) -> String {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// The last thousand events, the oldest first. Serializable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EventLog {
    /// How many there have ever been.
    count: u64,
    events: VecDeque<Event>,
}

impl EventLog {
    /// Adds an event; the oldest one goes if there are too many.
    pub fn add(&mut self, event: Event) {
        self.count += 1;
        self.events.push_back(Event {
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
