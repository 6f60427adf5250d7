//! `tidegate alerts`.

use anyhow::{Context, Result};

use crate::args::Alerts;
use crate::ask::{self, Alert, Suppressed};
use crate::registry::{print_table, time};

/// Shows the alerts of a server.
pub(crate) fn run(args: &Alerts) -> Result<()> {
    let text = ask::get(&args.url, "/api/alerts")?;
    if args.json {
        println!("{text}");
        return Ok(());
    }
    let alerts: Vec<Alert> =
        serde_json::from_str(&text).context("the answer is no list of alerts")?;
    if alerts.is_empty() {
        println!("no alerts");
        return Ok(());
    }
    let header = [
        "ALERT",
        "SEVERITY",
        "STATE",
        "SINCE",
        "ENDPOINT",
        "VERSION",
        "SUPPRESSED BY",
        "SUMMARY",
    ];
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(alerts.into_iter().map(row));
    print_table(&rows);
    Ok(())
}

fn row(mut alert: Alert) -> [String; 8] {
    let (endpoint, version) = (
        alert.labels.remove("endpoint"),
        alert.labels.remove("version"),
    );
    let summary = alert.annotations.remove("summary").unwrap_or_default();
    let shown = ["alertname", "severity"];
    let others = alert
        .labels
        .iter()
        .filter(|(name, _)| !shown.contains(&name.as_str()));
    let others: Vec<String> = others
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let of = if others.is_empty() {
        String::new()
    } else {
        format!(" ({})", others.join(", "))
    };
    let suppressed = alert
        .suppressed
        .map(|Suppressed { by, what }| format!("{} {what}", by.replace('_', " ")));
    [
        alert.name,
        alert.severity,
        alert.state,
        time(alert.since_ms),
        endpoint.unwrap_or_default(),
        version.unwrap_or_default(),
        suppressed.unwrap_or_default(),
        summary + &of,
    ]
}
