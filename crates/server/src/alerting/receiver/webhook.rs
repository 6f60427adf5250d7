//! Any HTTP receiver: Alertmanager's JSON or a template, signed.

use futures_util::future::BoxFuture;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use minijinja::Environment;
use serde_json::{Value, json};
use sha2::Sha256;
use tidegate_observe::alerting::{Alert, Message, rfc3339};
use tidegate_redaction::{Secret, SecretSource};

use super::config::WebhookConfig;
use super::http::{Http, check_url};
use super::{MessageReceiver, Undelivered};
use crate::alerting::secret;
use crate::clock::now_ms;

const TEMPLATE: &str = "body";
const MAX_HEADERS: usize = 32;

/// A webhook.
pub(crate) struct Webhook {
    url: SecretSource,
    key: Option<SecretSource>,
    headers: HeaderMap,
    template: Option<Environment<'static>>,
}

impl MessageReceiver for Webhook {
    fn kind(&self) -> &'static str {
        "webhook"
    }

    fn send<'a>(
        &'a self,
        http: &'a Http,
        message: &'a Message,
    ) -> BoxFuture<'a, Result<(), Undelivered>> {
        Box::pin(async move { self.send_json(http, &message.id, &value(message)).await })
    }
}

impl Webhook {
    pub(crate) fn new(config: &WebhookConfig) -> Result<Self, String> {
        let url = SecretSource::required(&config.url, config.url_file.as_deref(), "url")?;
        if let SecretSource::Given(url) = &url {
            check_url(url.reveal())?;
        }
        let key = SecretSource::new(&config.secret, config.secret_file.as_deref(), "secret")?;
        Ok(Self {
            url,
            key,
            headers: headers(config)?,
            template: template(config)?,
        })
    }

    /// Sends a message: this value, or what the template makes of it. The id stays the same when a
    /// delivery is tried again.
    pub(crate) async fn send_json(
        &self,
        http: &Http,
        id: &str,
        value: &Value,
    ) -> Result<(), Undelivered> {
        let url = secret::read(&self.url).await.map_err(Undelivered::later)?;
        let body = self
            .body(value)
            .map_err(|reason| Undelivered::Never { reason })?;
        let mut headers = self.headers.clone();
        // Receivers can drop repeats by it.
        if let Ok(id) = HeaderValue::from_str(id) {
            headers.insert(HeaderName::from_static("x-tidegate-delivery"), id);
        }
        if let Some(key) = &self.key {
            let key = secret::read(key).await.map_err(Undelivered::later)?;
            let now_s = now_ms() / 1000;
            headers.insert(
                HeaderName::from_static("x-tidegate-timestamp"),
                HeaderValue::from(now_s),
            );
            if let Ok(signature) = HeaderValue::from_str(&signature(&key, now_s, &body)) {
                headers.insert(HeaderName::from_static("x-tidegate-signature"), signature);
            }
        }
        http.post(url.reveal(), headers, body.into()).await
    }

    fn body(&self, value: &Value) -> Result<Vec<u8>, String> {
        match &self.template {
            None => serde_json::to_vec(value).map_err(|problem| problem.to_string()),
            Some(environment) => {
                let rendered = environment
                    .get_template(TEMPLATE)
                    .and_then(|template| template.render(value));
                rendered
                    .map(String::into_bytes)
                    .map_err(|problem| format!("its template fails: {problem:#}"))
            }
        }
    }
}

/// HMAC-SHA256 (RFC 2104) over the timestamp in seconds, a full stop, and the body: a message that
/// somebody else sends again can be recognized by its age.
fn signature(key: &Secret, now_s: u64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.reveal().as_bytes())
        .expect("HMAC takes keys of any length");
    mac.update(format!("{now_s}.").as_bytes());
    mac.update(body);
    let digits: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256={digits}")
}

/// A message in the form of Alertmanager's webhook, version 4.
pub(super) fn value(message: &Message) -> Value {
    json!({
        "version": "4",
        "id": message.id,
        "groupKey": message.group,
        "status": message.status.name(),
        "receiver": message.route,
        "title": super::title(message),
        "groupLabels": message.group_labels,
        "commonLabels": common(&message.alerts, |alert| &alert.labels),
        "commonAnnotations": common(&message.alerts, |alert| &alert.annotations),
        "externalURL": "",
        "truncatedAlerts": message.left_out,
        "heldBackMessages": message.held_back,
        "alerts": message.alerts.iter().map(alert_value).collect::<Vec<_>>(),
    })
}

