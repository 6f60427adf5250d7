//! Whether the registry can be read.

use crate::doctor::exam::Exam;
use crate::doctor::finding::{Finding, Severity};

const CHECK: &str = "registry";
/// How the server begins to say that it cannot read the registry.
const UNREACHABLE: &str = "the registry cannot be read";

pub(super) fn check(exam: &Exam) -> Vec<Finding> {
    if !exam.follows_registry() {
        return vec![Finding::new(
            Severity::Ok,
            CHECK,
            "the server does not follow the registry",
        )];
    }
    if exam.figures().value("tidegate_registry_reachable") != Some(0.0) {
        return vec![Finding::new(Severity::Ok, CHECK, "it can be read")];
    }
    let why = exam
        .look
        .problems
        .iter()
        .find(|problem| problem.starts_with(UNREACHABLE));
    let what = why.cloned().unwrap_or_else(|| UNREACHABLE.to_owned());
    let what = format!("{what}; what is loaded or in the cache goes on, nothing new comes");
    vec![
        Finding::new(Severity::Warning, CHECK, what)
            .next("tidegate registry list")
            .runbook("registry-unreachable"),
    ]
}
