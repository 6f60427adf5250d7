//! `tidegate cost`.

mod csv;
mod html;
mod table;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use serde::Deserialize;
use tidegate_observe::cost::{Capacity, Day, GroupBy, Micros, Report};

use crate::client;
use crate::options::ServerUrl;
use crate::output::{print_data, print_json_text};

/// Show what a running server costs
#[derive(Debug, Args)]
pub(super) struct Cost {
    #[command(subcommand)]
    command: CostCommand,
    #[command(flatten)]
    server: ServerUrl,
}

#[derive(Debug, Subcommand)]
enum CostCommand {
    /// Show the costs by version, model, tenant or day, the idle costs, and the cost per 1,000
    /// predictions
    Report(ReportArgs),
}

#[derive(Debug, Args)]
struct ReportArgs {
    /// The first day, in UTC, such as 2026-11-01 [default: the first day of the month of --to]
    #[arg(long, value_name = "DAY")]
    from: Option<Day>,
    /// The last day [default: today]
    #[arg(long, value_name = "DAY")]
    to: Option<Day>,
    /// What to group costs by, separated by commas: day, model, version (with its model), tenant
    #[arg(long, value_name = "COLUMNS", default_value = "version")]
    by: GroupBy,
    /// The format of the report
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// For spreadsheets
    Csv,
    /// One self-contained page
    Html,
    /// The response of the server
    Json,
}

/// The response of `/api/cost`.
#[derive(Debug, Deserialize)]
struct CostResponse {
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

impl Cost {
    pub(super) fn run(self) -> Result<ExitCode> {
        let CostCommand::Report(args) = self.command;
        let mut path = format!("/api/cost?by={}", args.by);
        for (name, day) in [("from", args.from), ("to", args.to)] {
            path.extend(day.map(|day| format!("&{name}={day}")));
        }
        let text = client::get(&self.server.url()?, &path)?;
        if args.format == Format::Json {
            print_json_text(&text);
            return Ok(ExitCode::SUCCESS);
        }
        let response: CostResponse =
            serde_json::from_str(&text).context("the response is not a report of costs")?;
        match args.format {
            Format::Csv => print_data(&csv::render(&response.report)?),
            Format::Html => print_data(&format!("{}\n", html::render(&response))),
            Format::Table | Format::Json => table::print(&response),
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl CostResponse {
    /// The period and the paid capacity, in a line.
    fn summary(&self) -> String {
        let Capacity {
            vcpus, memory_gb, ..
        } = self.capacity;
        let gpus = match self.capacity.gpus {
            gpus if gpus > 0.0 => format!(", {gpus} GPUs"),
            _ => String::new(),
        };
        let Report {
            currency, from, to, ..
        } = &self.report;
        let hours = self.report.up_s / 3600.0;
        format!(
            "{currency}, {from} to {to} (UTC), {hours:.2} hours; \
             capacity now: {vcpus} vCPUs, {memory_gb:.1} GB{gpus}"
        )
    }

    /// What a reader must know to interpret the figures.
    fn remarks(&self) -> Vec<String> {
        let idle = match self.idle.as_str() {
            "apart" => "Idle and fixed costs are in a separate row, _idle.",
            _ => {
                "Idle and fixed costs are allocated to versions in proportion to the vCPU time \
                 that they used that day, or to their memory if none used any."
            }
        };
        let mut remarks = vec![
            idle.to_owned(),
            "A prediction is one row of a successful request.".to_owned(),
        ];
        let others = &self.report.other_currencies;
        if !others.is_empty() {
            let others = others.join(", ");
            remarks.push(format!("Costs counted in {others} are not included."));
        }
        remarks
    }
}

#[cfg(test)]
mod tests;
