//! Routes: which alerts go where, and when.

use super::{Matcher, TriagedAlert};
use crate::Severity;

/// A route for notifications: which alerts it accepts and when it sends them. The receiver at its end
/// is not known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its unique name.
    pub name: String,
    /// The severities that it accepts; all if empty.
    pub severities: Vec<Severity>,
    /// All of them must match an alert.
    pub matchers: Vec<Matcher>,
    /// How it groups and repeats alerts.
    pub timing: Timing,
}

/// How a route groups alerts, and how often it sends them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Alerts with the same values of these labels are sent in one message.
    pub group_by: Vec<String>,
    /// How long the first alert of a group waits for others, in milliseconds.
    pub group_wait_ms: u64,
    /// How long changes of a group wait after its last message, in milliseconds.
    pub group_interval_ms: u64,
    /// After how long alerts that still fire are sent again, in milliseconds.
    pub repeat_interval_ms: u64,
    /// Maximum number of messages in an hour.
    pub max_messages_per_hour: usize,
}

impl Route {
    /// Whether an alert is sent on this route.
    pub fn accepts(&self, triaged: &TriagedAlert) -> bool {
        let alert = &triaged.alert;
        self.accepts_severity(alert.label("severity"))
            && Matcher::all_match(&self.matchers, &alert.labels)
    }

    fn accepts_severity(&self, severity: &str) -> bool {
        let mut accepted = self.severities.iter();
        self.severities.is_empty() || accepted.any(|one| one.name() == severity)
    }
}
