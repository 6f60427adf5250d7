//! Which alerts fire, and whether people hear of them.

use super::or_well;
use crate::ask::{Alert, AlertRoute};
use crate::doctor::exam::{Exam, duration};
use crate::doctor::finding::{Finding, Severity};

const CHECK: &str = "alerts";

pub(super) fn check(exam: &Exam) -> Vec<Finding> {
    // Those of objectives are told with their objective.
    let own = exam
        .look
        .alerts
        .iter()
        .filter(|alert| alert.label("slo").is_empty());
    let mut findings: Vec<Finding> = own.filter_map(|alert| firing(exam, alert)).collect();
    findings.extend(
        exam.look
            .routes
            .iter()
            .filter_map(|route| broken(exam, route)),
    );
    findings.extend(given_up(exam));
    let routes = exam.look.routes.len();
    if routes == 0 && exam.look.alerts.iter().any(|alert| alert.state == "firing") {
        let what = "alerts fire and no route is configured: nobody hears of them";
        findings.push(Finding::new(Severity::Warning, CHECK, what).next(exam.command("alerts")));
    }
    or_well(findings, CHECK, || match routes {
        0 => "none fires; no route is configured, so nobody would hear of one".to_owned(),
        _ => format!("none fires, and messages arrive on {routes} routes as far as any were sent"),
    })
}

fn firing(exam: &Exam, alert: &Alert) -> Option<Finding> {
    let since_ms = exam
        .now_ms()
        .saturating_sub(u64::try_from(alert.since_ms).unwrap_or(0));
    let severity = match (
        alert.state.as_str(),
        alert.suppression(),
        alert.severity.as_str(),
    ) {
        ("pending", ..) | ("firing", Some(_), _) => Severity::Notice,
        ("firing", None, "page") => Severity::Critical,
        ("firing", None, _) => Severity::Warning,
        _ => return None,
    };
    let of: Vec<String> = alert
        .labels
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "alertname" | "severity"))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let of = if of.is_empty() {
        String::new()
    } else {
        format!(" of {}", of.join(", "))
    };
    let mut what = format!(
        "{}{of} has been {} for {}",
        alert.name,
        alert.state,
        duration(since_ms)
    );
    for said in [alert.annotation("summary"), alert.annotation("description")] {
        if !said.is_empty() {
            what.push_str(&format!(": {said}"));
        }
    }
    if let Some(suppressed) = alert.suppression() {
        what.push_str(&format!(
            " (told to nobody: {} {})",
            suppressed.by.replace('_', " "),
            suppressed.what
        ));
    }
    let finding = Finding::new(severity, CHECK, what).next(exam.command("alerts"));
    Some(match alert.annotation("runbook_url") {
        "" => finding,
        // Wherever the server's configuration has its runbooks.
        url => finding.runbook(url),
    })
}

fn broken(exam: &Exam, route: &AlertRoute) -> Option<Finding> {
    let since_ms = exam.now_ms().saturating_sub(route.failing_since_ms?);
    let what = format!(
        "nothing has arrived on route {} ({}) for {}: {}; messages that wait: {}",
        route.name,
        route.receiver,
        duration(since_ms),
        route.reason.as_deref().unwrap_or("no reason is known"),
        route.waiting
    );
    Some(Finding::new(Severity::Warning, CHECK, what).next(exam.curl("/api/alerts/routes")))
}

fn given_up(exam: &Exam) -> Option<Finding> {
    let count = exam
        .events()
        .filter(|event| event.name == "alert.undelivered")
        .count();
    let what = format!(
        "{count} messages about alerts were given up in the last {} h",
        exam.hours
    );
    (count > 0).then(|| {
        Finding::new(Severity::Warning, CHECK, what)
            .next(exam.curl("/api/events?name=alert.undelivered"))
    })
}
