//! `tidegate alerts`.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::args::Alerts;
use crate::ask;
use crate::registry::{print_table, time};

#[derive(Deserialize)]
struct Alert {
    name: String,
    severity: String,
    state: String,
    since_ms: i64,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    suppressed: Option<Suppressed>,
}

#[derive(Deserialize)]
struct Suppressed {
    by: String,
    what: String,
}

/// Shows the alerts of a server.
pub(crate) fn run(args: &Alerts) -> Result<()> {
    let text = ask::get(&args.url, "/api/alerts")?;
    if args.json {
        println!("{text}");
        return Ok(());
    }
    let alerts: Vec<Alert> = serde_json::from_str(&text).context("the answer is no list of alerts")?;
    if alerts.is_empty() {
        println!("no alerts");
        return Ok(());
    }
    let header = ["ALERT", "SEVERITY", "STATE", "SINCE", "ENDPOINT", "VERSION", "SUPPRESSED BY", "SUMMARY"];
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(alerts.into_iter().map(Alert::row));
    print_table(&rows);
    Ok(())
}

impl Alert {
    fn row(mut self) -> [String; 8] {
        let (endpoint, version) = (self.labels.remove("endpoint"), self.labels.remove("version"));
        let summary = self.annotations.remove("summary").unwrap_or_default();
        let shown = ["alertname", "severity"];
        let others = self.labels.iter().filter(|(name, _)| !shown.contains(&name.as_str()));
        let others: Vec<String> = others.map(|(name, value)| format!("{name}={value}")).collect();
        let of = if others.is_empty() { String::new() } else { format!(" ({})", others.join(", ")) };
        let suppressed = self.suppressed.map(|Suppressed { by, what }| format!("{} {what}", by.replace('_', " ")));
        [
            self.name,
            self.severity,
            self.state,
            time(self.since_ms),
            endpoint.unwrap_or_default(),
            version.unwrap_or_default(),
            suppressed.unwrap_or_default(),
            summary + &of,
        ]
    }
}
