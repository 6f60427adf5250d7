//! Recent changes, and alerts that began soon after one.

use std::collections::BTreeMap;

use super::or_healthy;
use crate::client::Event;
use crate::commands::doctor::context::{CheckContext, duration};
use crate::commands::doctor::finding::{Finding, Severity};

const CHECK: &str = "changes";
/// An alert that begins this soon after a change may be caused by it: a bad deploy shows within
/// minutes, and the longest short window of a page is half an hour.
const SOON_MS: u64 = 30 * 60_000;
/// Alerts about something else than how versions answer.
const NOT_BY_DEPLOYS: [&str; 6] = [
    "TidegateModelLoadFailed",
    "TidegateRegistryUnreachable",
    "TidegateReplicasApart",
    "TidegateRedisAway",
    "TidegateCostBudget",
    "TidegateConnectionsRefused",
];
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

/// Alerts that began soon after a change, each with the last change that may be its cause. An alert
/// of several windows or versions is told once.
fn suspects(context: &CheckContext, changes: &[&Event]) -> Vec<Finding> {
    let mut suspects: BTreeMap<(String, &str, u64), Suspect<'_>> = BTreeMap::new();
    for alert in context
        .events()
        .filter(|event| event.name == "alert.firing")
    {
        // Events are sorted with the newest first, so this is the last change before the alert.
        let Some(change) = changes.iter().find(|change| may_cause(change, alert)) else {
            continue;
        };
        let still_fires = is_firing(context, &alert.field("key"));
        let same = (alert.field("alert"), alert.model.as_str(), change.at_ms);
        let suspect = suspects.entry(same).or_insert(Suspect {
            change,
            alert,
            still_fires,
        });
        // The first of its windows says how soon it began.
        suspect.alert = alert;
        suspect.still_fires |= still_fires;
    }
    let mut suspects: Vec<Suspect<'_>> = suspects.into_values().collect();
    suspects.sort_by_key(|suspect| std::cmp::Reverse(suspect.alert.at_ms));
    let findings = suspects.iter().map(|suspect| suspect.finding(context));
    findings.collect()
}

fn is_firing(context: &CheckContext, key: &str) -> bool {
    let mut alerts = context.snapshot.alerts.iter();
    alerts.any(|alert| alert.key == key && alert.state == "firing")
}

/// A change with an alert that it may have caused.
struct Suspect<'a> {
    change: &'a Event,
    alert: &'a Event,
    still_fires: bool,
}

impl Suspect<'_> {
    fn finding(&self, context: &CheckContext) -> Finding {
        let Self { change, alert, .. } = self;
        let (severity, state) = match self.still_fires {
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
}

/// A deploy may cause alerts of its model and alerts of no model; a configuration any alert. A
/// version that serves is no reason why another one cannot be loaded.
fn may_cause(change: &Event, alert: &Event) -> bool {
    let is_deploy = !change.model.is_empty();
    if is_deploy && NOT_BY_DEPLOYS.contains(&alert.field("alert").as_str()) {
        return false;
    }
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

/// The command that undoes a change, or shows what would.
fn undo(context: &CheckContext, change: &Event) -> String {
    let Event { name, model, .. } = change;
    if name == "configuration.changed" {
        return context.curl("/api/events?name=configuration");
    }
    if !context.follows_registry() {
        // Loading the same file again would change nothing.
        return format!(
            "restore the old files of {model}, then: {}",
            context
                .commands
                .post(&format!("/v2/repository/models/{model}/load"))
        );
    }
    let mut index = context.snapshot.index.iter();
    let has_alias = index.any(|entry| {
        entry.name == *model && entry.version == change.version && !entry.aliases.is_empty()
    });
    // Where the alias means another version by now, or has no effect here, a rollback changes
    // nothing.
    match has_alias && !has_idle_alias(context, model) {
        true => format!("tidegate rollback {model}"),
        false => context.command("models"),
    }
}

/// Whether the server says that moving the alias of a model has no effect.
fn has_idle_alias(context: &CheckContext, model: &str) -> bool {
    let alias = format!("{model}@champion is ");
    let mut problems = context.snapshot.problems.iter();
    problems.any(|problem| problem.starts_with(&alias))
}
