//! Why a call of another server has no answer.

use std::error::Error;
use std::io;

use rustls::CertificateError;
use tidegate_engines::{RunError, UpstreamFailure};

/// The longest text of another server that is passed on, in characters.
const MAX_CHARS: usize = 300;

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CallFailure {
    pub(crate) kind: UpstreamFailure,
    /// What was wrong. Callers may read it: it has no address, and what servers sent is printable and
    /// short.
    pub(crate) message: String,
    /// What operators may know besides: the errors below it, which may have addresses and host names.
    pub(crate) detail: String,
    /// Whether another attempt is harmless: no byte of an answer has arrived.
    pub(crate) may_retry: bool,
    /// Whether a server has run the request, or may have: it got the request and did not refuse it.
    pub(crate) has_run: bool,
}

impl CallFailure {
    pub(crate) fn new(kind: UpstreamFailure, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            detail: String::new(),
            may_retry: false,
            has_run: false,
        }
    }

    /// The server cannot be reached or is not ready, and nothing of an answer has arrived.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self {
            may_retry: true,
            ..Self::new(UpstreamFailure::Unavailable, message)
        }
    }

    /// No connection to the server could be opened.
    pub(crate) fn not_reached(error: &(dyn Error + 'static)) -> Self {
        let message = match cause_of_no_connection(error) {
            Some(cause) => format!("cannot be reached: {cause}"),
            None => "cannot be reached".to_owned(),
        };
        Self::unavailable(message).because_of(error)
    }

    /// The same, with what caused it for operators.
    pub(crate) fn because_of(self, error: &dyn Error) -> Self {
        Self {
            detail: causes(error),
            ..self
        }
    }

    /// The answer of a server that got the request is none.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(UpstreamFailure::Invalid, message).after_run()
    }

    pub(crate) fn rejected(message: impl Into<String>) -> Self {
        Self::new(UpstreamFailure::Rejected, message)
    }

    pub(crate) fn timed_out(message: impl Into<String>) -> Self {
        Self::new(UpstreamFailure::TimedOut, message)
    }

    /// The same, where a server has run the request, or may have.
    pub(crate) fn after_run(self) -> Self {
        Self {
            has_run: true,
            ..self
        }
    }

    /// The same, as that of a request of which an attempt had failed before.
    pub(crate) fn after(self, earlier: &Self) -> Self {
        Self {
            has_run: self.has_run || earlier.has_run,
            ..self
        }
    }

    /// The name of its kind in metrics.
    pub(crate) fn outcome(&self) -> &'static str {
        match self.kind {
            UpstreamFailure::Unavailable => "unavailable",
            UpstreamFailure::TimedOut => "timed_out",
            UpstreamFailure::Invalid => "invalid",
            UpstreamFailure::Failed => "failed",
            UpstreamFailure::Rejected => "rejected",
            UpstreamFailure::Overloaded => "overloaded",
        }
    }

    /// All of it, for logs and events.
    pub(crate) fn for_operators(&self) -> String {
        match self.detail.is_empty() {
            true => self.message.clone(),
            false => format!("{}: {}", self.message, self.detail),
        }
    }

    /// Says which server it was, by its number: the addresses of servers are not the callers' business,
    /// also where a server tells its own.
    pub(crate) fn of(mut self, label: &str, hosts: &[String]) -> Self {
        let mut message = self.message;
        for host in hosts {
            message = message.replace(host.as_str(), "[address]");
        }
        self.message = format!("{label} {message}");
        self
    }
}

/// Why there is no connection, where that is a known reason: errors themselves may name addresses.
fn cause_of_no_connection(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(cause) = known_cause(error) {
            return Some(cause);
        }
        if let Some(inner) = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            // `source` of such an error skips the error within.
            next = Some(inner);
        } else {
            next = error.source();
        }
    }
    None
}

fn known_cause(error: &(dyn Error + 'static)) -> Option<&'static str> {
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return Some(tls_cause(error));
    }
    match error.downcast_ref::<io::Error>()?.kind() {
        io::ErrorKind::ConnectionRefused => Some("the connection is refused"),
        io::ErrorKind::ConnectionReset => Some("the connection is reset"),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            Some("there is no route to it")
        }
        io::ErrorKind::TimedOut => Some("no connection in time"),
        _ => None,
    }
}

fn tls_cause(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "its certificate is of an authority that is not known (remote.ca_file)"
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "its certificate is for another name",
        rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "its certificate has expired",
        rustls::Error::InvalidCertificate(_) => "its certificate is not valid",
        rustls::Error::InvalidMessage(_) => "it does not speak TLS",
        rustls::Error::AlertReceived(_) => "it refuses the TLS connection",
        _ => "no TLS connection can be opened",
    }
}

impl From<CallFailure> for RunError {
    fn from(failure: CallFailure) -> Self {
        Self::Upstream {
            failure: failure.kind,
            message: failure.message,
            has_run: failure.has_run,
        }
    }
}

/// A text of another server as it may be shown: without control characters, and not long.
pub(crate) fn shown(text: &str) -> String {
    let text = text.trim();
    let mut shown = String::new();
    for letter in text.chars().take(MAX_CHARS) {
        shown.push(if letter.is_control() { ' ' } else { letter });
    }
    if text.chars().nth(MAX_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

/// An error with what caused it.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let own = error.to_string();
        // Some errors already end with their cause.
        if !text.ends_with(&own) {
            text = format!("{text}: {own}");
        }
        cause = error.source();
    }
    shown(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_get_the_number_of_a_server_and_operators_the_rest() {
        let refused = io::Error::new(
            io::ErrorKind::ConnectionRefused,
            "tcp connect to 10.0.0.7:80",
        );
        let failure = CallFailure::not_reached(&refused);
        assert!(failure.for_operators().contains("10.0.0.7:80"));
        let failure = failure.of("upstream 2 of 3", &[]);
        assert_eq!(
            failure.message,
            "upstream 2 of 3 cannot be reached: the connection is refused"
        );
        let own = CallFailure::rejected("refuses the request (400): no x at http://gpu-1:80/v2");
        let hosts = ["http://gpu-1:80".to_owned(), "gpu-1:80".to_owned()];
        assert!(!own.of("upstream 1 of 1", &hosts).message.contains("gpu-1"));
    }

    #[test]
    fn an_unknown_authority_is_told() {
        let tls = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let error = io::Error::new(io::ErrorKind::InvalidData, tls);
        let failure = CallFailure::not_reached(&error);
        assert!(failure.message.contains("remote.ca_file"), "{failure:?}");
    }

    #[test]
    fn texts_of_servers_are_printable_and_short() {
        assert_eq!(shown(" a\u{1b}[31mb\nc "), "a [31mb c");
        assert_eq!(shown(&"x".repeat(1000)).chars().count(), MAX_CHARS + 1);
    }
}
