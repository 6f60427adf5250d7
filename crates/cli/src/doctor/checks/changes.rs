//! What was changed lately, and whether an alert began soon after.

use std::collections::BTreeSet;

use super::or_well;
use crate::ask::Event;
use crate::doctor::exam::{Exam, duration};
use crate::doctor::finding::{Finding, Severity};

const CHECK: &str = "changes";
/// An alert that begins so soon after a change may come of it: deploys show within minutes, and the
/// longest short window of a page is half an hour.
const SOON_MS: u64 = 30 * 60_000;
/// Changes that are listed; the others are counted.
const SHOWN: usize = 5;

pub(super) fn check(exam: &Exam) -> Vec<Finding> {
    let changes: Vec<&Event> = exam.events().filter(|event| is_change(event)).collect();
    let mut findings = suspects(exam, &changes);
    if !changes.is_empty() {
        findings.push(listed(exam, &changes));
    }
    or_well(findings, CHECK, || {
        format!(
            "nothing was deployed or configured in the last {} h",
            exam.hours
        )
    })
}

fn is_change(event: &Event) -> bool {
    match event.name.as_str() {
        "version.ready" => event.field("deploy") == "true",
        "version.reloaded" | "configuration.changed" => true,
        _ => false,
    }
}

fn listed(exam: &Exam, changes: &[&Event]) -> Finding {
    let shown = changes.iter().take(SHOWN).map(|event| {
        let ago_ms = exam.now_ms().saturating_sub(event.at_ms);
        format!("{} {} ago", said(event), duration(ago_ms))
    });
    let mut shown: Vec<String> = shown.collect();
    if changes.len() > SHOWN {
        shown.push(format!("{} more", changes.len() - SHOWN));
    }
    let what = format!("in the last {} h: {}", exam.hours, shown.join("; "));
    Finding::new(Severity::Notice, CHECK, what).next(exam.curl("/api/events?limit=1000"))
}

/// Alerts that began soon after a change, each with the last change that may have to do with it.
fn suspects(exam: &Exam, changes: &[&Event]) -> Vec<Finding> {
    let firing: BTreeSet<&str> = exam
        .look
        .alerts
        .iter()
        .filter(|alert| alert.state == "firing")
        .map(|alert| alert.key.as_str())
        .collect();
    let mut told = BTreeSet::new();
    let mut findings = Vec::new();
    for alert in exam.events().filter(|event| event.name == "alert.firing") {
        let suspect = changes.iter().find(|change| may_have_caused(change, alert));
        let Some(change) = suspect.filter(|_| told.insert(alert.field("key"))) else {
            continue;
        };
        let still = firing.contains(alert.field("key").as_str());
        let severity = if still {
            Severity::Warning
        } else {
            Severity::Notice
        };
        let after = duration(alert.at_ms.saturating_sub(change.at_ms));
        let state = if still {
            "and fires still"
        } else {
            "and has ended"
        };
        let what = format!(
            "{} began {after} after {}, {state}",
            alert.field("alert"),
            said(change)
        );
        findings.push(
            Finding::new(severity, CHECK, what)
                .next(undo(exam, change))
                .runbook("bad-rollout"),
        );
    }
    findings
}

/// A version's deploy may have to do with alerts of its model, and with those of no model; a
/// configuration with all.
fn may_have_caused(change: &Event, alert: &Event) -> bool {
    let soon = alert.at_ms >= change.at_ms && alert.at_ms - change.at_ms <= SOON_MS;
    let related = change.model.is_empty()
        || matches!(alert.model.as_str(), "" | "*")
        || change.model == alert.model;
    soon && related
}

fn said(change: &Event) -> String {
    match change.name.as_str() {
        "version.ready" => format!("{} began to answer", change.subject()),
        "version.reloaded" => format!("{} was loaded anew", change.subject()),
        _ => format!("the configuration changed ({})", change.field("keys")),
    }
}

/// How a change is taken back.
fn undo(exam: &Exam, change: &Event) -> String {
    let of_registry = exam.follows_registry()
        && exam
            .look
            .index
            .iter()
            .any(|entry| entry.name == change.model && !entry.aliases.is_empty());
    match change.name.as_str() {
        "configuration.changed" => exam.curl("/api/events?name=configuration"),
        _ if of_registry => format!("tidegate rollback {}", change.model),
        _ => format!(
            "curl -X POST {}/v2/repository/models/{}/load",
            exam.server, change.model
        ),
    }
}
