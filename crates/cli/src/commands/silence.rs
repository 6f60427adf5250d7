//! `tidegate silence`.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::json;

use crate::client;
use crate::options::{ServerUrl, TemporaryOverride};
use crate::output::{print_json_text, print_line, print_table, timestamp};

const SILENCES: &str = "/api/silences";

/// Silence alerts for a while
#[derive(Debug, Args)]
pub(super) struct Silence {
    #[command(subcommand)]
    command: SilenceCommand,
    #[command(flatten)]
    server: ServerUrl,
}

#[derive(Debug, Subcommand)]
enum SilenceCommand {
    /// Silence the alerts that match every matcher
    Add(Add),
    /// List active, scheduled and recent silences
    List(List),
    /// End a silence now
    Expire(Expire),
}

#[derive(Debug, Args)]
struct Add {
    /// A condition for a label of the alerts: endpoint="fraud", tier!=free, version=~"1|2"
    #[arg(value_name = "MATCHER", required = true)]
    matchers: Vec<String>,
    #[command(flatten)]
    period: TemporaryOverride,
}

#[derive(Debug, Args)]
struct List {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Expire {
    /// The silence, as `silence list` shows it
    #[arg(value_name = "ID")]
    id: String,
}

/// An entry of `/api/silences`.
#[derive(Deserialize)]
struct SilenceEntry {
    id: String,
    state: String,
    matchers: Vec<String>,
    until_ms: i64,
    author: String,
    comment: String,
}

impl Silence {
    pub(super) fn run(self) -> Result<ExitCode> {
        let url = &self.server.url()?;
        match self.command {
            SilenceCommand::Add(args) => add(url, &args)?,
            SilenceCommand::List(args) => list(url, &args)?,
            SilenceCommand::Expire(args) => {
                client::delete(url, &format!("{SILENCES}/{}", args.id))?
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn add(url: &str, args: &Add) -> Result<()> {
    let mut body = args.period.body();
    body["matchers"] = json!(args.matchers);
    let text = client::post_json(url, SILENCES, body)?;
    let silence: SilenceEntry =
        serde_json::from_str(&text).context("the response is not a silence")?;
    print_line!("{}", silence.id);
    Ok(())
}

fn list(url: &str, args: &List) -> Result<()> {
    let text = client::get(url, SILENCES)?;
    if args.json {
        print_json_text(&text);
        return Ok(());
    }
    let silences: Vec<SilenceEntry> =
        serde_json::from_str(&text).context("the response is not a list of silences")?;
    if silences.is_empty() {
        print_line!("no silences");
        return Ok(());
    }
    let header = ["SILENCE", "STATE", "UNTIL", "MATCHERS", "AUTHOR", "COMMENT"];
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(silences.into_iter().map(row));
    print_table(&rows);
    Ok(())
}

fn row(silence: SilenceEntry) -> [String; 6] {
    [
        silence.id,
        silence.state,
        timestamp(silence.until_ms),
        silence.matchers.join(" "),
        silence.author,
        silence.comment,
    ]
}
