//! Requests that were not answered.

use serde::Serialize;

/// How a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FailureKind {
    /// The server refused the request for now: HTTP 429, 503 or 504, gRPC `RESOURCE_EXHAUSTED`,
    /// `UNAVAILABLE` or `DEADLINE_EXCEEDED`.
    Refused,
    /// The server answered with another status that is no success.
    Status,
    /// No connection could be opened.
    Connect,
    /// The connection broke before the answer was complete.
    Closed,
    /// The answer did not arrive within the client's timeout.
    Timeout,
    /// The answer does not follow its protocol.
    Malformed,
}

impl FailureKind {
    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Status => "status",
            Self::Connect => "connect",
            Self::Closed => "closed",
            Self::Timeout => "timeout",
            Self::Malformed => "malformed",
        }
    }
}

/// One request that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    /// The HTTP or gRPC status, if there was one.
    pub(crate) status: Option<u16>,
    /// The server's stable, machine-readable code, if it sent one.
    pub(crate) code: Option<String>,
    pub(crate) message: String,
}

/// Longest part of a server's message that is stored.
const MESSAGE_CHARS: usize = 200;

impl Failure {
    pub(crate) fn new(kind: FailureKind, message: impl std::fmt::Display) -> Self {
        Self {
            kind,
            status: None,
            code: None,
            message: message.to_string(),
        }
    }

    /// An HTTP answer other than a success, with the beginning of its body.
    pub(crate) fn http(status: u16, body: &[u8]) -> Self {
        // Too many requests, unavailable, deadline exceeded: the server chose not to answer.
        let kind = if matches!(status, 429 | 503 | 504) {
            FailureKind::Refused
        } else {
            FailureKind::Status
        };
        #[derive(serde::Deserialize)]
        struct Body {
            error: Option<String>,
            code: Option<String>,
        }
        let parsed: Option<Body> = serde_json::from_slice(body).ok();
        let (error, code) = parsed.map_or((None, None), |body| (body.error, body.code));
        let message = error.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
        Self {
            kind,
            status: Some(status),
            code: code.as_deref().map(shorten),
            message: shorten(&message),
        }
    }

    /// A gRPC status that is not OK.
    pub(crate) fn grpc(status: u16, code: Option<String>, message: &str) -> Self {
        // DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED and UNAVAILABLE, as the HTTP statuses above.
        let kind = if matches!(status, 4 | 8 | 14) {
            FailureKind::Refused
        } else {
            FailureKind::Status
        };
        Self {
            kind,
            status: Some(status),
            code: code.as_deref().map(shorten),
            message: shorten(message),
        }
    }
}

/// The beginning of a message, in one line: reports show it, and it comes from any server.
fn shorten(message: &str) -> String {
    let characters = message.trim().chars().take(MESSAGE_CHARS);
    characters
        .map(|one| if one.is_control() { ' ' } else { one })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_stays_in_its_line() {
        let body = br#"{"error": "a\r\n20 answers\u001b[2J", "code": "b\nc"}"#;
        let failure = Failure::http(500, body);
        assert_eq!(failure.message, "a  20 answers [2J");
        assert_eq!(failure.code.as_deref(), Some("b c"));
    }

    #[test]
    fn a_refusal_is_told_from_an_error_and_keeps_its_code() {
        let full = Failure::http(
            429,
            br#"{"error": "the queue is full", "code": "queue_full"}"#,
        );
        assert_eq!(
            (full.kind, full.code.as_deref()),
            (FailureKind::Refused, Some("queue_full"))
        );
        assert_eq!(full.message, "the queue is full");
        let other = Failure::http(500, b"oops");
        assert_eq!(
            (other.kind, other.code, other.message.as_str()),
            (FailureKind::Status, None, "oops")
        );
        assert_eq!(Failure::grpc(4, None, "late").kind, FailureKind::Refused);
        assert_eq!(Failure::grpc(3, None, "bad").kind, FailureKind::Status);
    }
}
