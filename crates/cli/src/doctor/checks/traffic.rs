//! Whether requests are answered: queues, refusals and failures while the server was watched.

use tidegate_observe::SERVER_FAULTS;

use super::or_well;
use crate::doctor::exam::Exam;
use crate::doctor::finding::{Finding, Severity};

const CHECK: &str = "traffic";
/// As many waiting requests as the built-in rule takes for a standing queue.
const LONG_QUEUE: f64 = 100.0;
/// Failures that come of more load than can be carried.
const OVERLOAD: [&str; 2] = ["queue_full", "deadline_exceeded"];
/// Above this share of failed requests users notice.
const SOME: f64 = 0.01;
const MANY: f64 = 0.1;

pub(super) fn check(exam: &Exam) -> Vec<Finding> {
    let figures = exam.figures();
    let mut findings = Vec::new();
    for model in figures.values_of("nv_inference_request_success", "model") {
        findings.extend(failing(exam, &model));
        findings.extend(queue(exam, &model));
    }
    findings.extend(refused(exam));
    findings.extend(connections(exam));
    findings.extend(uncounted(exam));
    or_well(findings, CHECK, || {
        let answered = exam.growth("nv_inference_request_success", &[]) / exam.watch_s;
        format!(
            "{answered:.1} requests a second are answered and none fails, {} wait",
            waiting(exam)
        )
    })
}

fn waiting(exam: &Exam) -> f64 {
    exam.figures()
        .value("nv_inference_pending_request_count")
        .unwrap_or(0.0)
}

/// Requests of a model that the server failed.
fn failing(exam: &Exam, model: &str) -> Option<Finding> {
    let grown = |reason| {
        exam.growth(
            "nv_inference_request_failure",
            &[("model", model), ("reason", reason)],
        )
    };
    let failed: Vec<(&str, f64)> = SERVER_FAULTS
        .iter()
        .map(|code| (*code, grown(code)))
        .filter(|(_, count)| *count > 0.0)
        .collect();
    let count: f64 = failed.iter().map(|(_, count)| count).sum();
    if count == 0.0 {
        return None;
    }
    let answered = exam.growth("nv_inference_request_success", &[("model", model)]);
    let share = count / (count + answered);
    let severity = match share {
        MANY.. => Severity::Critical,
        SOME.. => Severity::Warning,
        _ => Severity::Notice,
    };
    let reasons: Vec<String> = failed
        .iter()
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    let all = count + answered;
    let what = format!(
        "{:.1}% of the requests for {model} fail: of {all} in {} s {}",
        100.0 * share,
        exam.watch_s,
        reasons.join(", ")
    );
    let is_overload = failed.iter().all(|(reason, _)| OVERLOAD.contains(reason));
    let runbook = if is_overload {
        "overload"
    } else {
        "availability-burn"
    };
    let next = if is_overload {
        format!("/v2/models/{model}/config")
    } else {
        format!("/v2/models/{model}/stats")
    };
    Some(
        Finding::new(severity, CHECK, what)
            .next(exam.curl(&next))
            .runbook(runbook),
    )
}

/// A queue that does not get shorter.
fn queue(exam: &Exam, model: &str) -> Option<Finding> {
    let labels = [("model", model)];
    let now = exam
        .figures()
        .sum("nv_inference_pending_request_count", &labels)?;
    let before = exam
        .before
        .sum("nv_inference_pending_request_count", &labels)
        .unwrap_or(0.0);
    if now < LONG_QUEUE || before < LONG_QUEUE {
        return None;
    }
    let what = format!(
        "{now} requests wait for {model}, {before} did {} s ago",
        exam.watch_s
    );
    let next = exam.curl(&format!("/v2/models/{model}/config"));
    Some(
        Finding::new(Severity::Warning, CHECK, what)
            .next(next)
            .runbook("standing-queue"),
    )
}

/// Requests that reached no version.
fn refused(exam: &Exam) -> Vec<Finding> {
    let codes = exam
        .figures()
        .values_of("tidegate_requests_refused_total", "code");
    let grown = |code: &str| exam.growth("tidegate_requests_refused_total", &[("code", code)]);
    let refused: Vec<(String, f64)> = codes
        .into_iter()
        .map(|code| (grown(&code), code))
        .map(|(count, code)| (code, count))
        .collect();
    let (faults, mistakes): (Vec<_>, Vec<_>) = refused
        .into_iter()
        .filter(|(_, count)| *count > 0.0)
        .partition(|(code, _)| SERVER_FAULTS.contains(&code.as_str()));
    let told = |refused: &[(String, f64)]| {
        let told: Vec<String> = refused
            .iter()
            .map(|(code, count)| format!("{count} {code}"))
            .collect();
        format!(
            "in {} s requests were refused before they reached a version: {}",
            exam.watch_s,
            told.join(", ")
        )
    };
    let mut findings = Vec::new();
    if !faults.is_empty() {
        let finding = Finding::new(Severity::Warning, CHECK, told(&faults));
        findings.push(finding.next(exam.command("models")).runbook("not-ready"));
    }
    if !mistakes.is_empty() {
        let what = format!("{}; these are clients' mistakes", told(&mistakes));
        findings.push(Finding::new(Severity::Notice, CHECK, what).next(exam.curl("/metrics")));
    }
    findings
}

fn connections(exam: &Exam) -> Option<Finding> {
    let refused = exam.growth("tidegate_connections_refused_total", &[]);
    let open = exam
        .figures()
        .value("tidegate_open_connections")
        .unwrap_or(0.0);
    let what = format!(
        "{refused} connections were closed in {} s because too many are open: {open}",
        exam.watch_s
    );
    let next = exam.curl("/metrics");
    (refused > 0.0).then(|| {
        Finding::new(Severity::Warning, CHECK, what)
            .next(next)
            .runbook("connections-refused")
    })
}

/// Requests and versions that are missing in all these figures.
fn uncounted(exam: &Exam) -> Option<Finding> {
    let name = "tidegate_observations_dropped_total";
    let (dropped, grown) = (
        exam.figures().value(name).unwrap_or(0.0),
        exam.growth(name, &[]),
    );
    let overflows = exam
        .figures()
        .value("tidegate_metrics_overflows_total")
        .unwrap_or(0.0);
    let severity = match (dropped + overflows, grown) {
        (_, 1.0..) => Severity::Warning,
        (1.0.., _) => Severity::Notice,
        _ => return None,
    };
    let what = format!(
        "the figures are not complete: {dropped} requests are missing, {grown} of them in the last {} s; {overflows} \
         loads of versions are counted together as _other",
        exam.watch_s
    );
    Some(Finding::new(severity, CHECK, what).next(exam.curl("/metrics")))
}
