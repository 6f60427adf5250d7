//! The page of the metrics is made from the code. `UPDATE_DOCS=1` writes it anew.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::path::Path;

use tidegate_server::history_metrics;
use tidegate_serving::Metrics;

#[test]
fn metrics_page_is_made_from_the_metrics() {
    let mut page = String::from(
        "# Metrics\n\n\
         `GET /metrics` answers in Prometheus's text form, or in OpenMetrics's if `Accept` names it. Names that begin with\n\
         `nv_` are Triton's, with Triton's labels and meaning, so that its dashboards go on working; microseconds are theirs.\n\
         The rest follows Prometheus's own conventions: base units, `_total` on counters. Metrics of the machine are there\n\
         where the machine tells them. Figures have every request that was answered before they were asked for.\n\n\
         | metric | type | labels | what it counts |\n|---|---|---|---|\n",
    );
    let metrics = Metrics::new();
    let of_history: Vec<_> = history_metrics().collect();
    for metric in metrics.catalogue().iter().chain(&of_history) {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        page.push_str(&format!(
            "| `{}` | {} | {} | {} |\n",
            metric.name,
            metric.kind.name(),
            labels.join(", "),
            metric.help
        ));
    }
    check("docs/reference/metrics.md", &page);
}

fn check(path: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, made).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, made, "{} is out of date: run with UPDATE_DOCS=1", path.display());
}
