//! A comparison of two tables, for people.

use tidegate_quality::{DriftReport, DriftedColumn};

use crate::output::{aligned, printable};

/// The report as text.
pub(super) fn text(report: &DriftReport) -> String {
    let drifted = report.drifted();
    let mut text = format!(
        "{} of {} columns drifted: {} rows against {} of the baseline, false alarm rate {}\n",
        report.drifted().count(),
        report.columns.len(),
        report.rows,
        report.rows_reference,
        report.false_alarm_rate,
    );
    for column in drifted {
        let (name, causes) = (printable(&column.column), column.causes.join("; "));
        text.push_str(&format!("  {name}: {}\n", printable(&causes)));
    }
    let mut table = vec![header()];
    table.extend(report.columns.iter().map(line));
    text.push('\n');
    text.push_str(&aligned(&table));
    text
}

fn header() -> Vec<String> {
    let names = ["COLUMN", "DRIFTED", "P-VALUE", "PSI", "JS", "MOVED"];
    names.map(str::to_owned).to_vec()
}

fn line(column: &DriftedColumn) -> Vec<String> {
    let scores = &column.drift.scores;
    let drifted = match (column.verdict.p_value, column.verdict.drifted) {
        (None, _) => "too few rows",
        (Some(_), true) => "yes",
        (Some(_), false) => "no",
    };
    let p_value = column.verdict.p_value;
    vec![
        column.column.clone(),
        drifted.to_owned(),
        p_value.map_or_else(|| "-".to_owned(), |p_value| format!("{p_value:.2e}")),
        format!("{:.4}", scores.psi),
        format!("{:.4}", scores.jensen_shannon),
        format!("{:.1} %", 100.0 * scores.total_variation),
    ]
}
