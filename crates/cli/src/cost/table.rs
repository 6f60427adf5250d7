//! Costs as a table: what a terminal and a page show.

use tidegate_observe::cost::{Cost, Report, ReportRow};

use super::{Answer, Budget};
use crate::registry::print_table;

/// Prints a report.
pub(super) fn print(answer: &Answer) {
    println!("{}\n", answer.setting());
    print_table(&aligned(cells(&answer.report), names(&answer.report).len()));
    if !answer.budgets.is_empty() {
        println!();
        print_table(&aligned(budgets(&answer.budgets), 3));
    }
    println!();
    answer
        .remarks()
        .iter()
        .for_each(|remark| println!("{remark}"));
}

/// The header, the rows and their sum, in as many columns as the report tells apart.
pub(super) fn cells(report: &Report) -> Vec<Vec<String>> {
    let names = names(report);
    let mut header = names.clone();
    header.extend(
        [
            "PREDICTIONS",
            "VCPU",
            "MEMORY",
            "STORAGE",
            "NETWORK",
            "IDLE",
            "FIXED",
            "TOTAL",
            "SHARE",
            "PER 1000",
        ]
        .map(str::to_owned),
    );
    let mut cells = vec![header];
    let share = |row: &ReportRow| match report.total.units() {
        total if total > 0.0 => format!("{:.1}%", 100.0 * row.total.units() / total),
        _ => "-".to_owned(),
    };
    for row in &report.rows {
        let mut line = labels(row);
        line.extend(amounts(
            row.usage.predictions,
            row.cost,
            share(row),
            row.per_1000_predictions,
        ));
        cells.push(line);
    }
    let mut all = Cost::default();
    report.rows.iter().for_each(|row| all += row.cost);
    let mut line = vec![String::new(); names.len()];
    if let Some(first) = line.first_mut() {
        "all".clone_into(first);
    }
    line.extend(amounts(
        report.predictions,
        all,
        "100.0%".to_owned(),
        report.per_1000_predictions,
    ));
    cells.push(line);
    cells
}

/// The header of budgets, and a line for each.
pub(super) fn budgets(budgets: &[Budget]) -> Vec<Vec<String>> {
    let header = ["BUDGET", "OF", "SINCE", "PER", "AMOUNT", "SPENT", "USED"].map(str::to_owned);
    let line = |budget: &Budget| {
        let of = budget
            .model
            .clone()
            .unwrap_or_else(|| "everything".to_owned());
        let used = format!("{:.1}%", 100.0 * budget.used_ratio);
        let (amount, spent) = (budget.amount.to_string(), budget.spent.to_string());
        vec![
            budget.name.clone(),
            of,
            budget.since.to_string(),
            budget.per.clone(),
            amount,
            spent,
            used,
        ]
    };
    std::iter::once(header.to_vec())
        .chain(budgets.iter().map(line))
        .collect()
}

/// The names of the columns that tell rows apart.
fn names(report: &Report) -> Vec<String> {
    report.by.names().map(str::to_uppercase).collect()
}

fn labels(row: &ReportRow) -> Vec<String> {
    let ReportRow {
        day,
        model,
        version,
        tenant,
        ..
    } = row;
    let day = day.map(|day| day.to_string());
    [&day, model, version, tenant]
        .into_iter()
        .flatten()
        .map(|label| printable(label))
        .collect()
}

/// A label without what a terminal would take for more than text.
fn printable(label: &str) -> String {
    label
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

fn amounts(predictions: u64, cost: Cost, share: String, per_1000: Option<f64>) -> Vec<String> {
    let Cost {
        vcpu,
        memory,
        storage,
        network,
        idle,
        fixed,
    } = cost;
    let parts =
        [vcpu, memory, storage, network, idle, fixed, cost.total()].map(|part| part.to_string());
    let per_1000 = per_1000.map_or_else(|| "-".to_owned(), significant);
    std::iter::once(predictions.to_string())
        .chain(parts)
        .chain([share, per_1000])
        .collect()
}

/// Four significant digits, without an exponent.
pub(super) fn significant(value: f64) -> String {
    let before = if value > 0.0 {
        value.log10().floor() as i32
    } else {
        0
    };
    let places = usize::try_from((3 - before).clamp(0, 15)).unwrap_or(0);
    format!("{value:.places$}")
}

/// Cells from a column on to the right of their column.
fn aligned(mut rows: Vec<Vec<String>>, from: usize) -> Vec<Vec<String>> {
    let columns = rows.first().map_or(0, Vec::len);
    for column in from..columns {
        let width = rows
            .iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0);
        rows.iter_mut()
            .for_each(|row| row[column] = format!("{:>width$}", row[column]));
    }
    rows
}
