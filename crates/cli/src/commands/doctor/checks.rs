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

use super::context::CheckContext;
use super::finding::{Finding, Severity};
use super::next_commands::NextCommands;

/// One part of the checklist. It gives at least one finding, if only that all is healthy.
type Check = fn(&CheckContext) -> Vec<Finding>;

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

/// Runs all checks.
pub(super) fn run(context: &CheckContext) -> Vec<Finding> {
    ALL.iter().flat_map(|check| check(context)).collect()
}

/// The finding about a server that could not be reached.
pub(super) fn unreachable_server(commands: &NextCommands, error: &anyhow::Error) -> Finding {
    let what = format!("cannot reach the server: {error:#}");
    let next = commands.get_with_status("/v2/health/live");
    Finding::new(Severity::Critical, "health", what)
        .next(next)
        .runbook("down")
}

/// The findings, or one that says that all is healthy.
fn or_healthy(
    findings: Vec<Finding>,
    check: &'static str,
    healthy: impl FnOnce() -> String,
) -> Vec<Finding> {
    match findings.is_empty() {
        true => vec![Finding::new(Severity::Ok, check, healthy())],
        false => findings,
    }
}

#[cfg(test)]
mod tests;