fn alert_value(alert: &Alert) -> Value {
    let ended_ms = alert.resolved_ms();
    json!({
        "status": if alert.is_firing() { "firing" } else { "resolved" },
        "labels": alert.labels,
        "annotations": alert.annotations,
        "startsAt": rfc3339(alert.fired_ms.or(ended_ms).unwrap_or(0)),
        // As Alertmanager writes an end that is not known.
        "endsAt": ended_ms.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), rfc3339),
        "generatorURL": alert.annotation("dashboard_url"),
        "fingerprint": alert.fingerprint(),
    })
}

fn common(
    alerts: &[Alert],
    texts: fn(&Alert) -> &std::collections::BTreeMap<String, String>,
) -> std::collections::BTreeMap<String, String> {
    let mut common = alerts.first().map(texts).cloned().unwrap_or_default();
    common.retain(|name, value| {
        alerts
            .iter()
            .all(|alert| texts(alert).get(name) == Some(value))
    });
    common
}

fn headers(config: &WebhookConfig) -> Result<HeaderMap, String> {
    if config.headers.len() > MAX_HEADERS {
        return Err(format!("it has more than {MAX_HEADERS} headers"));
    }
    let mut headers = HeaderMap::new();
    let content_type = HeaderValue::from_str(&config.content_type);
    headers.insert(
        header::CONTENT_TYPE,
        content_type.map_err(|_| "its content_type is not a header value".to_owned())?,
    );
    for (name, value) in &config.headers {
        // The value stays out of the message, and out of logs: it may be a password.
        let (Ok(parsed), Ok(mut value)) = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_str(value.reveal()),
        ) else {
            return Err(format!("its header {name:?} is not valid"));
        };
        // HTTP/2 then does not put it into its table of headers (RFC 7541, section 7.1.3).
        value.set_sensitive(true);
        headers.insert(parsed, value);
    }
    Ok(headers)
}

fn template(config: &WebhookConfig) -> Result<Option<Environment<'static>>, String> {
    let text = match (&config.template_file, config.template.as_str()) {
        (None, "") => return Ok(None),
        (None, text) => text.to_owned(),
        (Some(file), "") => std::fs::read_to_string(file)
            .map_err(|problem| format!("cannot read {}: {problem}", file.display()))?,
        (Some(_), _) => return Err("it has both template and template_file".to_owned()),
    };
    // Compiled at the start: a mistake shows now, not with the first alert.
    let mut environment = Environment::new();
    environment
        .add_template_owned(TEMPLATE, text)
        .map_err(|problem| format!("its template is wrong: {problem:#}"))?;
    Ok(Some(environment))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerting::receiver::tests::message;

    #[test]
    fn the_signature_is_that_of_openssl() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac key
        let wanted = "sha256=a438e398bfafc57e4396bb7fc2304422f0f768e965d073ca313cb52e22e6ad03";
        assert_eq!(
            signature(&Secret::from("key"), 1_700_000_000, b"{\"a\":1}"),
            wanted
        );
    }

    #[test]
    fn the_body_is_alertmanagers_or_the_template() {
        let config = WebhookConfig {
            url: Secret::from("http://x"),
            ..WebhookConfig::default()
        };
        let body = Webhook::new(&config)
            .unwrap()
            .body(&value(&message()))
            .unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            (&body["status"], &body["truncatedAlerts"]),
            (&json!("firing"), &json!(2))
        );
        assert_eq!(body["commonLabels"], json!({"endpoint": "fraud"}));
        assert_eq!(
            body["alerts"][0]["startsAt"],
            json!("2023-11-14T22:14:00.000Z")
        );
        assert_eq!(
            body["alerts"][1]["endsAt"],
            json!("2023-11-14T22:15:00.000Z")
        );
        let template =
            "{% for a in alerts %}{{ a.labels.alertname|tojson }}:{{ a.status }} {% endfor %}"
                .to_owned();
        let webhook = Webhook::new(&WebhookConfig {
            template,
            ..config.clone()
        })
        .unwrap();
        assert_eq!(
            webhook.body(&value(&message())).unwrap(),
            b"\"Down\":firing \"Slow\":resolved "
        );
        let wrong = WebhookConfig {
            template: "{% for %}".to_owned(),
            ..config
        };
        assert!(
            Webhook::new(&wrong)
                .err()
                .unwrap()
                .contains("template is wrong")
        );
    }
}
