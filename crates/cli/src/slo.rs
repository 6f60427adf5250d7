//! `tidegate slo`.

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

use crate::args::Slo;
use crate::ask::{self, Objective};
use crate::leave::Leave;
use crate::registry::print_table;

#[derive(Debug, Subcommand)]
pub(crate) enum SloCommand {
    /// Let rollouts go on for a while although the error budget is spent
    Thaw(Thaw),
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
    if let Some(SloCommand::Thaw(wanted)) = &args.command {
        return thaw(args, wanted);
    }
    let text = ask::get(&args.url, "/api/slos")?;
    if args.json {
        println!("{text}");
        return Ok(());
    }
    let objectives: Vec<Objective> = serde_json::from_str(&text).context("the answer is no list of objectives")?;
    if objectives.is_empty() {
        println!("no objectives: add [[slo]] sections to the server's configuration");
        return Ok(());
    }
    let header =
        ["OBJECTIVE", "OF", "MEASURES", "TARGET", "WINDOW", "GOOD", "BUDGET LEFT", "BURN 1H", "ALERTS", "ROLLOUTS"];
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(objectives.iter().map(row));
    print_table(&rows);
    Ok(())
}

fn row(objective: &Objective) -> [String; 10] {
    let good = match objective.total {
        0 => "-".to_owned(),
        total => format!("{:.4}% of {total}", 100.0 * objective.good as f64 / total as f64),
    };
    let alerts: Vec<String> = objective.firing().map(|alert| format!("{} ({})", alert.severity, alert.id)).collect();
    [
        objective.name.clone(),
        objective.endpoint.clone(),
        objective.measures(),
        format!("{}%", (objective.target * 1e11).round() / 1e9),
        objective.window.clone(),
        good,
        format!("{:.1}%", 100.0 * objective.budget_remaining),
        objective.burn("1h").map_or_else(|| "-".to_owned(), |burn| format!("{burn:.2}")),
        alerts.join(", "),
        objective.rollouts(),
    ]
}

/// Lets rollouts go on for a while.
fn thaw(args: &Slo, thaw: &Thaw) -> Result<()> {
    let target = ask::target(&args.url, &format!("/api/slos/{}/thaw", thaw.name));
    ask::answer(&target, ask::agent().post(&target).send_json(thaw.leave.body())).map(drop)
}
