//! Which versions are not serving, and why.

use std::collections::BTreeSet;

use super::or_healthy;
use crate::client::IndexEntry;
use crate::commands::doctor::context::CheckContext;
use crate::commands::doctor::finding::{Finding, Severity};
use crate::output::shell_word;

const CHECK: &str = "versions";

pub(super) fn check(context: &CheckContext) -> Vec<Finding> {
    let index = &context.snapshot.index;
    if index.is_empty() {
        let nothing = Finding::new(Severity::Warning, CHECK, "the server has no models")
            .next(context.command("models"));
        return vec![nothing.runbook("not-ready")];
    }
    let serving: BTreeSet<&str> = index
        .iter()
        .filter(|entry| entry.state == "READY")
        .map(|entry| entry.name.as_str())
        .collect();
    let mut findings: Vec<Finding> = index
        .iter()
        .filter_map(|entry| finding(context, entry, &serving))
        .collect();
    findings.extend(cold_starts(context));
    or_healthy(findings, CHECK, || {
        let ready = index.iter().filter(|entry| entry.state == "READY").count();
        let models = serving.len();
        format!(
            "serving models: {models}; ready versions: {ready} of {}",
            index.len()
        )
    })
}

/// `serving` has the names of models that have a ready version.
fn finding(
    context: &CheckContext,
    entry: &IndexEntry,
    serving: &BTreeSet<&str>,
) -> Option<Finding> {
    let (title, reason) = (entry.title(), &entry.reason);
    let is_serving = serving.contains(entry.name.as_str());
    let (severity, what, runbook) = match entry.stage().as_str() {
        "failed" | "unavailable" if is_serving => (
            Severity::Warning,
            format!("{title} failed to load, another version is serving: {reason}"),
            "model-load-failed",
        ),
        "failed" | "unavailable" => (
            Severity::Critical,
            format!("{title} failed to load, and no other version is serving: {reason}"),
            "model-load-failed",
        ),
        "stale" => (
            Severity::Warning,
            format!("{title} still serves the old files; reload failed: {reason}"),
            "model-load-failed",
        ),
        // An operator unloaded it, so it is no fault.
        "unloaded" if !is_serving => (
            Severity::Notice,
            format!("{title} was unloaded and refuses requests"),
            "not-ready",
        ),
        // There is nothing to do but wait, so neither a command nor a runbook.
        stage @ ("fetching" | "verifying" | "loading" | "warming") => {
            let what = format!("{title} is {stage}");
            return Some(Finding::new(Severity::Notice, CHECK, what));
        }
        _ => return None,
    };
    Some(
        Finding::new(severity, CHECK, what)
            .next(next_step(context, entry))
            .runbook(runbook),
    )
}

/// Versions of the registry never change, and the server tries them again by itself: what helps is
/// to see what fails. A file may have been mended.
fn next_step(context: &CheckContext, entry: &IndexEntry) -> String {
    let is_failed = entry.stage() == "failed" && !entry.version.is_empty();
    if context.follows_registry() && is_failed {
        return format!(
            "tidegate check \"$(tidegate registry fetch {})\"",
            shell_word(&entry.title())
        );
    }
    let path = format!("/v2/repository/models/{}/load", entry.name);
    context.commands.post(&path)
}

/// Models whose requests often wait for a load.
fn cold_starts(context: &CheckContext) -> Vec<Finding> {
    let models = context
        .metrics()
        .label_values("tidegate_cold_start_requests_total", "model");
    models
        .iter()
        .filter_map(|model| cold_start(context, model))
        .collect()
}

fn cold_start(context: &CheckContext, model: &str) -> Option<Finding> {
    let labels = [("model", model)];
    let metrics = context.metrics();
    let waited = metrics.sum("tidegate_cold_start_requests_total", &labels)?;
    let succeeded = metrics
        .sum("nv_inference_request_success", &labels)
        .unwrap_or(0.0);
    // Some cold starts are the price of loading on demand. More than one request in twenty says
    // that a model is evicted too often.
    if waited < 5.0 || waited <= 0.05 * succeeded {
        return None;
    }
    let what = format!("{waited} of {succeeded} requests for {model} waited until it was loaded");
    Some(
        Finding::new(Severity::Notice, CHECK, what)
            .next(context.command("models"))
            .runbook("cold-starts"),
    )
}
