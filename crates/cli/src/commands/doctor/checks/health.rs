//! Whether the server is ready, its version, and how often it restarted.

use super::registry::UNREACHABLE;
use crate::commands::doctor::context::{CheckContext, duration};
use crate::commands::doctor::finding::{Finding, Severity};
use crate::output::counted;

const CHECK: &str = "health";
/// This many starts within `hours` are crashes rather than deploys.
const MANY_STARTS: usize = 4;

pub(super) fn check(context: &CheckContext) -> Vec<Finding> {
    let mut findings = vec![readiness(context)];
    findings.extend(problems(context));
    findings.extend(restarts(context));
    findings
}

fn readiness(context: &CheckContext) -> Finding {
    let snapshot = &context.snapshot;
    let identity = identity(context);
    match (&snapshot.not_ready, snapshot.problems.len()) {
        (Some(why), _) => {
            let what = format!("the server is not ready for traffic: {why}");
            Finding::new(Severity::Critical, CHECK, what)
                .next(context.command("models"))
                .runbook("not-ready")
        }
        (None, 0) => Finding::new(Severity::Ok, CHECK, format!("ready, {identity}")),
        (None, problems) => {
            let problems = counted(problems as u64, "problem");
            let what = format!("ready, but with {problems}, {identity}");
            Finding::new(Severity::Notice, CHECK, what)
        }
    }
}

/// The problems that no other check explains: configured models that do not exist, and aliases that
/// have no effect.
fn problems(context: &CheckContext) -> impl Iterator<Item = Finding> {
    let problems = context.snapshot.problems.iter();
    let own = problems.filter(|problem| {
        let is_explained = [
            UNREACHABLE,
            " is not served: ",
            " still serves the old file: ",
        ];
        !is_explained.iter().any(|part| problem.contains(part))
    });
    own.map(|problem| {
        Finding::new(Severity::Warning, CHECK, problem.as_str())
            .next(context.command("models"))
            .runbook("not-ready")
    })
}

fn identity(context: &CheckContext) -> String {
    let version = &context.snapshot.version;
    match context.metrics().value("process_start_time_seconds") {
        None => format!("version {version}"),
        Some(start_s) => {
            let up_ms = context.now_ms().saturating_sub((start_s * 1000.0) as u64);
            format!("version {version}, up for {}", duration(up_ms))
        }
    }
}

fn restarts(context: &CheckContext) -> Option<Finding> {
    let starts = context
        .events()
        .filter(|event| event.name == "server.started")
        .count();
    if starts < MANY_STARTS {
        return None;
    }
    let hours = context.hours;
    let what = format!("the server started {starts} times in the last {hours} h");
    Some(
        Finding::new(Severity::Warning, CHECK, what)
            .next(context.curl("/api/events?name=server.started"))
            .runbook("down"),
    )
}
