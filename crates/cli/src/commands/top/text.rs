//! The view as plain text, for scripts.

use std::time::Duration;

use super::format::{bytes, number, number_or_dash, percent, time};
use super::view::{Endpoint, View};
use crate::output::{aligned, printable};

/// The whole view.
pub(super) fn page(view: &View) -> String {
    let mut page = String::new();
    if let Some(header) = &view.header {
        let up = header.up_s.map_or_else(String::new, |up_s| {
            format!(", up {}", time(Duration::from_secs_f64(up_s)))
        });
        page.push_str(&printable(&format!(
            "{}: {}, version {}{up}",
            view.server, header.state, header.version
        )));
        page.push_str(&format!(
            "\n{} requests/s, {:.2} processors, {}, {} connections\n",
            number(header.rate),
            header.processors,
            bytes(header.memory_bytes),
            header.connections
        ));
        header
            .problems
            .iter()
            .for_each(|problem| page.push_str(&format!("problem: {}\n", printable(problem))));
    }
    let header = [
        "ENDPOINT", "STATE", "REQ/S", "ERR/S", "P50 MS", "P95 MS", "P99 MS", "QUEUE", "BATCH",
    ];
    section(&mut page, header, view.endpoints.iter().map(endpoint));
    let objectives = view.objectives.iter().map(|objective| {
        let burn = number_or_dash(objective.burn_rate("1h"));
        [
            objective.name.clone(),
            objective.indicator(),
            percent(objective.budget_remaining),
            burn,
        ]
    });
    section(
        &mut page,
        ["OBJECTIVE", "MEASURES", "BUDGET LEFT", "BURN 1H"],
        objectives,
    );
    let alerts = view.alerts.iter().map(|alert| {
        let summary = alert.annotation("summary").to_owned();
        [
            alert.name.clone(),
            alert.severity.clone(),
            alert.state.clone(),
            summary,
        ]
    });
    section(&mut page, ["ALERT", "SEVERITY", "STATE", "SUMMARY"], alerts);
    page
}

/// Appends an empty line and a table; nothing if the table has no rows.
fn section<const N: usize>(
    page: &mut String,
    header: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) {
    let mut all = vec![header.map(str::to_owned)];
    all.extend(rows.map(|row| row.map(|cell| printable(&cell))));
    if all.len() > 1 {
        page.push('\n');
        page.push_str(&aligned(&all));
    }
}

fn endpoint(endpoint: &Endpoint) -> [String; 9] {
    [
        endpoint.model.clone(),
        endpoint.state.clone(),
        number(endpoint.rate),
        number(endpoint.failing),
        number_or_dash(endpoint.p50_ms),
        number_or_dash(endpoint.p95_ms),
        number_or_dash(endpoint.p99_ms),
        number(endpoint.waiting),
        number_or_dash(endpoint.batch),
    ]
}
