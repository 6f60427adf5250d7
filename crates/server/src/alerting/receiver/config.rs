//! The configuration of receivers. Every secret can be given as a value, or as the name of a file
//! that holds it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tidegate_redaction::Secret;

/// Any HTTP receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebhookConfig {
    /// Where messages are posted.
    pub url: Secret,
    /// The file that holds the URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_file: Option<PathBuf>,
    /// The key of the signature; without one, messages are not signed.
    pub secret: Secret,
    /// The file that holds the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    /// Further headers.
    pub headers: BTreeMap<String, Secret>,
    /// The body, as a Jinja template; without one, the JSON that Alertmanager sends.
    pub template: String,
    /// The file that holds the template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template_file: Option<PathBuf>,
    /// The media type of the body.
    pub content_type: String,
}

impl Default for WebhookConfig {
    fn default() -> Self {
        Self {
            url: Secret::default(),
            url_file: None,
            secret: Secret::default(),
            secret_file: None,
            headers: BTreeMap::new(),
            template: String::new(),
            template_file: None,
            content_type: "application/json".to_owned(),
        }
    }
}

/// A channel of Slack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SlackConfig {
    /// The incoming webhook of the channel.
    pub url: Secret,
    /// The file that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_file: Option<PathBuf>,
}

/// A service of PagerDuty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PagerDutyConfig {
    /// The integration key of the service, for its Events API v2.
    pub routing_key: Secret,
    /// The file that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routing_key_file: Option<PathBuf>,
    /// Where events are posted.
    pub url: String,
}

impl Default for PagerDutyConfig {
    fn default() -> Self {
        let url = "https://events.pagerduty.com/v2/enqueue".to_owned();
        Self {
            routing_key: Secret::default(),
            routing_key_file: None,
            url,
        }
    }
}

/// Mail, over SMTP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SmtpConfig {
    /// The server: `smtps://user:password@host:465`, `smtp://host:587?tls=required` for STARTTLS,
    /// or `smtp://host:25`.
    pub url: Secret,
    /// The file that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_file: Option<PathBuf>,
    /// The sender, as in `Tidegate <tidegate@example.org>`.
    pub from: String,
    /// The recipients.
    pub to: Vec<String>,
}
