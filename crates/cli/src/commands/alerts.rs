//! `tidegate alerts`.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use crate::client::{self, Alert};
use crate::options::ServerUrl;
use crate::output::{print_json_text, print_line, print_table, timestamp};

/// List the alerts of a running server
#[derive(Debug, Args)]
pub(super) struct Alerts {
    #[command(flatten)]
    server: ServerUrl,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const HEADER: [&str; 8] = [
    "ALERT",
    "SEVERITY",
    "STATE",
    "SINCE",
    "ENDPOINT",
    "VERSION",
    "SUPPRESSED BY",
    "SUMMARY",
];

impl Alerts {
    pub(super) fn run(self) -> Result<ExitCode> {
        let text = client::get(&self.server.url()?, "/api/alerts")?;
        if self.json {
            // As the server sent it: a newer one may have fields that this program does not know.
            print_json_text(&text);
            return Ok(ExitCode::SUCCESS);
        }
        let alerts: Vec<Alert> =
            serde_json::from_str(&text).context("the response is not a list of alerts")?;
        if alerts.is_empty() {
            print_line!("no alerts");
            return Ok(ExitCode::SUCCESS);
        }
        let mut rows = vec![HEADER.map(str::to_owned)];
        rows.extend(alerts.iter().map(|alert| row(alert, &alerts)));
        print_table(&rows);
        Ok(ExitCode::SUCCESS)
    }
}

fn row(alert: &Alert, alerts: &[Alert]) -> [String; 8] {
    // Here also an alert that another server of the group sends: the column is about this server.
    let suppression = alert.suppressed.as_ref();
    [
        alert.name.clone(),
        alert.severity.clone(),
        alert.state.clone(),
        timestamp(alert.since_ms),
        alert.label("endpoint").to_owned(),
        alert.label("version").to_owned(),
        suppression.map_or_else(String::new, |suppression| suppression.describe(alerts)),
        format!("{}{}", alert.annotation("summary"), other_labels(alert)),
    ]
}

/// The labels that have no column, in parentheses.
fn other_labels(alert: &Alert) -> String {
    let labels = alert.labels_except(&["alertname", "severity", "endpoint", "version"]);
    match labels.is_empty() {
        true => String::new(),
        false => format!(" ({labels})"),
    }
}
