//! Are users happy, and will they be?

use super::model::{Dashboard, Panel};

pub(super) fn dashboard(job: &str) -> Dashboard {
    Dashboard {
        name: "tidegate-executive",
        title: "Tidegate: service levels",
        description: "Whether objectives are met, the remaining error budgets, the use of the service, and its cost.",
        from: "now-30d",
        job: job.to_owned(),
        rows: vec![now(), over_time(), usage(job), cost(job)],
    }
}

fn now() -> Vec<Panel> {
    vec![
        Panel::number("Availability, last day", "percentunit", "The share of requests that the server did not fail.")
            .query("{{slo}}", "1 - tidegate_slo:error_rate:ratio1d{sli=\"availability\"}".to_owned()),
        Panel::number("In time, last day", "percentunit", "The share of answers within each latency objective.")
            .query("{{slo}}", "1 - tidegate_slo:error_rate:ratio1d{sli=\"latency\"}".to_owned()),
        Panel::number(
            "Error budget left",
            "percentunit",
            "The part of the allowed failures that is left in the objective's window. Below zero, the objective is missed.",
        )
        .query("{{slo}}", "tidegate_slo:budget_remaining:ratio".to_owned()),
        Panel::number("Alerts now", "short", "Alerts that fire, by severity.").query(
            "{{severity}}",
            "count by (severity) (ALERTS{alertname=~\"Tidegate.*\",alertstate=\"firing\"}) or vector(0)".to_owned(),
        ),
    ]
}

fn over_time() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Error budget left",
            "percentunit",
            "If a line reaches zero before the window ends, the objective is missed.",
        )
        .query("{{slo}}", "tidegate_slo:budget_remaining:ratio".to_owned()),
        Panel::lines(
            "Burn rate over six hours",
            "short",
            "At 1 the budget lasts exactly for its window.",
        )
        .query("{{slo}}", "tidegate_slo:burn_rate:ratio6h".to_owned()),
        Panel::lines(
            "Share of bad requests, and allowed share",
            "percentunit",
            "By objective, over a day.",
        )
        .query("{{slo}}", "tidegate_slo:error_rate:ratio1d".to_owned())
        .query("{{slo}} may", "1 - tidegate_slo:target:ratio".to_owned()),
    ]
}

fn usage(job: &str) -> Vec<Panel> {
    let model = format!("{job},model=~\"$model\"");
    vec![
        Panel::lines(
            "Predictions a day",
            "short",
            "Rows answered in the 24 hours before, by model.",
        )
        .query(
            "{{model}}",
            format!("sum by (model) (increase(nv_inference_count{{{model}}}[1d]))"),
        ),
        Panel::lines("Requests a second", "reqps", "Answered requests by model.").query(
            "{{model}}",
            format!(
                "sum by (model) (rate(nv_inference_request_success{{{model}}}[$__rate_interval]))"
            ),
        ),
        Panel::lines("Processors in use", "short", "By all servers together.").query(
            "processors",
            format!("sum(rate(tidegate_process_cpu_seconds_total{{{job}}}[$__rate_interval]))"),
        ),
    ]
}

/// Money.
fn cost(job: &str) -> Vec<Panel> {
    vec![
        Panel::lines(
            "Cost a day",
            "short",
            "Of the 24 hours before: used by versions, idle, and fixed.",
        )
        .query(
            "{{part}} ({{currency}})",
            format!("sum by (currency, part) ({})", spent(job, "")),
        ),
        Panel::lines(
            "Cost of 1,000 predictions",
            "short",
            "By model, over a day, with its share of idle and fixed costs.",
        )
        .query("{{model}} ({{currency}})", cost_of_a_thousand(job)),
        Panel::lines(
            "Cost budgets used up",
            "percentunit",
            "At 100%, the budget is used up.",
        )
        .query(
            "{{budget}}",
            format!("max by (budget) (tidegate_cost_budget_used_ratio{{{job}}})"),
        ),
        Panel::number(
            "Shares of budgets reached",
            "short",
            "How many alert shares of each budget were reached.",
        )
        .query(
            "{{budget}}",
            format!("sum by (budget) (tidegate_cost_budget_reached{{{job}}})"),
        ),
    ]
}

/// The cost of a thousand predictions of each model. What nobody used and what is fixed is divided among
/// models by what they used in the same time: this is as near as PromQL comes to the rule of the bill.
fn cost_of_a_thousand(job: &str) -> String {
    let all = format!("sum by (currency) ({})", spent(job, ""));
    let used = spent(job, ",part=\"used\",model=~\"$model\"");
    let used = format!("sum by (currency, model) ({used})");
    let all_used = spent(job, ",part=\"used\"");
    let all_used = format!("sum by (currency) ({all_used})");
    let predictions =
        format!("sum by (model) (increase(nv_inference_count{{{job},model=~\"$model\"}}[1d]))");
    let cost = format!("({used} * on (currency) group_left () ({all} / {all_used}))");
    // `> 0` leaves out models without predictions, whose cost would be infinite.
    format!("1000 * {cost} / on (model) group_left () ({predictions} > 0)")
}

/// What was spent in a day, of the series that `matchers`, each with a comma before it, select too.
fn spent(job: &str, matchers: &str) -> String {
    format!("increase(tidegate_cost_total{{{job}{matchers}}}[1d])")
}
