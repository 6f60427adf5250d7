//! What is wrong, since when, and what changed then.

use super::model::{Dashboard, Panel};
use crate::sli::SERVER_FAULTS;

pub(super) fn dashboard(job: &str) -> Dashboard {
    let model = format!("{job},model=~\"$model\"");
    Dashboard {
        name: "tidegate-on-call",
        title: "Tidegate: on call",
        description: "Alerts, errors and latency now, and their possible causes: loads, restarts and queues.",
        from: "now-6h",
        job: job.to_owned(),
        rows: vec![
            alerts(job),
            users(&model),
            burn(),
            load(job, &model),
            changes(job, &model),
            fleet(job),
            themselves(job),
        ],
    }
}

fn alerts(job: &str) -> Vec<Panel> {
    vec![
        Panel::table("Alerts", "Firing and pending alerts.")
            .query("", "ALERTS{alertname=~\"Tidegate.*\"}".to_owned()),
        Panel::number(
            "Servers that are scraped",
            "short",
            "Servers that respond, and all servers that Prometheus knows.",
        )
        .query("up", format!("sum(up{{{job}}})"))
        .query("of", format!("count(up{{{job}}})")),
    ]
}

fn users(model: &str) -> Vec<Panel> {
    let faults = SERVER_FAULTS.join("|");
    let failed = format!(
        "sum by (model) (rate(nv_inference_request_failure{{{model},reason=~\"{faults}\"}}[$__rate_interval]))"
    );
    let answered =
        format!("sum by (model) (rate(nv_inference_request_success{{{model}}}[$__rate_interval]))");
    vec![
        Panel::lines(
            "Error rate",
            "percentunit",
            "The share of requests that the server failed. Client errors do not count.",
        )
        .query("{{model}}", format!("{failed} / ({failed} + {answered})")),
        Panel::lines(
            "Latency",
            "s",
            "99th and 50th percentile of answered requests.",
        )
        .query(
            "{{model}} p99",
            quantile(0.99, "tidegate_request_duration_seconds", model),
        )
        .query(
            "{{model}} p50",
            quantile(0.5, "tidegate_request_duration_seconds", model),
        ),
        Panel::lines("Requests a second", "reqps", "Answered requests.")
            .query("{{model}}", answered),
    ]
}

fn burn() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Burn rate, 5 minutes",
            "short",
            "A page fires above 14.4, if the burn rate over one hour is above 14.4 too.",
        )
        .query("{{slo}}", "tidegate_slo:burn_rate:ratio5m".to_owned()),
        Panel::lines(
            "Burn rate, 1 hour",
            "short",
            "A page fires above 14.4, if the burn rate over 5 minutes is above 14.4 too.",
        )
        .query("{{slo}}", "tidegate_slo:burn_rate:ratio1h".to_owned()),
        Panel::lines(
            "Error budget left",
            "percentunit",
            "Below zero, the objective is missed.",
        )
        .query("{{slo}}", "tidegate_slo:budget_remaining:ratio".to_owned()),
    ]
}

/// What the servers load of the registry.
fn fleet(job: &str) -> Vec<Panel> {
    vec![
        Panel::lines(
            "Versions of the registry",
            "short",
            "By state, over all servers.",
        )
        .query(
            "{{state}}",
            format!("sum by (state) (tidegate_versions{{{job}}})"),
        ),
        Panel::lines(
            "Cold starts and evictions",
            "reqps",
            "Requests that waited for a load, and versions that were unloaded to free memory.",
        )
        .query(
            "waited {{model}}",
            rate_by_model("tidegate_cold_start_requests_total", job),
        )
        .query(
            "evicted {{model}}",
            rate_by_model("tidegate_evictions_total", job),
        ),
        Panel::lines(
            "Memory of versions",
            "bytes",
            "Memory of versions, and the memory budget, by server.",
        )
        .query(
            "{{instance}}",
            format!("tidegate_memory_charged_bytes{{{job}}}"),
        )
        .query(
            "{{instance}} budget",
            format!("tidegate_memory_budget_bytes{{{job}}}"),
        ),
    ]
}

