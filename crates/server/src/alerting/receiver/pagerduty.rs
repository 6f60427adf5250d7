//! PagerDuty's Events API v2, and services with the same API.

use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tidegate_observe::alerting::{Message, MessageStatus, rfc3339};
use tidegate_redaction::{Secret, SecretSource};

use super::config::PagerDutyConfig;
use super::http::{Http, check_url, json_headers};
use super::{MessageReceiver, Undelivered};
use crate::alerting::secret;

/// Longest summary that the Events API v2 takes, in characters.
const MAX_SUMMARY: usize = 1024;

/// A service. A group of alerts is one incident: triggered by its first message, resolved when all
/// its alerts have ended.
pub(in crate::alerting) struct PagerDuty {
    routing_key: SecretSource,
    url: String,
    source: String,
}

impl MessageReceiver for PagerDuty {
    fn kind(&self) -> &'static str {
        "pagerduty"
    }

    fn send<'a>(
        &'a self,
        http: &'a Http,
        message: &'a Message,
    ) -> BoxFuture<'a, Result<(), Undelivered>> {
        Box::pin(self.send_message(http, message))
    }
}

impl PagerDuty {
    pub(super) fn new(config: &PagerDutyConfig) -> Result<Self, String> {
        check_url(&config.url)?;
        let file = config.routing_key_file.as_deref();
        let routing_key = SecretSource::required(&config.routing_key, file, "routing_key")?;
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        // The API requires a source.
        let source = if host.trim().is_empty() {
            "tidegate"
        } else {
            host.trim()
        };
        Ok(Self {
            routing_key,
            url: config.url.clone(),
            source: source.to_owned(),
        })
    }

    async fn send_message(&self, http: &Http, message: &Message) -> Result<(), Undelivered> {
        let key = secret::read(&self.routing_key)
            .await
            .map_err(Undelivered::later)?;
        http.post(
            &self.url,
            json_headers(),
            self.value(&key, message).to_string().into(),
        )
        .await
    }

    fn value(&self, key: &Secret, message: &Message) -> Value {
        // By the group, not the message: later messages update or resolve the incident of the first.
        let dedup_key = format!("tidegate-{}", message.group);
        if message.status == MessageStatus::Resolved {
            return json!({"routing_key": key.reveal(), "event_action": "resolve", "dedup_key": dedup_key});
        }
        let is_page = message
            .firing()
            .any(|alert| alert.label("severity") == "page");
        let summary: String = super::title(message).chars().take(MAX_SUMMARY).collect();
        let since_ms = message.firing().filter_map(|alert| alert.since_ms()).min();
        let links = message.firing().flat_map(|alert| {
            [("Runbook", "runbook_url"), ("Dashboard", "dashboard_url")]
                .map(|(name, annotation)| (name, alert.annotation(annotation)))
        });
        let mut links: Vec<(&str, &str)> = links.filter(|(_, url)| !url.is_empty()).collect();
        // The alerts of a group mostly have the same runbook and dashboard.
        links.sort_unstable();
        links.dedup();
        json!({
            "routing_key": key.reveal(),
            "event_action": "trigger",
            "dedup_key": dedup_key,
            "client": "Tidegate",
            "payload": {
                "summary": summary,
                "source": self.source,
                "severity": if is_page { "critical" } else { "warning" },
                "timestamp": rfc3339(since_ms.unwrap_or(message.at_ms)),
                "component": message.group_labels.get("endpoint"),
                "group": message.route,
                "custom_details": super::webhook::value(message)["alerts"],
            },
            "links": links.into_iter().map(|(text, href)| json!({"href": href, "text": text})).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerting::receiver::tests::{message, resolved};

    #[test]
    fn a_group_is_an_incident_from_trigger_to_resolve() {
        let routing_key = Secret::from("k");
        let config = PagerDutyConfig {
            routing_key: routing_key.clone(),
            ..PagerDutyConfig::default()
        };
        let pagerduty = PagerDuty::new(&config).unwrap();
        let trigger = pagerduty.value(&routing_key, &message());
        assert_eq!(
            (&trigger["event_action"], &trigger["payload"]["severity"]),
            (&json!("trigger"), &json!("critical"))
        );
        assert_eq!(
            trigger["payload"]["timestamp"],
            json!("2023-11-14T22:14:00.000Z")
        );
        assert_eq!(trigger["links"].as_array().unwrap().len(), 2);
        let resolve = pagerduty.value(&routing_key, &resolved());
        assert_eq!(resolve["event_action"], json!("resolve"));
        assert_eq!(resolve["dedup_key"], trigger["dedup_key"]);
    }
}
