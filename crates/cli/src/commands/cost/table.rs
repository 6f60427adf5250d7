//! Costs as a table: what a terminal and a page show.

use tidegate_observe::cost::{Cost, Report, ReportRow};

use super::{Budget, CostResponse};
use crate::output::{print_line, print_table, print_text};

/// Prints a report.
pub(super) fn print(response: &CostResponse) {
    print_line!("{}", response.summary());
    print_text("\n");
    print_table(&aligned(
        cells(&response.report),
        names(&response.report).len(),
    ));
    if !response.budgets.is_empty() {
        print_text("\n");
        print_table(&aligned(budgets(&response.budgets), 3));
    }
    print_text("\n");
    response
        .remarks()
        .iter()
        .for_each(|remark| print_line!("{remark}"));
}

const AMOUNTS: [&str; 10] = [
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
];

/// The header, the rows and their sum. The first columns are those that costs are grouped by.
pub(super) fn cells(report: &Report) -> Vec<Vec<String>> {
    let mut header = names(report);
    header.extend(AMOUNTS.map(str::to_owned));
    let mut cells = vec![header];
    cells.extend(report.rows.iter().map(|row| line(report, row)));
    cells.push(sum(report));
    cells
}

fn line(report: &Report, row: &ReportRow) -> Vec<String> {
    let share = match report.total.units() {
        total if total > 0.0 => format!("{:.1}%", 100.0 * row.total.units() / total),
        _ => "-".to_owned(),
    };
    let per_1000 = row.per_1000_predictions;
    let mut line = labels(row);
    line.extend(amounts(row.usage.predictions, row.cost, share, per_1000));
    line
}

fn sum(report: &Report) -> Vec<String> {
    let mut all = Cost::default();
    report.rows.iter().for_each(|row| all += row.cost);
    let mut line = vec![String::new(); names(report).len()];
    if let Some(first) = line.first_mut() {
        "all".clone_into(first);
    }
    let per_1000 = report.per_1000_predictions;
    // The shares of the rows are rounded, so their sum may differ from it.
    let share = "100.0%".to_owned();
    line.extend(amounts(report.predictions, all, share, per_1000));
    line
}

/// The header of budgets, and a line for each.
pub(super) fn budgets(budgets: &[Budget]) -> Vec<Vec<String>> {
    let header = [
        "BUDGET", "MODEL", "SINCE", "PERIOD", "AMOUNT", "SPENT", "USED",
    ];
    let mut lines = vec![header.map(str::to_owned).to_vec()];
    lines.extend(budgets.iter().map(budget_line));
    lines
}

fn budget_line(budget: &Budget) -> Vec<String> {
    vec![
        budget.name.clone(),
        budget.model.clone().unwrap_or_else(|| "all".to_owned()),
        budget.since.to_string(),
        budget.per.clone(),
        budget.amount.to_string(),
        budget.spent.to_string(),
        format!("{:.1}%", 100.0 * budget.used_ratio),
    ]
}

/// The names of the columns that costs are grouped by.
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
        .cloned()
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
    // A float has about 15 digits: more decimals would show noise.
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