/// What the servers say of themselves.
fn themselves(job: &str) -> Vec<Panel> {
    vec![
        Panel::lines("Ready, and registry reachable", "short", "By server: 1 or 0.")
            .query("{{instance}} ready", format!("tidegate_ready{{{job}}}"))
            .query("{{instance}} registry", format!("tidegate_registry_reachable{{{job}}}")),
        Panel::lines(
            "Replicas",
            "short",
            "For each server: servers of its group, whether it reaches the group, and whether it sends alerts.",
        )
        .query("{{group}} {{instance}} sees", format!("tidegate_replicas{{{job}}}"))
        .query("{{group}} {{instance}} is connected", format!("tidegate_replicas_connected{{{job}}}"))
        .query("{{group}} {{instance}} sends alerts", format!("tidegate_replicas_tells_alerts{{{job}}}")),
        Panel::lines("Burn rate, as servers see themselves", "short", "The highest over all servers, by window.")
            .query("{{slo}} {{window}}", format!("max by (slo, window) (tidegate_slo_burn_rate{{{job}}})"))
            .query("{{slo}} budget left", format!("min by (slo) (tidegate_slo_error_budget_remaining{{{job}}})")),
        Panel::lines("Alerts of the servers", "short", "For each alert, the number of servers that fire it; and messages to Alertmanagers.")
            .query("{{slo}} {{severity}}", format!("sum by (slo, severity) (tidegate_slo_alert_firing{{{job}}})"))
            .query(
                "deliveries {{outcome}}",
                format!("sum by (outcome) (rate(tidegate_alert_deliveries_total{{{job}}}[$__rate_interval]))"),
            ),
    ]
}

fn rate_by_model(counter: &str, job: &str) -> String {
    format!("sum by (model) (rate({counter}{{{job}}}[$__rate_interval]))")
}

fn load(job: &str, model: &str) -> Vec<Panel> {
    vec![
        Panel::lines(
            "Waiting requests",
            "short",
            "By version, the longest queue of all servers.",
        )
        .query(
            "{{model}} {{version}}",
            format!("max by (model, version) (nv_inference_pending_request_count{{{model}}})"),
        ),
        Panel::lines(
            "Shed requests a second",
            "reqps",
            "Refused because the queue was full, or because the answer would be late.",
        )
        .query(
            "{{model}} {{reason}}",
            format!(
                "sum by (model, reason) (rate(nv_inference_request_failure{{{model},\
                     reason=~\"queue_full|deadline_exceeded\"}}[$__rate_interval]))"
            ),
        ),
        Panel::lines(
            "Refused before a version",
            "reqps",
            "By error code; and connections that were closed immediately.",
        )
        .query(
            "{{code}}",
            format!(
                "sum by (code) (rate(tidegate_requests_refused_total{{{job}}}[$__rate_interval]))"
            ),
        )
        .query(
            "connections",
            format!("sum(rate(tidegate_connections_refused_total{{{job}}}[$__rate_interval]))"),
        ),
    ]
}

fn changes(job: &str, model: &str) -> Vec<Panel> {
    vec![
        Panel::lines("Loads", "short", "In the ten minutes before, by outcome.").query(
            "{{model}} {{outcome}}",
            format!(
                "sum by (model, outcome) (increase(tidegate_model_loads_total{{{model}}}[10m])) > 0"
            ),
        ),
        Panel::lines("Restarts", "short", "In the hour before, by server.").query(
            "{{instance}}",
            format!("resets(tidegate_process_cpu_seconds_total{{{job},mode=\"user\"}}[1h])"),
        ),
        Panel::lines(
            "Held rollouts",
            "short",
            "1 while an objective's spent budget holds them, by server.",
        )
        .query(
            "{{slo}} {{instance}}",
            format!("tidegate_slo_freezes_rollouts{{{job}}}"),
        ),
        Panel::lines("Memory", "bytes", "Resident memory by server.").query(
            "{{instance}}",
            format!("process_resident_memory_bytes{{{job}}}"),
        ),
    ]
}

/// A percentile of a histogram by model.
pub(super) fn quantile(share: f64, histogram: &str, model: &str) -> String {
    format!(
        "histogram_quantile({share}, sum by (le, model) (rate({histogram}_bucket{{{model}}}[$__rate_interval])))"
    )
}
