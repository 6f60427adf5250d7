//! The configuration of alerts.

use serde::{Deserialize, Serialize};
use tidegate_observe::Severity;
use tidegate_observe::alerting::{Inhibition, Links, Matcher, RuleConfig, Timing};

use super::receiver::config::{PagerDutyConfig, SlackConfig, SmtpConfig, WebhookConfig};

/// The `[alerts]` section: the alerts in addition to those of objectives, and who is notified.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertsConfig {
    /// Alertmanagers, such as `http://alertmanager:9093`. Each gets every alert.
    pub alertmanagers: Vec<String>,
    /// Where the runbooks are that alerts link to; `/NAME.md` is appended.
    pub runbooks: String,
    /// Grafana's address, for alerts to link to the on-call dashboard; no link if empty.
    pub grafana: String,
    /// Whether the built-in rules, which suit every server, are evaluated in addition to those of
    /// the configuration.
    pub builtin_rules: bool,
    /// Alerts with the same values of these labels are sent in one message.
    pub group_by: Vec<String>,
    /// How long the first alert of a group waits for others, in seconds.
    pub group_wait_s: u64,
    /// Minimum time between two messages about the same group, in seconds.
    pub group_interval_s: u64,
    /// After how long an alert that still fires is sent again, in seconds.
    pub repeat_interval_s: u64,
    /// Maximum number of messages of a route in an hour.
    pub max_messages_per_hour: usize,
    /// After a deploy, alerts of the endpoint are not sent for this time, in seconds; 0 switches
    /// this off.
    pub deploy_window_s: u64,
    /// The severities that are not sent during this time.
    pub deploy_suppresses: Vec<Severity>,
    /// Maximum number of messages that wait to be delivered, over all routes.
    pub max_waiting_messages: usize,
    /// How long the delivery of a message is retried, in seconds.
    pub give_up_after_s: u64,
    /// Rules on metrics and events.
    pub rules: Vec<RuleConfig>,
    /// Which alerts are sent, and where.
    pub routes: Vec<RouteConfig>,
    /// Which alerts inhibit others; replaces the default inhibitions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inhibit: Option<Vec<Inhibition>>,
}

impl Default for AlertsConfig {
    fn default() -> Self {
        Self {
            alertmanagers: Vec::new(),
            runbooks: Links::default().runbooks,
            grafana: String::new(),
            builtin_rules: true,
            group_by: vec!["endpoint".to_owned(), "version".to_owned()],
            group_wait_s: 10,
            group_interval_s: 300,
            repeat_interval_s: 4 * 3600,
            max_messages_per_hour: 60,
            deploy_window_s: 600,
            deploy_suppresses: vec![Severity::Ticket],
            max_waiting_messages: 1000,
            give_up_after_s: 24 * 3600,
            rules: Vec::new(),
            routes: Vec::new(),
            inhibit: None,
        }
    }
}

/// Who is notified of which alerts: a section `[[alerts.routes]]` with one receiver. An alert
/// goes to every route that takes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouteConfig {
    /// Its name, unique among the routes.
    pub name: String,
    /// The severities that it sends; all if empty.
    pub severities: Vec<Severity>,
    /// Matchers of alerts, such as `endpoint="fraud"`; all must match.
    pub r#match: Vec<Matcher>,
    /// In place of `alerts.group_by`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_by: Option<Vec<String>>,
    /// In place of `alerts.group_wait_s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_wait_s: Option<u64>,
    /// In place of `alerts.group_interval_s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_interval_s: Option<u64>,
    /// In place of `alerts.repeat_interval_s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat_interval_s: Option<u64>,
    /// In place of `alerts.max_messages_per_hour`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_messages_per_hour: Option<usize>,
    /// The address of an Alertmanager, which groups, silences and repeats by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alertmanager: Option<String>,
    /// Any HTTP receiver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookConfig>,
    /// A channel of Slack, or of a service with the same webhooks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slack: Option<SlackConfig>,
    /// A service of PagerDuty, or one with the same events API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pagerduty: Option<PagerDutyConfig>,
    /// Mail, over SMTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smtp: Option<SmtpConfig>,
}

impl AlertsConfig {
    pub(super) fn links(&self) -> Links {
        Links {
            runbooks: self.runbooks.clone(),
            grafana: self.grafana.clone(),
        }
    }

    pub(super) fn timing(&self, route: &RouteConfig) -> Timing {
        Timing {
            group_by: route
                .group_by
                .clone()
                .unwrap_or_else(|| self.group_by.clone()),
            group_wait_ms: own_or_general_ms(route.group_wait_s, self.group_wait_s),
            group_interval_ms: own_or_general_ms(route.group_interval_s, self.group_interval_s),
            repeat_interval_ms: own_or_general_ms(route.repeat_interval_s, self.repeat_interval_s),
            max_messages_per_hour: route
                .max_messages_per_hour
                .unwrap_or(self.max_messages_per_hour),
        }
    }
}

/// A route's own time or, where it has none, the general one; both in seconds.
fn own_or_general_ms(own_s: Option<u64>, general_s: u64) -> u64 {
    own_s.unwrap_or(general_s).saturating_mul(1000)
}
