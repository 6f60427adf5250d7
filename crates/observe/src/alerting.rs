//! Alerting: from alerts, over suppression and grouping, to the messages that people get.
//!
//! 1. Burn alerts of objectives and [`AlertRule`]s become [`Alert`]s.
//! 2. [`Suppressors`] decide which of them notify nobody: silences, inhibitions, deploy windows.
//! 3. [`Dispatch`] groups the others into [`Message`]s by [`Route`], and repeats and limits these.
//! 4. An [`Outbox`] keeps messages until they are delivered.
//!
//! The words are those of Prometheus Alertmanager. Everything is passed the time and does no I/O.

mod alert;
mod builtin;
mod burn;
mod deploy;
mod dispatch;
mod inhibition;
mod links;
mod matcher;
mod message;
mod outbox;
mod route;
mod rule;
mod silence;
mod suppression;

pub use alert::{Alert, fingerprint, rfc3339};
pub use builtin::builtin_rules;
pub use deploy::{DeployWindow, DeployWindows};
pub use dispatch::{Dispatch, Dispatched, OpenNotification};
pub use inhibition::Inhibition;
pub use links::Links;
pub use matcher::{Matcher, MatcherError};
pub use message::{Message, MessageStatus};
pub use outbox::{Outbox, Pending};
pub use route::{Route, Timing};
pub use rule::{
    Aggregate, AlertRule, Comparison, Labels, RuleBook, RuleConfig, RuleError, RuleStates, Sample,
};
pub use silence::{MAX_SILENCES, Silence, SilenceError, Silences};
pub use suppression::{Suppression, Suppressors, TriagedAlert};

/// How long a resolved alert is still shown and sent to Alertmanagers, in milliseconds.
pub const RESOLVED_RETENTION_MS: u64 = 15 * 60_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AlertState;

    /// An alert that has fired since the beginning; without an endpoint if that is empty.
    pub(crate) fn alert(name: &str, severity: &str, endpoint: &str) -> Alert {
        let labels = [
            ("alertname", name),
            ("severity", severity),
            ("endpoint", endpoint),
        ];
        let labels = labels.into_iter().filter(|(_, value)| !value.is_empty());
        let labels = labels
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Alert::new(
            labels,
            Default::default(),
            AlertState::Firing { since_ms: 0 },
        )
    }
}
