//! Which objectives burn their error budget, and what is left of it.

use super::or_well;
use crate::ask::Objective;
use crate::doctor::exam::{Exam, duration};
use crate::doctor::finding::{Finding, Severity};

const CHECK: &str = "objectives";
const DAY_MS: u64 = 86_400_000;
/// With fewer requests one failure says little.
const FEW_REQUESTS: u64 = 10;

pub(super) fn check(exam: &Exam) -> Vec<Finding> {
    let objectives = &exam.look.objectives;
    let findings = objectives
        .iter()
        .filter_map(|objective| finding(exam, objective))
        .collect();
    or_well(findings, CHECK, || match objectives.len() {
        0 => "none is configured: [[slo]] in the configuration says what users are promised"
            .to_owned(),
        count => {
            let least = objectives
                .iter()
                .map(|objective| objective.budget_remaining)
                .fold(1.0, f64::min);
            format!(
                "all {count} are met, at least {:.1}% of each budget is left",
                (1000.0 * least).floor() / 10.0
            )
        }
    })
}

fn finding(exam: &Exam, objective: &Objective) -> Option<Finding> {
    let severity = severity(exam, objective)?;
    let Objective {
        name,
        endpoint,
        good,
        total,
        budget_remaining,
        ..
    } = objective;
    let of = if endpoint == "*" {
        "all models".to_owned()
    } else {
        endpoint.clone()
    };
    let mut what = format!(
        "{name} ({} of {of}): {:.1}% of the budget is left, {} of {total} requests were bad",
        objective.measures(),
        100.0 * budget_remaining,
        total.saturating_sub(*good)
    );
    if let Some(burn) = objective.burn("1h") {
        what.push_str(&format!(", the last hour burns at {burn:.1}"));
    }
    if let Some(left_ms) = objective
        .exhausted_ms
        .map(|at_ms| at_ms.saturating_sub(exam.now_ms()))
    {
        what.push_str(&format!(", spent in {}", duration(left_ms)));
    }
    let firing: Vec<String> = objective
        .firing()
        .map(|alert| format!("{} ({})", alert.severity, alert.id))
        .collect();
    if !firing.is_empty() {
        what.push_str(&format!(", alerts: {}", firing.join(", ")));
    }
    if objective.frozen_since_ms.is_some() {
        what.push_str(&format!("; rollouts are {}", objective.rollouts()));
    }
    let runbook = if objective.sli == "latency" {
        "latency-burn"
    } else {
        "availability-burn"
    };
    Some(
        Finding::new(severity, CHECK, what)
            .next(exam.command("slo"))
            .runbook(runbook),
    )
}

/// `None` if there is nothing to say.
fn severity(exam: &Exam, objective: &Objective) -> Option<Severity> {
    let pages = objective.firing().any(|alert| alert.severity == "page");
    let soon = objective
        .exhausted_ms
        .is_some_and(|at_ms| at_ms.saturating_sub(exam.now_ms()) < DAY_MS);
    let (left, is_few) = (objective.budget_remaining, objective.total < FEW_REQUESTS);
    match () {
        () if pages => Some(Severity::Critical),
        () if left <= 0.0 && is_few => Some(Severity::Notice),
        () if left <= 0.0 => Some(Severity::Critical),
        () if objective.firing().next().is_some() || soon && !is_few => Some(Severity::Warning),
        () if objective.frozen_since_ms.is_some() => Some(Severity::Warning),
        () if left < 0.25 => Some(Severity::Notice),
        () => None,
    }
}
