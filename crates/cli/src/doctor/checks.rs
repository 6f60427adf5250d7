//! The checks, in the order in which an incident is gone through.

mod alerts;
mod changes;
mod clock;
mod data;
mod health;
mod machine;
mod objectives;
mod registry;
mod traffic;
mod versions;

use super::exam::Exam;
use super::finding::{Finding, Severity};
use crate::printable::printable;

/// One part of the checklist; finds at least one thing, if only that all is well.
type Check = fn(&Exam) -> Vec<Finding>;

const ALL: [Check; 10] = [
    health::check,
    versions::check,
    objectives::check,
    alerts::check,
    changes::check,
    registry::check,
    traffic::check,
    machine::check,
    data::check,
    clock::check,
];

/// Goes through all of them.
pub(super) fn run(exam: &Exam) -> Vec<Finding> {
    ALL.iter().flat_map(|check| check(exam)).collect()
}

/// A server that could not be asked.
pub(super) fn unseen(server: &str, error: &anyhow::Error) -> Finding {
    let what = format!("the server cannot be looked at: {error:#}");
    let next = format!(
        "curl -i {}/v2/health/live",
        printable(server.trim_end_matches('/'))
    );
    Finding::new(Severity::Critical, "health", what)
        .next(next)
        .runbook("down")
}

/// What was found, or else that all is well.
fn or_well(
    findings: Vec<Finding>,
    check: &'static str,
    well: impl FnOnce() -> String,
) -> Vec<Finding> {
    match findings.is_empty() {
        true => vec![Finding::new(Severity::Ok, check, well())],
        false => findings,
    }
}

#[cfg(test)]
mod tests;
