//! What a check found.

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Severity {
    /// As it should be.
    Ok,
    /// Worth knowing, and no fault.
    Notice,
    /// Users may feel it, or will.
    Warning,
    /// Users feel it now.
    Critical,
}

impl Severity {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// One thing that was found, and what to do about it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    /// The part that was looked at.
    pub(crate) check: &'static str,
    /// What is so, with its numbers.
    pub(crate) what: String,
    /// A command that goes on from here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
    /// The address of the runbook.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) runbook: Option<String>,
}

impl Finding {
    pub(super) fn new(severity: Severity, check: &'static str, what: impl Into<String>) -> Self {
        Self {
            severity,
            check,
            what: what.into(),
            next: None,
            runbook: None,
        }
    }

    /// The same with a command.
    pub(super) fn next(self, command: impl Into<String>) -> Self {
        Self {
            next: Some(command.into()),
            ..self
        }
    }

    /// The same with a runbook, by its name under `docs/runbooks`.
    pub(super) fn runbook(self, name: &str) -> Self {
        Self {
            runbook: tidegate_observe::alerting::Links::default().runbook(name),
            ..self
        }
    }
}
