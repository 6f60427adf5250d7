//! Those who are told.

pub(super) mod alertmanager;
pub(crate) mod config;
mod email;
mod http;
mod pagerduty;
mod slack;
mod webhook;

use tidegate_observe::alerting::Message;

pub(super) use self::alertmanager::Alertmanager;
use self::email::Smtp;
pub(super) use self::http::Http;
use self::pagerduty::PagerDuty;
use self::slack::Slack;
use self::webhook::Webhook;
use super::config::RouteConfig;

/// Where a route ends.
pub(super) enum Receiver {
    Alertmanager(Alertmanager),
    Messages(MessageReceiver),
}

/// A receiver of messages.
pub(super) enum MessageReceiver {
    Webhook(Box<Webhook>),
    Slack(Slack),
    PagerDuty(PagerDuty),
    Smtp(Smtp),
}

/// A message that has not arrived, with the reason, which names no secret.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Undelivered {
    /// It may arrive later; after so many milliseconds, where the receiver said.
    Later {
        reason: String,
        wait_ms: Option<u64>,
    },
    /// It will never be taken.
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
        let RouteConfig {
            alertmanager,
            webhook,
            slack,
            pagerduty,
            smtp,
            ..
        } = route;
        let receivers: Vec<Result<Self, String>> = [
            alertmanager
                .as_deref()
                .map(|url| Alertmanager::new(url).map(Self::Alertmanager)),
            webhook.as_ref().map(|config| {
                Webhook::new(config)
                    .map(Box::new)
                    .map(MessageReceiver::Webhook)
                    .map(Self::Messages)
            }),
            slack.as_ref().map(|config| {
                Slack::new(config)
                    .map(MessageReceiver::Slack)
                    .map(Self::Messages)
            }),
            pagerduty.as_ref().map(|config| {
                PagerDuty::new(config)
                    .map(MessageReceiver::PagerDuty)
                    .map(Self::Messages)
            }),
            smtp.as_ref().map(|config| {
                Smtp::new(config)
                    .map(MessageReceiver::Smtp)
                    .map(Self::Messages)
            }),
        ]
        .into_iter()
        .flatten()
        .collect();
        let count = receivers.len();
        match receivers.into_iter().next() {
            Some(receiver) if count == 1 => receiver,
            _ => Err(format!(
                "it needs exactly one of alertmanager, webhook, slack, pagerduty and smtp, and has {count}"
            )),
        }
    }
}

impl Receiver {
    /// Its key in the configuration.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Alertmanager(_) => "alertmanager",
            Self::Messages(MessageReceiver::Webhook(_)) => "webhook",
            Self::Messages(MessageReceiver::Slack(_)) => "slack",
            Self::Messages(MessageReceiver::PagerDuty(_)) => "pagerduty",
            Self::Messages(MessageReceiver::Smtp(_)) => "smtp",
        }
    }
}

impl MessageReceiver {
    /// Tells a message.
    pub(super) async fn send(&self, http: &Http, message: &Message) -> Result<(), Undelivered> {
        match self {
            Self::Webhook(webhook) => webhook.send(http, message).await,
            Self::Slack(slack) => slack.send(http, message).await,
            Self::PagerDuty(pagerduty) => pagerduty.send(http, message).await,
            Self::Smtp(smtp) => smtp.send(message).await,
        }
    }
}

/// What a message is about, in a line.
fn title(message: &Message) -> String {
    let count = message.firing().count();
    let status = match count {
        0 => "RESOLVED".to_owned(),
        count => format!("FIRING: {count}"),
    };
    let mut names: Vec<&str> = message.alerts.iter().map(|alert| alert.name()).collect();
    names.dedup();
    let more = names.len().saturating_sub(3);
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
