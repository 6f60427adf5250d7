//! Alerts on their way to people: which there are, what suppresses them, who is told what and when.
//!
//! Burn alerts of objectives and [`AlertRule`]s both become [`Alert`]s. [`Suppressors`] say which
//! of them are told to nobody, [`Dispatch`] puts the others into [`Message`]s, and an [`Outbox`]
//! keeps those until they have arrived. All of it is given the time and does no I/O.

mod alert;
mod builtin;
mod burn;
mod deploy;
mod dispatch;
mod inhibition;
mod links;
mod matcher;
mod outbox;
mod rule;
mod silence;
mod suppression;

pub use alert::{Alert, fingerprint, rfc3339};
pub use builtin::builtin_rules;
pub use deploy::{DeployWindow, DeployWindows};
pub use dispatch::{Dispatch, Dispatched, Message, MessageStatus, Route, Timing};
pub use inhibition::Inhibition;
pub use links::Links;
pub use matcher::{Matcher, MatcherError};
pub use outbox::{Outbox, Pending};
pub use rule::{
    Aggregate, AlertRule, Comparison, Labels, RuleBook, RuleConfig, RuleError, RuleStates, Sample,
};
pub use silence::{MAX_SILENCES, Silence, SilenceError, Silences};
pub use suppression::{Judged, Suppression, Suppressors};

/// How long an alert that has ended is still shown and told of, in milliseconds.
pub const ENDED_SHOWN_MS: u64 = 15 * 60_000;

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
