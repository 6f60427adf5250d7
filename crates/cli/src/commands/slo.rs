//! `tidegate slo`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};
use tidegate_observe::openslo;

use crate::client::{self, Objective};
use crate::options::{ServerUrl, TemporaryOverride};
use crate::output::{eprint_line, print_json_text, print_line, print_table};

/// Show or set the service level objectives of a running server
#[derive(Debug, Args)]
pub(super) struct Slo {
    #[command(subcommand)]
    command: Option<SloCommand>,
    #[command(flatten)]
    server: ServerUrl,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum SloCommand {
    /// Let rollouts continue for some time although the error budget is used up
    Thaw(Thaw),
    /// Set objectives of a running server: the [[slo]] sections of a .toml file, or OpenSLO v1
    /// documents
    Set(Set),
    /// Remove an objective that was set
    Remove(Remove),
}

#[derive(Debug, Args)]
struct Set {
    /// The file with the objectives
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The Prometheus job in the queries of the OpenSLO documents
    #[arg(long, default_value = "tidegate")]
    job: String,
}

#[derive(Debug, Args)]
struct Remove {
    /// The name of the objective
    #[arg(value_name = "OBJECTIVE")]
    name: String,
}

#[derive(Debug, Args)]
struct Thaw {
    /// The name of the objective
    #[arg(value_name = "OBJECTIVE")]
    name: String,
    #[command(flatten)]
    period: TemporaryOverride,
}

const HEADER: [&str; 10] = [
    "OBJECTIVE",
    "ENDPOINT",
    "INDICATOR",
    "TARGET",
    "WINDOW",
    "GOOD",
    "BUDGET LEFT",
    "BURN RATE 1H",
    "ALERTS",
    "ROLLOUTS",
];

impl Slo {
    pub(super) fn run(self) -> Result<ExitCode> {
        let url = &self.server.url()?;
        match &self.command {
            None => show(url, self.json)?,
            Some(SloCommand::Thaw(args)) => thaw(url, args)?,
            Some(SloCommand::Set(args)) => set(url, args)?,
            Some(SloCommand::Remove(args)) => {
                client::delete(url, &format!("/api/slos/{}", args.name))?
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn show(url: &str, json: bool) -> Result<()> {
    let text = client::get(url, "/api/slos")?;
    if json {
        print_json_text(&text);
        return Ok(());
    }
    let objectives: Vec<Objective> =
        serde_json::from_str(&text).context("the response is not a list of objectives")?;
    if objectives.is_empty() {
        print_line!(
            "no objectives: add [[slo]] sections to the server's configuration, \
             or set some with `tidegate slo set FILE`"
        );
        return Ok(());
    }
    let mut rows = vec![HEADER.map(str::to_owned)];
    rows.extend(objectives.iter().map(row));
    print_table(&rows);
    Ok(())
}

fn row(objective: &Objective) -> [String; 10] {
    let alerts: Vec<String> = objective
        .firing()
        .map(|alert| format!("{} ({})", alert.severity, alert.id))
        .collect();
    let burn_rate = objective.burn_rate("1h");
    [
        objective.name.clone(),
        objective.endpoint.clone(),
        objective.indicator(),
        percent_of_target(objective.target),
        objective.window.clone(),
        good(objective),
        format!("{:.1}%", 100.0 * objective.budget_remaining),
        burn_rate.map_or_else(|| "-".to_owned(), |burn_rate| format!("{burn_rate:.2}")),
        alerts.join(", "),
        objective.rollouts(),
    ]
}

/// Nine decimals are more than any target has, and hide the error of the multiplication.
fn percent_of_target(target: f64) -> String {
    format!("{}%", (target * 1e11).round() / 1e9)
}

fn good(objective: &Objective) -> String {
    let (good, total) = (objective.good as f64, objective.total);
    match total {
        0 => "-".to_owned(),
        _ => format!("{:.4}% of {total}", 100.0 * good / total as f64),
    }
}

/// Sets every objective of a file. All of them are read before the first is set.
fn set(url: &str, args: &Set) -> Result<()> {
    for objective in read(&args.file, &args.job)? {
        let name = &objective.name;
        let Value::Object(mut body) = json!(objective) else {
            bail!("{name} cannot be written as JSON")
        };
        // The path has the name.
        body.remove("name");
        client::put_json(url, &format!("/api/slos/{name}"), body).with_context(|| name.clone())?;
        print_line!("{name}");
        if let Some(note) = measured_bound(&objective) {
            eprint_line!("{name}: {note}");
        }
    }
    Ok(())
}

/// What is measured instead of a threshold between two buckets of the histogram.
fn measured_bound(objective: &tidegate_observe::Objective) -> Option<String> {
    let threshold = objective.threshold_ms?;
    let bound = tidegate_observe::LatencyBound::nearest(threshold)?.ms();
    let is_measured = (bound - threshold).abs() < 1e-9;
    (!is_measured).then(|| {
        format!("{threshold} ms is not a histogram boundary; {bound} ms is measured instead")
    })
}

fn read(file: &Path, job: &str) -> Result<Vec<tidegate_observe::Objective>> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let is_toml = file
        .extension()
        .is_some_and(|extension| extension == "toml");
    let objectives = match is_toml {
        true => {
            toml::from_str::<SloSections>(&text)
                .with_context(|| file.display().to_string())?
                .slo
        }
        false => openslo::import(&text, job).with_context(|| file.display().to_string())?,
    };
    if objectives.is_empty() {
        bail!("{} has no objectives", file.display());
    }
    // Checked here too: the server takes them one by one, and would refuse a wrong one only after
    // those before it are set.
    tidegate_observe::Objective::parse_all(&objectives)?;
    Ok(objectives)
}

/// The objectives of a configuration; its other sections are ignored.
#[derive(Deserialize)]
struct SloSections {
    #[serde(default)]
    slo: Vec<tidegate_observe::Objective>,
}

fn thaw(url: &str, args: &Thaw) -> Result<()> {
    let path = format!("/api/slos/{}/thaw", args.name);
    client::post_json(url, &path, args.period.body()).map(drop)
}
