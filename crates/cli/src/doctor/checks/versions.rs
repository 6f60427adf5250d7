//! Which versions do not answer, and why.

use std::collections::BTreeSet;

use super::or_well;
use crate::ask::IndexEntry;
use crate::doctor::exam::Exam;
use crate::doctor::finding::{Finding, Severity};

const CHECK: &str = "versions";

pub(super) fn check(exam: &Exam) -> Vec<Finding> {
    let index = &exam.look.index;
    if index.is_empty() {
        let nothing = Finding::new(Severity::Warning, CHECK, "the server has no model")
            .next(exam.command("models"));
        return vec![nothing.runbook("not-ready")];
    }
    let answering: BTreeSet<&str> = index
        .iter()
        .filter(|entry| entry.state == "READY")
        .map(|entry| entry.name.as_str())
        .collect();
    let mut findings: Vec<Finding> = index
        .iter()
        .filter_map(|entry| finding(exam, entry, &answering))
        .collect();
    findings.extend(cold_starts(exam));
    or_well(findings, CHECK, || {
        let ready = index.iter().filter(|entry| entry.state == "READY").count();
        let models = answering.len();
        format!(
            "models that answer: {models}; versions that do: {ready} of {}",
            index.len()
        )
    })
}

fn finding(exam: &Exam, entry: &IndexEntry, answering: &BTreeSet<&str>) -> Option<Finding> {
    let (title, reason) = (entry.title(), &entry.reason);
    let load = format!(
        "curl -X POST {}/v2/repository/models/{}/load",
        exam.server, entry.name
    );
    let finding = |severity, what: String| Some(Finding::new(severity, CHECK, what));
    match entry.stage().as_str() {
        "failed" | "unavailable" if !answering.contains(entry.name.as_str()) => finding(
            Severity::Critical,
            format!("{title} does not answer, nor does any other version of it: {reason}"),
        )
        .map(|finding| finding.next(load).runbook("model-load-failed")),
        "failed" | "unavailable" => finding(
            Severity::Warning,
            format!("{title} could not be loaded, another version answers: {reason}"),
        )
        .map(|finding| finding.next(load).runbook("model-load-failed")),
        "stale" => finding(
            Severity::Warning,
            format!("{title} answers as it was, loading it anew failed: {reason}"),
        )
        .map(|finding| finding.next(load).runbook("model-load-failed")),
        "unloaded" if !answering.contains(entry.name.as_str()) => finding(
            Severity::Notice,
            format!("{title} was unloaded and refuses its requests"),
        )
        .map(|finding| finding.next(load).runbook("not-ready")),
        stage @ ("fetching" | "verifying" | "loading" | "warming") => {
            finding(Severity::Notice, format!("{title} is {stage}"))
        }
        _ => None,
    }
}

/// Models whose requests often wait until they are loaded.
fn cold_starts(exam: &Exam) -> Vec<Finding> {
    let figures = exam.figures();
    let mut findings = Vec::new();
    for model in figures.values_of("tidegate_cold_start_requests_total", "model") {
        let of = |name| {
            figures
                .sum(name, &[("model", model.as_str())])
                .unwrap_or(0.0)
        };
        let (waited, answered) = (
            of("tidegate_cold_start_requests_total"),
            of("nv_inference_request_success"),
        );
        if waited > 0.05 * answered && waited >= 5.0 {
            let what =
                format!("{waited} of {answered} requests for {model} waited until it was loaded");
            findings.push(
                Finding::new(Severity::Notice, CHECK, what)
                    .next(exam.command("models"))
                    .runbook("cold-starts"),
            );
        }
    }
    findings
}
