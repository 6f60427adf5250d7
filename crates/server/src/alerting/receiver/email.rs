//! Mail over SMTP.

use futures_util::future::BoxFuture;
use std::fmt::Write;
use std::time::Duration;

use lettre::message::{Mailbox, header::ContentType};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use tidegate_observe::alerting::{Alert, Message, rfc3339};
use tidegate_redaction::SecretSource;

use super::config::SmtpConfig;
use super::{Http, MessageReceiver, Undelivered};
use crate::alerting::secret;

const TIMEOUT: Duration = Duration::from_secs(30);
const MAX_RECIPIENTS: usize = 50;
/// Authentication failed (RFC 4954): that can be corrected while the message waits, other answers
/// above 500 cannot.
const AUTHENTICATION: [u16; 4] = [530, 534, 535, 538];

/// Recipients, by way of a mail server.
pub(in crate::alerting) struct Smtp {
    url: SecretSource,
    from: Mailbox,
    to: Vec<Mailbox>,
}

impl MessageReceiver for Smtp {
    fn kind(&self) -> &'static str {
        "smtp"
    }

    fn send<'a>(
        &'a self,
        _http: &'a Http,
        message: &'a Message,
    ) -> BoxFuture<'a, Result<(), Undelivered>> {
        Box::pin(self.send_message(message))
    }
}

impl Smtp {
    pub(super) fn new(config: &SmtpConfig) -> Result<Self, String> {
        let url = SecretSource::required(&config.url, config.url_file.as_deref(), "url")?;
        if let SecretSource::Given(url) = &url {
            // The reason could show the password.
            AsyncSmtpTransport::<Tokio1Executor>::from_url(url.reveal())
                .map_err(|_| "its url must begin with smtp:// or smtps://".to_owned())?;
        }
        let to = config
            .to
            .iter()
            .map(|text| mailbox(text))
            .collect::<Result<Vec<_>, _>>()?;
        if !(1..=MAX_RECIPIENTS).contains(&to.len()) {
            return Err(format!("it needs 1 to {MAX_RECIPIENTS} recipients in to"));
        }
        Ok(Self {
            url,
            from: mailbox(&config.from)?,
            to,
        })
    }

    async fn send_message(&self, message: &Message) -> Result<(), Undelivered> {
        let url = secret::read(&self.url).await.map_err(Undelivered::later)?;
        // Made for each message: the file that has the URL may have changed.
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.reveal());
        let transport = transport
            .map_err(|_| Undelivered::later("its url must begin with smtp:// or smtps://"))?;
        let transport = transport.timeout(Some(TIMEOUT)).build();
        let mail = self.mail(message).map_err(|problem| Undelivered::Never {
            reason: problem.to_string(),
        })?;
        // The transport's timeout is for each step; this one is for all of them together.
        let sent = tokio::time::timeout(TIMEOUT, transport.send(mail)).await;
        let Ok(sent) = sent else {
            return Err(Undelivered::later("the mail server takes too long"));
        };
        let Err(error) = sent else { return Ok(()) };
        let code = error.status().map(u16::from);
        match error.is_permanent() && !code.is_some_and(|code| AUTHENTICATION.contains(&code)) {
            true => Err(Undelivered::Never {
                reason: error.to_string(),
            }),
            false => Err(Undelivered::later(error.to_string())),
        }
    }

    fn mail(&self, message: &Message) -> Result<lettre::Message, lettre::error::Error> {
        let id = format!("<{}@tidegate>", message.id);
        let mut mail = lettre::Message::builder()
            .from(self.from.clone())
            .subject(super::title(message));
        // The same when it is sent again, so that mail programs show it once.
        mail = mail.message_id(Some(id)).header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            mail = mail.to(to.clone());
        }
        mail.body(text(message))
    }
}

fn mailbox(text: &str) -> Result<Mailbox, String> {
    text.parse()
        .map_err(|problem| format!("{text:?} is not a mail address: {problem}"))
}

fn text(message: &Message) -> String {
    let mut text = String::new();
    for alert in &message.alerts {
        write_alert(&mut text, alert);
    }
    if message.left_out > 0 {
        let _ = writeln!(text, "and {} more alerts", message.left_out);
    }
    if message.held_back > 0 {
        let _ = writeln!(
            text,
            "{} earlier messages were delayed by the route's limit",
            message.held_back
        );
    }
    text
}

fn write_alert(text: &mut String, alert: &Alert) {
    let since = rfc3339(alert.since_ms().unwrap_or(0));
    let status = if alert.is_firing() {
        "fires since"
    } else {
        "ended at"
    };
    let _ = writeln!(text, "{} {status} {since}", alert.name());
    for line in ["summary", "description", "deploy"].map(|name| alert.annotation(name)) {
        if !line.is_empty() {
            let _ = writeln!(text, "{line}");
        }
    }
    for (name, url) in [("Runbook", "runbook_url"), ("Dashboard", "dashboard_url")] {
        if !alert.annotation(url).is_empty() {
            let _ = writeln!(text, "{name}: {}", alert.annotation(url));
        }
    }
    let labels: Vec<String> = alert
        .labels
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let _ = writeln!(text, "{}\n", labels.join(" "));
}

#[cfg(test)]
mod tests {
    use tidegate_redaction::Secret;

    use super::*;
    use crate::alerting::receiver::tests::message;

    fn config() -> SmtpConfig {
        SmtpConfig {
            url: Secret::from("smtps://ada:hunter2@mail.example:465"),
            url_file: None,
            from: "Tidegate <tidegate@example.org>".to_owned(),
            to: vec!["oncall@example.org".to_owned()],
        }
    }

    #[test]
    fn a_mail_has_everything_in_plain_text() {
        let mail = Smtp::new(&config()).unwrap().mail(&message()).unwrap();
        let mail = String::from_utf8(mail.formatted()).unwrap();
        for part in [
            "Subject: [FIRING: 1] Down, Slow of fraud\r\n",
            "Message-ID: <g-1@tidegate>\r\n",
            "To: oncall@example.org\r\n",
            "Down fires since 2023-11-14T22:14:00.000Z\r\n<fraud> & all\r\n",
            "Runbook: https://runbooks/down.md\r\n",
            "Slow ended at 2023-11-14T22:15:00.000Z\r\n",
        ] {
            assert!(mail.contains(part), "{part}\nis not in\n{mail}");
        }
    }

    #[test]
    fn a_wrong_address_is_told_without_the_password() {
        let wrong = |config: SmtpConfig| Smtp::new(&config).err().unwrap();
        let error = wrong(SmtpConfig {
            url: Secret::from("ftp://ada:hunter2@mail"),
            ..config()
        });
        assert!(
            error.contains("must begin with smtp") && !error.contains("hunter2"),
            "{error}"
        );
        assert!(
            wrong(SmtpConfig {
                from: "nobody".to_owned(),
                ..config()
            })
            .contains("\"nobody\" is not a mail address")
        );
        assert!(
            wrong(SmtpConfig {
                to: Vec::new(),
                ..config()
            })
            .contains("recipients")
        );
    }
}
