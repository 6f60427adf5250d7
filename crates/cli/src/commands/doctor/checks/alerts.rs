//! Which alerts fire, and whether messages about them are delivered.

use super::or_healthy;
use crate::client::{Alert, AlertRoute};
use crate::commands::doctor::context::{CheckContext, duration};
use crate::commands::doctor::finding::{Finding, Severity};
use crate::output::counted;

const CHECK: &str = "alerts";

pub(super) fn check(context: &CheckContext) -> Vec<Finding> {
    let snapshot = &context.snapshot;
    let mut findings: Vec<Finding> = snapshot
        .alerts
        .iter()
        // The check of objectives reports their alerts.
        .filter(|alert| alert.label("slo").is_empty())
        .filter_map(|alert| firing(context, alert))
        .collect();
    let broken = snapshot
        .routes
        .iter()
        .filter_map(|route| broken_route(context, route));
    findings.extend(broken);
    findings.extend(undelivered(context));
    let is_any_firing = snapshot.alerts.iter().any(|alert| alert.state == "firing");
    if snapshot.routes.is_empty() && is_any_firing {
        let what = "alerts fire, but no route is configured: nobody is notified";
        findings.push(Finding::new(Severity::Warning, CHECK, what).next(context.command("alerts")));
    }
    or_healthy(findings, CHECK, || match snapshot.routes.len() {
        0 => "no alert fires; no route is configured, so nobody would be notified".to_owned(),
        routes => format!(
            "no alert fires; no delivery fails on {}",
            counted(routes as u64, "route")
        ),
    })
}

fn firing(context: &CheckContext, alert: &Alert) -> Option<Finding> {
    let suppression = alert.suppression();
    let severity = match (alert.state.as_str(), suppression, alert.severity.as_str()) {
        // One that is suppressed is known already: somebody silenced it, or what causes it fires.
        ("pending", ..) | ("firing", Some(_), _) => Severity::Notice,
        ("firing", None, "page") => Severity::Critical,
        ("firing", None, _) => Severity::Warning,
        _ => return None,
    };
    let since_ms = u64::try_from(alert.since_ms).unwrap_or(0);
    let lasted = duration(context.now_ms().saturating_sub(since_ms));
    let labels = match alert.labels_except(&["alertname", "severity"]) {
        labels if labels.is_empty() => labels,
        labels => format!(" of {labels}"),
    };
    let (name, state) = (&alert.name, &alert.state);
    let mut what = format!("{name}{labels} has been {state} for {lasted}");
    for annotation in [alert.annotation("summary"), alert.annotation("description")] {
        if !annotation.is_empty() {
            what.push_str(&format!(": {annotation}"));
        }
    }
    if let Some(suppression) = suppression {
        let reason = suppression.describe(&context.snapshot.alerts);
        what.push_str(&format!(" (not sent: {reason})"));
    }
    let finding = Finding::new(severity, CHECK, what).next(context.command("alerts"));
    Some(match alert.annotation("runbook_url") {
        "" => finding,
        // The server's configuration has the address of its runbooks.
        url => finding.runbook(url),
    })
}

fn broken_route(context: &CheckContext, route: &AlertRoute) -> Option<Finding> {
    let failing_ms = context.now_ms().saturating_sub(route.failing_since_ms?);
    let what = format!(
        "delivery on route {} ({}) has failed for {}: {}; waiting messages: {}",
        route.name,
        route.receiver,
        duration(failing_ms),
        route.reason.as_deref().unwrap_or("unknown reason"),
        route.waiting
    );
    let next = context.curl("/api/alerts/routes");
    Some(Finding::new(Severity::Warning, CHECK, what).next(next))
}

/// Messages that were dropped after all retries.
fn undelivered(context: &CheckContext) -> Option<Finding> {
    let count = context
        .events()
        .filter(|event| event.name == "alert.undelivered")
        .count();
    if count == 0 {
        return None;
    }
    let messages = counted(count as u64, "message");
    let what = format!(
        "{messages} about alerts could not be delivered in the last {} h",
        context.hours
    );
    let next = context.curl("/api/events?name=alert.undelivered");
    Some(Finding::new(Severity::Warning, CHECK, what).next(next))
}
