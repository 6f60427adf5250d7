//! The results of checks.

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Severity {
    /// As expected.
    Ok,
    /// Worth knowing, but not a fault.
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

/// The result of a check, and what to do about it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    /// The name of the check.
    pub(crate) check: &'static str,
    /// What was found, with its numbers.
    pub(crate) what: String,
    /// The command to run next.
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

    /// Adds the command to run next.
    pub(super) fn next(self, command: impl Into<String>) -> Self {
        Self {
            next: Some(command.into()),
            ..self
        }
    }

    /// Adds a runbook, by its name under `docs/runbooks`, or its URL.
    pub(super) fn runbook(self, name: &str) -> Self {
        Self {
            runbook: tidegate_observe::alerting::Links::default().runbook(name),
            ..self
        }
    }
}
