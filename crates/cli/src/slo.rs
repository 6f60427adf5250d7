//! `tidegate slo`.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::args::Slo;
use crate::ask;
use crate::registry::print_table;

#[derive(Deserialize)]
struct Objective {
    name: String,
    endpoint: String,
    sli: String,
    threshold_ms: Option<f64>,
    target: f64,
    window: String,
    good: u64,
    total: u64,
    budget_remaining: f64,
    burn_rates: BTreeMap<String, Option<f64>>,
    alerts: Vec<Alert>,
}

#[derive(Deserialize)]
struct Alert {
    id: String,
    severity: String,
    state: String,
}

/// Shows how the objectives of a server stand.
pub(crate) fn run(args: &Slo) -> Result<()> {
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
    let header = ["OBJECTIVE", "OF", "MEASURES", "TARGET", "WINDOW", "GOOD", "BUDGET LEFT", "BURN 1H", "ALERTS"];
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(objectives.iter().map(Objective::row));
    print_table(&rows);
    Ok(())
}

impl Objective {
    fn row(&self) -> [String; 9] {
        let measures = match self.threshold_ms {
            Some(threshold) => format!("{} <= {threshold} ms", self.sli),
            None => self.sli.clone(),
        };
        let good = match self.total {
            0 => "-".to_owned(),
            total => format!("{:.4}% of {total}", 100.0 * self.good as f64 / total as f64),
        };
        let burn = self.burn_rates.get("1h").copied().flatten();
        let alerts = self.alerts.iter().filter(|alert| alert.state == "firing");
        let alerts: Vec<String> = alerts.map(|alert| format!("{} ({})", alert.severity, alert.id)).collect();
        [
            self.name.clone(),
            self.endpoint.clone(),
            measures,
            format!("{}%", (self.target * 1e11).round() / 1e9),
            self.window.clone(),
            good,
            format!("{:.1}%", 100.0 * self.budget_remaining),
            burn.map_or_else(|| "-".to_owned(), |burn| format!("{burn:.2}")),
            alerts.join(", "),
        ]
    }
}
