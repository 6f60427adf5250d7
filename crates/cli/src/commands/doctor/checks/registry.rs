//! Whether the server can read the registry.

use crate::commands::doctor::context::CheckContext;
use crate::commands::doctor::finding::{Finding, Severity};

const CHECK: &str = "registry";
/// How the server's message begins if it cannot read the registry.
pub(super) const UNREACHABLE: &str = "the registry cannot be read";

pub(super) fn check(context: &CheckContext) -> Vec<Finding> {
    if !context.follows_registry() {
        return vec![Finding::new(
            Severity::Ok,
            CHECK,
            "the server does not follow the registry",
        )];
    }
    if context.metrics().value("tidegate_registry_reachable") != Some(0.0) {
        return vec![Finding::new(Severity::Ok, CHECK, "it can be read")];
    }
    let why = context
        .snapshot
        .problems
        .iter()
        .find(|problem| problem.starts_with(UNREACHABLE));
    let what = why.cloned().unwrap_or_else(|| UNREACHABLE.to_owned());
    let what = format!("{what}; loaded and cached versions are still served, but no new ones");
    vec![
        Finding::new(Severity::Warning, CHECK, what)
            .next("tidegate registry list")
            .runbook("registry-unreachable"),
    ]
}
