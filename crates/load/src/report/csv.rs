//! A report as a table for spreadsheets and scripts: one line a run.

use super::{Report, Run};

const COLUMNS: [&str; 26] = [
    "run",
    "protocol",
    "concurrency",
    "offered_per_s",
    "length_s",
    "requests",
    "answers",
    "refusals",
    "errors",
    "dropped",
    "unsent",
    "late",
    "fell_behind",
    "throughput_per_s",
    "rows_per_s",
    "goodput_per_s",
    "mean_us",
    "min_us",
    "p50_us",
    "p75_us",
    "p90_us",
    "p95_us",
    "p99_us",
    "p999_us",
    "p9999_us",
    "max_us",
];

/// No cell needs quotes: labels and protocols have neither commas nor quotes, and all others are
/// numbers.
pub(super) fn render(report: &Report) -> String {
    let mut out = COLUMNS.join(",") + "\n";
    for run in &report.runs {
        out.push_str(&row(report, run).join(","));
        out.push('\n');
    }
    out
}

fn row(report: &Report, run: &Run) -> [String; 26] {
    let latency = run.latency_us.as_ref();
    let generator = run.generator.as_ref();
    [
        run.label.clone(),
        report.protocol.name().to_owned(),
        run.concurrency
            .map_or(String::new(), |concurrency| concurrency.to_string()),
        optional(run.offered_per_s),
        format!("{:.3}", run.length_s),
        run.requests.to_string(),
        run.answers.to_string(),
        run.refusals.to_string(),
        run.errors.to_string(),
        run.dropped.to_string(),
        generator
            .map_or(0, |generator| generator.unsent)
            .to_string(),
        generator.map_or(0, |generator| generator.late).to_string(),
        generator
            .is_some_and(|generator| generator.fell_behind)
            .to_string(),
        format!("{:.3}", run.throughput_per_s),
        format!("{:.3}", run.rows_per_s),
        optional(run.goodput_per_s),
        optional(latency.map(|latency| latency.mean)),
        optional(latency.map(|latency| latency.min)),
        optional(latency.map(|latency| latency.p50)),
        optional(latency.map(|latency| latency.p75)),
        optional(latency.map(|latency| latency.p90)),
        optional(latency.map(|latency| latency.p95)),
        optional(latency.map(|latency| latency.p99)),
        optional(latency.map(|latency| latency.p999)),
        optional(latency.map(|latency| latency.p9999)),
        optional(latency.map(|latency| latency.max)),
    ]
}

/// An empty cell if there is no number.
fn optional(number: Option<f64>) -> String {
    number.map_or(String::new(), |number| format!("{number:.3}"))
}
