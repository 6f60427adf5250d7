//! Which objectives use up their error budget.

use super::or_healthy;
use crate::client::Objective;
use crate::commands::doctor::context::{CheckContext, duration};
use crate::commands::doctor::finding::{Finding, Severity};

const CHECK: &str = "objectives";
const DAY_MS: u64 = 86_400_000;
/// With fewer requests, a single failure proves little.
const FEW_REQUESTS: u64 = 10;

pub(super) fn check(context: &CheckContext) -> Vec<Finding> {
    let objectives = &context.snapshot.objectives;
    let findings = objectives
        .iter()
        .filter_map(|objective| finding(context, objective))
        .collect();
    or_healthy(findings, CHECK, || summary(objectives))
}

fn summary(objectives: &[Objective]) -> String {
    let least = objectives
        .iter()
        .map(|objective| objective.budget_remaining)
        .fold(1.0, f64::min);
    // Rounded down: 99.96 % is not 100 %.
    let percent = (1000.0 * least).floor() / 10.0;
    match objectives.len() {
        0 => "no objective is configured: add [[slo]] sections to the configuration".to_owned(),
        1 => format!("met, with {percent:.1}% of the error budget left"),
        count => {
            format!("all {count} are met, with at least {percent:.1}% of each error budget left")
        }
    }
}

fn finding(context: &CheckContext, objective: &Objective) -> Option<Finding> {
    let severity = severity(context, objective)?;
    let runbook = match objective.sli.as_str() {
        "latency" => "latency-burn",
        "freshness" => "freshness-burn",
        _ => "availability-burn",
    };
    Some(
        Finding::new(severity, CHECK, describe(context, objective))
            .next(context.command("slo"))
            .runbook(runbook),
    )
}

fn describe(context: &CheckContext, objective: &Objective) -> String {
    let Objective {
        name,
        endpoint,
        total,
        ..
    } = objective;
    let endpoint = match endpoint.as_str() {
        "*" => "all models",
        endpoint => endpoint,
    };
    let bad = total.saturating_sub(objective.good);
    let mut what = format!(
        "{name} ({} of {endpoint}): {}, {bad} of {total} requests were bad",
        objective.indicator(),
        budget(objective.budget_remaining),
    );
    if let Some(burn_rate) = objective.burn_rate("1h") {
        what.push_str(&format!(", burn rate of the last hour {burn_rate:.1}"));
    }
    if let Some(at_ms) = objective
        .exhausted_ms
        // Of a budget that is used up, this has been said.
        .filter(|_| objective.budget_remaining > 0.0)
    {
        let left = duration(at_ms.saturating_sub(context.now_ms()));
        what.push_str(&format!(", used up in {left} at this rate"));
    }
    let alerts: Vec<String> = objective
        .firing()
        .map(|alert| format!("{} ({})", alert.severity, alert.id))
        .collect();
    if !alerts.is_empty() {
        what.push_str(&format!(", alerts: {}", alerts.join(", ")));
    }
    if objective.frozen_since_ms.is_some() {
        what.push_str(&format!("; rollouts are {}", objective.rollouts()));
    }
    what
}

/// How much of an error budget is left, as a share of it; below 0 it is overspent.
fn budget(left: f64) -> String {
    match left {
        ..-1.0 => format!("the error budget is overspent {:.0} times", 1.0 - left),
        ..=0.0 => "the error budget is used up".to_owned(),
        _ => format!("{:.1}% of the error budget is left", 100.0 * left),
    }
}

/// `None` if the objective is met.
fn severity(context: &CheckContext, objective: &Objective) -> Option<Severity> {
    let pages = objective.firing().any(|alert| alert.severity == "page");
    let soon = objective
        .exhausted_ms
        .is_some_and(|at_ms| at_ms.saturating_sub(context.now_ms()) < DAY_MS);
    let (left, is_sample_small) = (objective.budget_remaining, objective.total < FEW_REQUESTS);
    match () {
        () if pages => Some(Severity::Critical),
        // After `pages`: an alert that pages is critical however few requests there were.
        () if left <= 0.0 && is_sample_small => Some(Severity::Notice),
        () if left <= 0.0 => Some(Severity::Critical),
        () if objective.firing().next().is_some() || soon && !is_sample_small => {
            Some(Severity::Warning)
        }
        // Whoever waits for a new version should learn why it is not served.
        () if objective.frozen_since_ms.is_some() => Some(Severity::Warning),
        () if left < 0.25 => Some(Severity::Notice),
        () => None,
    }
}
