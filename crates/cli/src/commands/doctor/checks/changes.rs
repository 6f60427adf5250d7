//! Recent changes, and alerts that began soon after one.

use std::collections::BTreeSet;

use super::or_healthy;
use crate::client::Event;
use crate::commands::doctor::context::{CheckContext, duration};
use crate::commands::doctor::finding::{Finding, Severity};

const CHECK: &str = "changes";
/// An alert that begins this soon after a change may be caused by it: a bad deploy shows within
/// minutes, and the longest short window of a page is half an hour.
const SOON_MS: u64 = 30 * 60_000;
/// Changes that are listed; the others are counted.
const MAX_LISTED: usize = 5;

pub(super) fn check(context: &CheckContext) -> Vec<Finding> {
    let changes: Vec<&Event> = context.events().filter(|event| is_change(event)).collect();
    let mut findings = suspects(context, &changes);
    if !changes.is_empty() {
        findings.push(listed(context, &changes));
    }
    or_healthy(findings, CHECK, || {
        format!(
            "no deploy or new configuration in the last {} h",
            context.hours
        )
    })
}

fn is_change(event: &Event) -> bool {
    match event.name.as_str() {
        // Versions also become ready when the server starts, which changes nothing for clients.
        "version.ready" => event.field("deploy") == "true",
        "version.reloaded" | "configuration.changed" => true,
        _ => false,
    }
}

fn listed(context: &CheckContext, changes: &[&Event]) -> Finding {
    let mut shown: Vec<String> = changes
        .iter()
        .take(MAX_LISTED)
        .map(|event| {
            let ago = duration(context.now_ms().saturating_sub(event.at_ms));
            format!("{} {ago} ago", describe(event))
        })
        .collect();
    if changes.len() > MAX_LISTED {
        shown.push(format!("{} more", changes.len() - MAX_LISTED));
    }
    let what = format!("in the last {} h: {}", context.hours, shown.join("; "));
    Finding::new(Severity::Notice, CHECK, what).next(context.curl("/api/events?limit=1000"))
}

/// Alerts that began soon after a change, each with the last change that may be its cause.
fn suspects(context: &CheckContext, changes: &[&Event]) -> Vec<Finding> {
    let firing: BTreeSet<&str> = context
        .snapshot
        .alerts
        .iter()
        .filter(|alert| alert.state == "firing")
        .map(|alert| alert.key.as_str())
        .collect();
    let mut reported = BTreeSet::new();
    let mut findings = Vec::new();
    for alert in context
        .events()
        .filter(|event| event.name == "alert.firing")
    {
        // Events are sorted with the newest first, so this is the last change before the alert.
        let Some(change) = changes.iter().find(|change| may_cause(change, alert)) else {
            continue;
        };
        let key = alert.field("key");
        let still_fires = firing.contains(key.as_str());
        if reported.insert(key) {
            findings.push(suspect(context, change, alert, still_fires));
        }
    }
    findings
}

fn suspect(context: &CheckContext, change: &Event, alert: &Event, still_fires: bool) -> Finding {
    let (severity, state) = match still_fires {
        true => (Severity::Warning, "and still fires"),
        false => (Severity::Notice, "and has ended"),
    };
    let after = duration(alert.at_ms.saturating_sub(change.at_ms));
    let (name, change_text) = (alert.field("alert"), describe(change));
    let what = format!("{name} began {after} after {change_text}, {state}");
    Finding::new(severity, CHECK, what)
        .next(undo(context, change))
        .runbook("bad-rollout")
}

/// A deploy may cause alerts of its model and alerts of no model; a configuration any alert.
fn may_cause(change: &Event, alert: &Event) -> bool {
    let is_soon = alert.at_ms >= change.at_ms && alert.at_ms - change.at_ms <= SOON_MS;
    let is_related = change.model.is_empty()
        || matches!(alert.model.as_str(), "" | "*")
        || change.model == alert.model;
    is_soon && is_related
}

fn describe(change: &Event) -> String {
    match change.name.as_str() {
        "version.ready" => format!("{} started serving", change.subject()),
        "version.reloaded" => format!("{} was reloaded", change.subject()),
        _ => format!("the configuration changed ({})", change.field("keys")),
    }
}

/// The command that undoes a change.
fn undo(context: &CheckContext, change: &Event) -> String {
    let Event { name, model, .. } = change;
    // Only the operator can put a configuration back; the events say which keys changed.
    if name == "configuration.changed" {
        return context.curl("/api/events?name=configuration");
    }
    let mut index = context.snapshot.index.iter();
    // An alias of the registry can be moved back. Other models come from files: these have to be
    // put back first, and then be loaded again.
    let has_alias = index.any(|entry| entry.name == *model && !entry.aliases.is_empty());
    if context.follows_registry() && has_alias {
        return format!("tidegate rollback {model}");
    }
    format!(
        "curl -X POST {}/v2/repository/models/{model}/load",
        context.server
    )
}
