//! Slack's incoming webhooks, and services with the same webhooks (Mattermost, Rocket.Chat).

use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tidegate_observe::alerting::{Alert, Message};
use tidegate_redaction::SecretSource;

use super::config::SlackConfig;
use super::http::{Http, check_url, json_headers};
use super::{MessageReceiver, Undelivered};
use crate::alerting::secret;

/// Slack shows no more attachments than this.
const MAX_SHOWN: usize = 20;

/// A channel.
pub(in crate::alerting) struct Slack {
    url: SecretSource,
}

impl MessageReceiver for Slack {
    fn kind(&self) -> &'static str {
        "slack"
    }

    fn send<'a>(
        &'a self,
        http: &'a Http,
        message: &'a Message,
    ) -> BoxFuture<'a, Result<(), Undelivered>> {
        Box::pin(self.send_message(http, message))
    }
}

impl Slack {
    pub(super) fn new(config: &SlackConfig) -> Result<Self, String> {
        let url = SecretSource::required(&config.url, config.url_file.as_deref(), "url")?;
        if let SecretSource::Given(url) = &url {
            check_url(url.reveal())?;
        }
        Ok(Self { url })
    }

    async fn send_message(&self, http: &Http, message: &Message) -> Result<(), Undelivered> {
        let url = secret::read(&self.url).await.map_err(Undelivered::later)?;
        http.post(
            url.reveal(),
            json_headers(),
            value(message).to_string().into(),
        )
        .await
    }
}

fn value(message: &Message) -> Value {
    let title = escaped(&super::title(message));
    let more = message.left_out + message.alerts.len().saturating_sub(MAX_SHOWN);
    let mut text = title;
    if more > 0 {
        text.push_str(&format!("\nand {more} more alerts"));
    }
    if message.held_back > 0 {
        text.push_str(&format!(
            "\n{} earlier messages were delayed by the route's limit",
            message.held_back
        ));
    }
    let attachments: Vec<Value> = message
        .alerts
        .iter()
        .take(MAX_SHOWN)
        .map(attachment)
        .collect();
    json!({"text": text, "attachments": attachments})
}

fn attachment(alert: &Alert) -> Value {
    let color = match (alert.is_firing(), alert.label("severity")) {
        (false, _) => "good",
        (true, "page") => "danger",
        (true, _) => "warning",
    };
    let status = if alert.is_firing() {
        "fires"
    } else {
        "resolved"
    };
    let mut lines = vec![
        escaped(alert.annotation("description")),
        escaped(alert.annotation("deploy")),
    ];
    lines.extend(
        [("Runbook", "runbook_url"), ("Dashboard", "dashboard_url")]
            .into_iter()
            .map(|(name, annotation)| {
                let url = alert.annotation(annotation);
                if url.is_empty() {
                    String::new()
                } else {
                    format!("<{}|{name}>", escaped(url))
                }
            }),
    );
    // Annotations are optional: those that are missing give empty lines.
    lines.retain(|line| !line.is_empty());
    let fields: Vec<Value> = ["severity", "endpoint", "version", "tier", "slo"]
        .into_iter()
        .filter(|name| !alert.label(name).is_empty())
        .map(|name| json!({"title": name, "value": escaped(alert.label(name)), "short": true}))
        .collect();
    json!({
        "color": color,
        "fallback": escaped(&format!("{} {status}: {}", alert.name(), alert.annotation("summary"))),
        "title": escaped(&format!("{} {status}: {}", alert.name(), alert.annotation("summary"))),
        "text": lines.join("\n"),
        "fields": fields,
        "mrkdwn_in": ["text"],
        "ts": alert.since_ms().unwrap_or(0) / 1000,
    })
}

/// As <https://docs.slack.dev/messaging/formatting-message-text#escaping> has it.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerting::receiver::tests::message;

    #[test]
    fn alerts_are_attachments_with_links() {
        let value = value(&message());
        assert!(
            value["text"]
                .as_str()
                .unwrap()
                .contains("and 2 more alerts\n1 earlier messages")
        );
        let page = &value["attachments"][0];
        assert_eq!(
            (&page["color"], &page["title"]),
            (
                &json!("danger"),
                &json!("Down fires: &lt;fraud&gt; &amp; all")
            )
        );
        let text = page["text"].as_str().unwrap();
        assert!(
            text.contains("<https://runbooks/down.md|Runbook>")
                && text.contains("from=1&amp;to=now|Dashboard>")
        );
        assert_eq!(value["attachments"][1]["color"], json!("good"));
    }
}
