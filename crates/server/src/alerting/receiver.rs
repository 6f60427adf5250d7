//! The receivers of alerts.
//!
//! A receiver is a file of this folder with its section of the configuration and its
//! implementation of [`MessageReceiver`], a field of [`RouteConfig`], and a line of
//! [`Receiver::configured`].

mod alertmanager;
pub(crate) mod config;
mod email;
mod http;
mod pagerduty;
mod slack;
mod webhook;

use futures_util::future::BoxFuture;
use tidegate_observe::alerting::Message;

pub(super) use self::alertmanager::Alertmanager;
use self::email::Smtp;
pub(crate) use self::http::Http;
use self::pagerduty::PagerDuty;
use self::slack::Slack;
pub(crate) use self::webhook::Webhook;
use super::config::RouteConfig;

/// The receiver of a route.
pub(super) enum Receiver {
    /// It groups, repeats and silences by itself.
    Alertmanager(Alertmanager),
    Messages(Box<dyn MessageReceiver>),
}

/// A receiver of messages.
pub(super) trait MessageReceiver: Send + Sync {
    /// Its key in the configuration.
    fn kind(&self) -> &'static str;

    /// Delivers a message.
    fn send<'a>(
        &'a self,
        http: &'a Http,
        message: &'a Message,
    ) -> BoxFuture<'a, Result<(), Undelivered>>;
}

/// A message that was not delivered, with the reason, which names no secret.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Undelivered {
    /// It may succeed later: after this many milliseconds, if the receiver gave a time.
    Later {
        reason: String,
        wait_ms: Option<u64>,
    },
    /// The receiver will never accept it.
    Never { reason: String },
}

impl Undelivered {
    fn later(reason: impl Into<String>) -> Self {
        Self::Later {
            reason: reason.into(),
            wait_ms: None,
        }
    }
}

impl Receiver {
    /// The one receiver of a route.
    pub(super) fn new(route: &RouteConfig) -> Result<Self, String> {
        // All of them, not the first: a second one is an error, which must not be ignored silently.
        let mut configured = Self::configured(route);
        let count = configured.len();
        match configured.pop() {
            Some(receiver) if count == 1 => receiver,
            _ => Err(format!(
                "it needs exactly one of alertmanager, webhook, slack, pagerduty and smtp, and has {count}"
            )),
        }
    }

    /// Every receiver that a route names.
    fn configured(route: &RouteConfig) -> Vec<Result<Self, String>> {
        let alertmanager = route
            .alertmanager
            .as_ref()
            .map(|url| Alertmanager::new(url).map(Self::Alertmanager));
        let receivers = [
            alertmanager,
            route.webhook.as_ref().map(|it| boxed(Webhook::new(it))),
            route.slack.as_ref().map(|it| boxed(Slack::new(it))),
            route.pagerduty.as_ref().map(|it| boxed(PagerDuty::new(it))),
            route.smtp.as_ref().map(|it| boxed(Smtp::new(it))),
        ];
        receivers.into_iter().flatten().collect()
    }

    /// Its key in the configuration.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Alertmanager(_) => "alertmanager",
            Self::Messages(receiver) => receiver.kind(),
        }
    }

    /// Whether it is sent messages, through the outbox.
    pub(super) fn takes_messages(&self) -> bool {
        matches!(self, Self::Messages(_))
    }
}

fn boxed(receiver: Result<impl MessageReceiver + 'static, String>) -> Result<Receiver, String> {
    receiver.map(|receiver| Receiver::Messages(Box::new(receiver)))
}

/// The title of a message, in a line.
fn title(message: &Message) -> String {
    let status = match message.firing().count() {
        0 => "RESOLVED".to_owned(),
        count => format!("FIRING: {count}"),
    };
    let mut names: Vec<&str> = message.alerts.iter().map(|alert| alert.name()).collect();
    names.dedup();
    let more = names.len().saturating_sub(3);
    // Titles are read in lists and on phones.
    names.truncate(3);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    let of: Vec<&str> = message
        .group_labels
        .values()
        .map(String::as_str)
        .filter(|value| !value.is_empty())
        .collect();
    let of = if of.is_empty() {
        String::new()
    } else {
        format!(" of {}", of.join(" "))
    };
    format!("[{status}] {}{more}{of}", names.join(", "))
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use tidegate_observe::AlertState;
    use tidegate_observe::alerting::{Alert, MessageStatus};

    use super::*;

    /// A page that fires and a ticket that has ended.
    pub(crate) fn message() -> Message {
        let labels = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect::<BTreeMap<_, _>>()
        };
        let page = [
            ("alertname", "Down"),
            ("severity", "page"),
            ("endpoint", "fraud"),
        ];
        let annotations = [
            ("summary", "<fraud> & all"),
            ("description", "everything failed"),
            ("runbook_url", "https://runbooks/down.md"),
            ("dashboard_url", "https://grafana/d/x?from=1&to=now"),
        ];
        let firing = AlertState::Firing {
            since_ms: 1_700_000_040_000,
        };
        let over = AlertState::Resolved {
            since_ms: 1_700_000_100_000,
        };
        let ticket = labels(&[
            ("alertname", "Slow"),
            ("severity", "ticket"),
            ("endpoint", "fraud"),
        ]);
        Message {
            id: "g-1".to_owned(),
            route: "oncall".to_owned(),
            group: "0123456789abcdef".to_owned(),
            group_labels: labels(&[("endpoint", "fraud"), ("version", "")]),
            status: MessageStatus::Firing,
            alerts: vec![
                Alert::new(labels(&page), labels(&annotations), firing),
                Alert::new(ticket, BTreeMap::new(), over),
            ],
            left_out: 2,
            held_back: 1,
            at_ms: 1_700_000_100_000,
        }
    }

    pub(crate) fn resolved() -> Message {
        let mut message = message();
        message.alerts.remove(0);
        message.status = MessageStatus::Resolved;
        message
    }

    #[test]
    fn a_title_says_what_and_whose() {
        assert_eq!(title(&message()), "[FIRING: 1] Down, Slow of fraud");
        assert_eq!(title(&resolved()), "[RESOLVED] Slow of fraud");
    }

    #[test]
    fn a_route_has_exactly_one_receiver() {
        let none = Receiver::new(&RouteConfig::default()).err().unwrap();
        assert!(
            none.contains("exactly one of") && none.contains("has 0"),
            "{none}"
        );
        let alertmanager = Some("http://127.0.0.1:9093".to_owned());
        assert!(
            Receiver::new(&RouteConfig {
                alertmanager: alertmanager.clone(),
                ..RouteConfig::default()
            })
            .is_ok()
        );
        let two = RouteConfig {
            alertmanager,
            slack: Some(Default::default()),
            ..RouteConfig::default()
        };
        assert!(Receiver::new(&two).err().unwrap().contains("has 2"));
    }
}
