//! The cost page: this month by version, and the state of budgets.

use maud::{Markup, html};
use tidegate_observe::ALL_ENDPOINTS;
use tidegate_observe::cost::{Micros, Report, ReportRow};

use crate::badge::{Tone, badge};
use crate::format::{NONE, count, money, number, percent};
use crate::page::{Page, Part};
use crate::section::{Section, endpoint_path};

/// The cost page.
#[derive(Debug)]
pub struct Costs {
    /// Cost by version, the most expensive first; `None` if no prices are configured.
    pub report: Option<Report>,
    /// How many more versions there are.
    pub more: usize,
    /// The budgets.
    pub budgets: Vec<BudgetRow>,
}

/// A budget.
#[derive(Clone, Debug)]
pub struct BudgetRow {
    /// Its name.
    pub name: String,
    /// The model whose cost counts; `None` for all costs of the server.
    pub model: Option<String>,
    /// Its period.
    pub per: &'static str,
    /// What was spent in the period.
    pub spent: Micros,
    /// What may be spent.
    pub amount: Micros,
    /// Spent over amount.
    pub used: f64,
    /// Whether an alert of the budget fires.
    pub is_alerting: bool,
}

impl Costs {
    /// The page.
    pub fn page(&self) -> Page {
        let head = html! { div.head { h1 { "Cost" } span.soft { "of this server" } } };
        Page {
            title: "Cost".to_owned(),
            section: Some(Section::Cost),
            parts: vec![Part::fixed(head), Part::live("costs", self.body())],
        }
    }

    fn body(&self) -> Markup {
        html! {
            div #costs.stack {
                @match &self.report {
                    None => section.card {
                        p.empty { "No prices are configured: set " code { "cost.currency" } " and a price such as " code { "cost.vcpu_hour" } "." }
                    },
                    Some(report) => {
                        (tiles(report))
                        @if !self.budgets.is_empty() { (self.budgets()) }
                        (self.versions(report))
                    },
                }
            }
        }
    }

    fn budgets(&self) -> Markup {
        html! {
            section.card {
                h2 { "Budgets" }
                table.cards {
                    thead {
                        tr {
                            th scope="col" { "Budget" } th scope="col" { "State" } th scope="col" { "Scope" } th scope="col" { "Per" }
                            th.num scope="col" { "Spent" } th.num scope="col" { "Amount" } th.num scope="col" { "Used" }
                        }
                    }
                    tbody {
                        @for budget in &self.budgets {
                            tr {
                                th.name scope="row" { (budget.name) }
                                td data-label="State" { (budget.state()) }
                                td.break data-label="Scope" {
                                    @match &budget.model { Some(model) => a href=(endpoint_path(model)) { (model) }, None => "whole server" }
                                }
                                td data-label="Per" { (budget.per) }
                                td.num data-label="Spent" { (money(budget.spent.units())) }
                                td.num data-label="Amount" { (money(budget.amount.units())) }
                                td.num data-label="Used" { (percent(budget.used)) }
                            }
                        }
                    }
                }
            }
        }
    }

    fn versions(&self, report: &Report) -> Markup {
        html! {
            section.card {
                div.title { h2 { "By version" } span.soft { "in " (report.currency) ", UTC days" } }
                @if report.rows.is_empty() { p.empty { "No cost in this period." } }
                @else {
                    table.cards {
                        thead {
                            tr {
                                th scope="col" { "Model" } th scope="col" { "Version" } th.num scope="col" { "Predictions" }
                                th.num scope="col" { "vCPU" } th.num scope="col" { "Memory" } th.num scope="col" { "Storage" }
                                th.num scope="col" { "Network" } th.num scope="col" { "Idle" } th.num scope="col" { "Fixed" }
                                th.num scope="col" { "Total" } th.num scope="col" { "Per 1,000" }
                            }
                        }
                        tbody { @for row in &report.rows { (line(row)) } }
                    }
                    @if self.more > 0 { p.soft { "and " (self.more) " more: " code { "tidegate cost report" } } }
                }
            }
        }
    }
}

impl BudgetRow {
    fn state(&self) -> Markup {
        match (self.used >= 1.0, self.is_alerting) {
            (true, _) => badge(Tone::Bad, "used up"),
            (false, true) => badge(Tone::Notice, "alerting"),
            (false, false) => badge(Tone::Good, "within budget"),
        }
    }
}

fn tiles(report: &Report) -> Markup {
    let per_1000 = report
        .per_1000_predictions
        .map_or_else(|| NONE.to_owned(), money);
    html! {
        dl.tiles {
            div { dt { "Since " (report.from) } dd { (money(report.total.units())) " " (report.currency) } }
            div { dt { "Predictions" } dd { (count(report.predictions)) } }
            div { dt { "Per 1,000 predictions" } dd { (per_1000) } }
            div { dt { "Uptime (hours)" } dd { (number(report.up_s / 3600.0)) } }
        }
    }
}

fn line(row: &ReportRow) -> Markup {
    let cost = &row.cost;
    let parts = [
        ("vCPU", cost.vcpu),
        ("Memory", cost.memory),
        ("Storage", cost.storage),
        ("Network", cost.network),
        ("Idle", cost.idle),
        ("Fixed", cost.fixed),
        ("Total", row.total),
    ];
    let model = row.model.as_deref().unwrap_or_default();
    html! {
        tr {
            td.name {
                @if model.is_empty() || model == ALL_ENDPOINTS { "none" } @else { a.strong href=(endpoint_path(model)) { (model) } }
            }
            td data-label="Version" { (row.version.as_deref().unwrap_or_default()) }
            td.num data-label="Predictions" { (count(row.usage.predictions)) }
            @for (name, part) in parts { td.num data-label=(name) { (money(part.units())) } }
            td.num data-label="Per 1,000" { (row.per_1000_predictions.map_or_else(|| NONE.to_owned(), money)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_kept_then_told_of_then_spent() {
        let budget = |used, is_alerting| {
            let (spent, amount) = (Micros::default(), Micros::default());
            let name = "<b>".to_owned();
            BudgetRow {
                name,
                model: None,
                per: "month",
                spent,
                amount,
                used,
                is_alerting,
            }
            .state()
            .into_string()
        };
        assert!(budget(0.5, false).contains("within budget"));
        assert!(budget(0.9, true).contains("alerting"));
        assert!(budget(1.0, true).contains("bad"));
    }

    #[test]
    fn without_prices_the_page_says_what_to_set() {
        let costs = Costs {
            report: None,
            more: 0,
            budgets: Vec::new(),
        };
        assert!(costs.body().into_string().contains("cost.currency"));
    }
}
