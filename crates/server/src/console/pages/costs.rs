//! What serving costs.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use tidegate_console::{BudgetRow, Costs};
use tidegate_observe::cost::{BudgetStatus, Day, GroupBy};

use crate::console::Console;
use crate::console::answer::answer;
use crate::console::visitor::Visitor;

/// Most versions that are shown.
const VERSIONS: usize = 200;

pub(super) async fn show(State(console): State<Arc<Console>>, visitor: Visitor) -> Response {
    answer(console, &visitor, |console, now_ms| {
        Ok(costs(&console.costs, now_ms).page())
    })
    .await
}

fn costs(costs: &crate::cost::Costs, now_ms: u64) -> Costs {
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
