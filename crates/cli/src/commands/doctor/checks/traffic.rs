//! Queues, refusals and failures while the server was watched.

use tidegate_observe::SERVER_FAULTS;

use super::or_healthy;
use crate::commands::doctor::context::CheckContext;
use crate::commands::doctor::finding::{Finding, Severity};

const CHECK: &str = "traffic";
/// As many queued requests as the built-in alert rule takes for a standing queue.
const LONG_QUEUE: f64 = 100.0;
/// Failures that too much load causes.
const OVERLOAD: [&str; 2] = ["queue_full", "deadline_exceeded"];
/// Shares of failed requests.
const SOME_FAILED: f64 = 0.01;
const MANY_FAILED: f64 = 0.1;

pub(super) fn check(context: &CheckContext) -> Vec<Finding> {
    let metrics = context.metrics();
    let mut findings = Vec::new();
    for model in metrics.label_values("nv_inference_request_success", "model") {
        findings.extend(failing(context, &model));
        findings.extend(queue(context, &model));
    }
    findings.extend(refused(context));
    findings.extend(connections(context));
    findings.extend(incomplete_metrics(context));
    or_healthy(findings, CHECK, || {
        let answered = context.increase("nv_inference_request_success", &[]) / context.watch_s;
        format!(
            "{answered:.1} requests/s succeed and none fails, {} are queued",
            queued(context)
        )
    })
}

fn queued(context: &CheckContext) -> f64 {
    context
        .metrics()
        .value("nv_inference_pending_request_count")
        .unwrap_or(0.0)
}

/// Requests for a model that failed through no fault of the client.
fn failing(context: &CheckContext, model: &str) -> Option<Finding> {
    let failed: Vec<(&str, f64)> = SERVER_FAULTS
        .iter()
        .map(|reason| (*reason, failures(context, model, reason)))
        .filter(|(_, count)| *count > 0.0)
        .collect();
    let count: f64 = failed.iter().map(|(_, count)| count).sum();
    if count == 0.0 {
        return None;
    }
    let total = count + context.increase("nv_inference_request_success", &[("model", model)]);
    let share = count / total;
    let severity = match share {
        MANY_FAILED.. => Severity::Critical,
        SOME_FAILED.. => Severity::Warning,
        _ => Severity::Notice,
    };
    let what = format!(
        "{:.1}% of the requests for {model} fail: of {total} in {} s {}",
        100.0 * share,
        context.watch_s,
        counts(&failed)
    );
    let is_overload = failed.iter().all(|(reason, _)| OVERLOAD.contains(reason));
    // Under overload the limits are what to check, otherwise what failed.
    let (page, runbook) = match is_overload {
        true => ("config", "overload"),
        false => ("stats", "availability-burn"),
    };
    Some(
        Finding::new(severity, CHECK, what)
            .next(context.curl(&format!("/v2/models/{model}/{page}")))
            .runbook(runbook),
    )
}

fn failures(context: &CheckContext, model: &str, reason: &str) -> f64 {
    let labels = [("model", model), ("reason", reason)];
    context.increase("nv_inference_request_failure", &labels)
}

/// Such as `3 queue_full, 1 timeout`.
fn counts(failed: &[(impl AsRef<str>, f64)]) -> String {
    let counts: Vec<String> = failed
        .iter()
        .map(|(reason, count)| format!("{count} {}", reason.as_ref()))
        .collect();
    counts.join(", ")
}

/// A queue that does not get shorter.
fn queue(context: &CheckContext, model: &str) -> Option<Finding> {
    let labels = [("model", model)];
    let now = context
        .metrics()
        .sum("nv_inference_pending_request_count", &labels)?;
    let before = context
        .before
        .sum("nv_inference_pending_request_count", &labels)
        .unwrap_or(0.0);
    // At both ends of the watch: a burst that is worked off meanwhile is not a standing queue.
    if now < LONG_QUEUE || before < LONG_QUEUE {
        return None;
    }
    let what = format!(
        "queue of {model}: {now} requests (was {before} {} s ago)",
        context.watch_s
    );
    let next = context.curl(&format!("/v2/models/{model}/config"));
    Some(
        Finding::new(Severity::Warning, CHECK, what)
            .next(next)
            .runbook("standing-queue"),
    )
}

/// Requests that were refused before they reached a version.
fn refused(context: &CheckContext) -> Vec<Finding> {
    let name = "tidegate_requests_refused_total";
    let (faults, mistakes): (Vec<_>, Vec<_>) = context
        .metrics()
        .label_values(name, "code")
        .into_iter()
        .map(|code| {
            let count = context.increase(name, &[("code", &code)]);
            (code, count)
        })
        .filter(|(_, count)| *count > 0.0)
        .partition(|(code, _)| SERVER_FAULTS.contains(&code.as_str()));
    let mut findings = Vec::new();
    if !faults.is_empty() {
        let finding = Finding::new(Severity::Warning, CHECK, refusals(context, &faults));
        findings.push(finding.next(context.command("models")).runbook("not-ready"));
    }
    if !mistakes.is_empty() {
        let refusals = refusals(context, &mistakes);
        let what = format!("{refusals}; these are client errors");
        findings.push(Finding::new(Severity::Notice, CHECK, what).next(context.curl("/metrics")));
    }
    findings
}

fn refusals(context: &CheckContext, refused: &[(String, f64)]) -> String {
    format!(
        "requests refused in {} s before they reached a version: {}",
        context.watch_s,
        counts(refused)
    )
}

fn connections(context: &CheckContext) -> Option<Finding> {
    let refused = context.increase("tidegate_connections_refused_total", &[]);
    let open = context
        .metrics()
        .value("tidegate_open_connections")
        .unwrap_or(0.0);
    let what = format!(
        "{refused} connections were closed in {} s because {open} are open",
        context.watch_s
    );
    let next = context.curl("/metrics");
    (refused > 0.0).then(|| {
        Finding::new(Severity::Warning, CHECK, what)
            .next(next)
            .runbook("connections-refused")
    })
}

/// Requests and versions that are missing in the metrics of this check.
fn incomplete_metrics(context: &CheckContext) -> Option<Finding> {
    let name = "tidegate_observations_dropped_total";
    let (dropped, increase) = (
        context.metrics().value(name).unwrap_or(0.0),
        context.increase(name, &[]),
    );
    let overflows = context
        .metrics()
        .value("tidegate_metrics_overflows_total")
        .unwrap_or(0.0);
    // If requests are lost now, the other findings of this check are incomplete; if they were lost
    // earlier, only the totals are.
    let severity = match (dropped + overflows, increase) {
        (_, 1.0..) => Severity::Warning,
        (1.0.., _) => Severity::Notice,
        _ => return None,
    };
    let what = format!(
        "the metrics are incomplete: {dropped} requests are missing, {increase} of them in the last \
         {} s; {overflows} loads of versions are counted together as _other",
        context.watch_s
    );
    Some(Finding::new(severity, CHECK, what).next(context.curl("/metrics")))
}
