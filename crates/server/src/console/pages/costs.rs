//! What serving costs.

use tidegate_console::{BudgetRow, Costs};
use tidegate_observe::cost::{BudgetStatus, Day, GroupBy};

/// Most versions that are shown.
const VERSIONS: usize = 200;

pub(crate) fn costs(costs: &crate::cost::Costs, now_ms: u64) -> Costs {
    let today = Day::of_ms(now_ms);
    let mut report = costs.report(today.first_of_month(), today, GroupBy::default());
    let mut more = 0;
    if let Some(report) = &mut report {
        report.rows.sort_by_key(|row| std::cmp::Reverse(row.total));
        more = report.rows.len().saturating_sub(VERSIONS);
        report.rows.truncate(VERSIONS);
    }
    Costs {
        report,
        more,
        budgets: costs.budgets().iter().map(row).collect(),
    }
}

fn row(status: &BudgetStatus<'_>) -> BudgetRow {
    let budget = status.budget;
    BudgetRow {
        name: budget.name.clone(),
        model: budget.model.clone(),
        per: budget.per.name(),
        spent: status.spent,
        amount: budget.amount,
        used: status.used_ratio(),
        is_alerting: status.alerts().any(|(_, is_reached)| is_reached),
    }
}
