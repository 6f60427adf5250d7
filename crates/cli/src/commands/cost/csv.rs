//! Costs for spreadsheets and scripts: one line a row, without their sum.

use anyhow::Result;
use tidegate_observe::cost::{Report, ReportRow};

const FIGURES: [&str; 14] = [
    "predictions",
    "vcpu_s",
    "memory_gb_s",
    "storage_gb_s",
    "network_gb",
    "cost_vcpu",
    "cost_memory",
    "cost_storage",
    "cost_network",
    "cost_idle",
    "cost_fixed",
    "total",
    "per_1000_predictions",
    "currency",
];

pub(super) fn render(report: &Report) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(report.by.names().chain(FIGURES))?;
    for row in &report.rows {
        writer.write_record(
            labels(row)
                .into_iter()
                .chain(figures(row, &report.currency)),
        )?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

fn labels(row: &ReportRow) -> Vec<String> {
    let day = row.day.map(|day| day.to_string());
    [&day, &row.model, &row.version, &row.tenant]
        .into_iter()
        .flatten()
        .map(|label| text(label))
        .collect()
}

/// Text that spreadsheets do not take for a formula (OWASP, "CSV Injection").
fn text(text: &str) -> String {
    match text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        true => format!("'{text}"),
        false => text.to_owned(),
    }
}

fn figures(row: &ReportRow, currency: &str) -> [String; 14] {
    let (usage, cost) = (row.usage, row.cost);
    [
        usage.predictions.to_string(),
        usage.vcpu_s.to_string(),
        usage.memory_gb_s.to_string(),
        usage.storage_gb_s.to_string(),
        usage.network_gb.to_string(),
        cost.vcpu.to_string(),
        cost.memory.to_string(),
        cost.storage.to_string(),
        cost.network.to_string(),
        cost.idle.to_string(),
        cost.fixed.to_string(),
        row.total.to_string(),
        row.per_1000_predictions
            .map_or_else(String::new, |cost| cost.to_string()),
        text(currency),
    ]
}
