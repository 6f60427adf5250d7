//! `tidegate cost`.

mod csv;
mod html;
mod table;

use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use serde::Deserialize;
use tidegate_observe::cost::{Capacity, Day, GroupBy, Micros, Report};

use crate::ask;

#[derive(Debug, Subcommand)]
pub(crate) enum CostCommand {
    /// What was spent: by version, model, tenant or day, with what nobody used and the cost of a
    /// thousand predictions
    Report(ReportArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// The first day, in UTC, such as 2026-11-01 [default: the first of the last day's month]
    #[arg(long, value_name = "DAY")]
    from: Option<Day>,
    /// The last day [default: today]
    #[arg(long, value_name = "DAY")]
    to: Option<Day>,
    /// By what costs are told apart, with commas between: day, model, version (with its model),
    /// tenant
    #[arg(long, value_name = "WHAT", default_value = "version")]
    by: GroupBy,
    /// How it is printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// The server to ask
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8000")]
    url: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// For spreadsheets
    Csv,
    /// A page that stands alone
    Html,
    /// As the server answers
    Json,
}

/// What a server answers.
#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(flatten)]
    report: Report,
    idle: String,
    capacity: Capacity,
    budgets: Vec<Budget>,
}

#[derive(Debug, Deserialize)]
struct Budget {
    name: String,
    model: Option<String>,
    per: String,
    since: Day,
    amount: Micros,
    spent: Micros,
    used_ratio: f64,
}

/// Shows what a server costs.
pub(crate) fn run(command: &CostCommand) -> Result<()> {
    let CostCommand::Report(args) = command;
    let mut path = format!("/api/cost?by={}", args.by);
    for (name, day) in [("from", args.from), ("to", args.to)] {
        path.extend(day.map(|day| format!("&{name}={day}")));
    }
    let text = ask::get(&args.url, &path)?;
    if args.format == Format::Json {
        println!("{text}");
        return Ok(());
    }
    let answer: Answer = serde_json::from_str(&text).context("the answer is no report of costs")?;
    match args.format {
        Format::Csv => print!("{}", csv::render(&answer.report)?),
        Format::Html => println!("{}", html::render(&answer)),
        Format::Table | Format::Json => table::print(&answer),
    }
    Ok(())
}

impl Answer {
    /// What the figures are of, in a line.
    fn setting(&self) -> String {
        let Capacity {
            vcpus,
            memory_gb,
            gpus,
        } = self.capacity;
        let gpus = if gpus > 0.0 {
            format!(", {gpus} GPUs")
        } else {
            String::new()
        };
        let Report {
            currency,
            from,
            to,
            up_s,
            ..
        } = &self.report;
        let hours = up_s / 3600.0;
        format!(
            "{currency}, {from} to {to} (UTC), {hours:.2} hours; paid for now: {vcpus} vCPUs, {memory_gb:.1} GB{gpus}"
        )
    }

    /// What a reader must know of the figures.
    fn remarks(&self) -> Vec<String> {
        let mut remarks = vec![match self.idle.as_str() {
            "apart" => "What nobody used, and what is fixed, stands apart as _idle.".to_owned(),
            _ => "What nobody used, and what is fixed, is borne by versions in proportion to the vCPU time that they used \
                  that day; if none was used, to the memory that they held."
                .to_owned(),
        }];
        remarks.push("A prediction is a row that was answered.".to_owned());
        let others = &self.report.other_currencies;
        if !others.is_empty() {
            remarks.push(format!(
                "Costs that were counted in {} are not in here.",
                others.join(", ")
            ));
        }
        remarks
    }
}

#[cfg(test)]
mod tests;
