//! `tidegate slo`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};
use tidegate_observe::openslo;

use crate::args::Slo;
use crate::ask::{self, Objective};
use crate::leave::Leave;
use crate::registry::print_table;

#[derive(Debug, Subcommand)]
pub(crate) enum SloCommand {
    /// Let rollouts go on for a while although the error budget is spent
    Thaw(Thaw),
    /// Set objectives of a running server: the [[slo]] sections of a .toml file, or documents of
    /// OpenSLO v1
    Set(Set),
    /// Remove an objective that was set
    Remove(Remove),
}

#[derive(Debug, Args)]
pub(crate) struct Set {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The job that the queries of OpenSLO's documents name
    #[arg(long, default_value = "tidegate")]
    job: String,
}

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The objective
    #[arg(value_name = "OBJECTIVE")]
    name: String,
}

#[derive(Debug, Args)]
pub(crate) struct Thaw {
    /// The objective
    #[arg(value_name = "OBJECTIVE")]
    name: String,
    #[command(flatten)]
    leave: Leave,
}

/// Shows how the objectives of a server stand.
pub(crate) fn run(args: &Slo) -> Result<()> {
    match &args.command {
        None => show(args),
        Some(SloCommand::Thaw(wanted)) => thaw(args, wanted),
        Some(SloCommand::Set(wanted)) => set(args, wanted),
        Some(SloCommand::Remove(Remove { name })) => {
            let target = ask::target(&args.url, &format!("/api/slos/{name}"));
            ask::answer(&target, ask::agent().delete(&target).call()).map(drop)
        }
    }
}

fn show(args: &Slo) -> Result<()> {
    let text = ask::get(&args.url, "/api/slos")?;
    if args.json {
        println!("{text}");
        return Ok(());
    }
    let objectives: Vec<Objective> =
        serde_json::from_str(&text).context("the answer is no list of objectives")?;
    if objectives.is_empty() {
        println!(
            "no objectives: add [[slo]] sections to the server's configuration, or set some with `tidegate slo set FILE`"
        );
        return Ok(());
    }
    let header = [
        "OBJECTIVE",
        "OF",
        "MEASURES",
        "TARGET",
        "WINDOW",
        "GOOD",
        "BUDGET LEFT",
        "BURN 1H",
        "ALERTS",
        "ROLLOUTS",
    ];
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(objectives.iter().map(row));
    print_table(&rows);
    Ok(())
}

fn row(objective: &Objective) -> [String; 10] {
    let good = match objective.total {
        0 => "-".to_owned(),
        total => format!(
            "{:.4}% of {total}",
            100.0 * objective.good as f64 / total as f64
        ),
    };
    let alerts: Vec<String> = objective
        .firing()
        .map(|alert| format!("{} ({})", alert.severity, alert.id))
        .collect();
    [
        objective.name.clone(),
        objective.endpoint.clone(),
        objective.measures(),
        format!("{}%", (objective.target * 1e11).round() / 1e9),
        objective.window.clone(),
        good,
        format!("{:.1}%", 100.0 * objective.budget_remaining),
        objective
            .burn("1h")
            .map_or_else(|| "-".to_owned(), |burn| format!("{burn:.2}")),
        alerts.join(", "),
        objective.rollouts(),
    ]
}

/// Sets every objective of a file. All of them are read before the first is set.
fn set(args: &Slo, set: &Set) -> Result<()> {
    let objectives = read(&set.file, &set.job)?;
    for objective in &objectives {
        let target = ask::target(&args.url, &format!("/api/slos/{}", objective.name));
        let Value::Object(mut body) = json!(objective) else {
            bail!("{} cannot be written as JSON", objective.name)
        };
        body.remove("name");
        ask::answer(&target, ask::agent().put(&target).send_json(body))
            .with_context(|| objective.name.clone())?;
        println!("{}", objective.name);
    }
    Ok(())
}

fn read(file: &Path, job: &str) -> Result<Vec<tidegate_observe::Objective>> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let objectives = if file
        .extension()
        .is_some_and(|extension| extension == "toml")
    {
        // A whole configuration will do: of it only the objectives are taken.
        #[derive(Deserialize)]
        struct Sections {
            #[serde(default)]
            slo: Vec<tidegate_observe::Objective>,
        }
        toml::from_str::<Sections>(&text)
            .with_context(|| file.display().to_string())?
            .slo
    } else {
        openslo::import(&text, job).with_context(|| file.display().to_string())?
    };
    if objectives.is_empty() {
        bail!("{} has no objectives", file.display());
    }
    tidegate_observe::Objective::parse_all(&objectives)?;
    Ok(objectives)
}

/// Lets rollouts go on for a while.
fn thaw(args: &Slo, thaw: &Thaw) -> Result<()> {
    let target = ask::target(&args.url, &format!("/api/slos/{}/thaw", thaw.name));
    ask::answer(
        &target,
        ask::agent().post(&target).send_json(thaw.leave.body()),
    )
    .map(drop)
}
