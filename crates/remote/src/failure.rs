//! Why a call of another server has no answer.

use tidegate_engines::{RunError, UpstreamFailure};

/// The longest text of another server that is passed on, in characters.
const MAX_CHARS: usize = 300;

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CallFailure {
    pub(crate) kind: UpstreamFailure,
    /// What was wrong. It can be shown: what servers sent is printable and short.
    pub(crate) message: String,
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

    /// Says which server it was.
    pub(crate) fn of(mut self, address: &str) -> Self {
        self.message = format!("the upstream server {address} {}", self.message);
        self
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
    fn texts_of_servers_are_printable_and_short() {
        assert_eq!(shown(" a\u{1b}[31mb\nc "), "a [31mb c");
        assert_eq!(shown(&"x".repeat(1000)).chars().count(), MAX_CHARS + 1);
    }
}
