//! `tidegate silence`.

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::json;

use crate::ask;
use crate::leave::Leave;
use crate::registry::{print_table, time};

#[derive(Debug, Subcommand)]
pub(crate) enum SilenceCommand {
    /// Tell nobody for a while of alerts that fulfil every matcher
    Add(Add),
    /// List silences that hold, will, or have not long ago
    List(List),
    /// End a silence now
    Expire(Expire),
}

#[derive(Debug, Args)]
pub(crate) struct ServerUrl {
    /// The server
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8000")]
    url: String,
}

#[derive(Debug, Args)]
pub(crate) struct Add {
    /// What alerts must fulfil: endpoint="fraud", tier!=free, version=~"1|2"
    #[arg(value_name = "MATCHER", required = true)]
    matchers: Vec<String>,
    #[command(flatten)]
    leave: Leave,
    #[command(flatten)]
    server: ServerUrl,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    server: ServerUrl,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Expire {
    /// The silence
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    server: ServerUrl,
}

#[derive(Deserialize)]
struct Silence {
    id: String,
    state: String,
    matchers: Vec<String>,
    until_ms: i64,
    author: String,
    comment: String,
}

/// Adds, lists or ends silences of a server.
pub(crate) fn run(command: SilenceCommand) -> Result<()> {
    match command {
        SilenceCommand::Add(args) => add(args),
        SilenceCommand::List(args) => list(&args),
        SilenceCommand::Expire(args) => {
            let target = format!("{}/{}", args.server.silences(), args.id);
            ask::answer(&target, ask::agent().delete(&target).call())?;
            Ok(())
        }
    }
}

fn add(args: Add) -> Result<()> {
    let target = args.server.silences();
    let mut body = args.leave.body();
    body["matchers"] = json!(args.matchers);
    let text = ask::answer(&target, ask::agent().post(&target).send_json(body))?;
    let silence: Silence = serde_json::from_str(&text).context("the answer is no silence")?;
    println!("{}", silence.id);
    Ok(())
}

fn list(args: &List) -> Result<()> {
    let target = args.server.silences();
    let text = ask::answer(&target, ask::agent().get(&target).call())?;
    if args.json {
        println!("{text}");
        return Ok(());
    }
    let silences: Vec<Silence> =
        serde_json::from_str(&text).context("the answer is no list of silences")?;
    if silences.is_empty() {
        println!("no silences");
        return Ok(());
    }
    let mut rows = vec![["SILENCE", "STATE", "UNTIL", "OF", "BY", "WHY"].map(str::to_owned)];
    rows.extend(silences.into_iter().map(|silence| {
        let of = silence.matchers.join(" ");
        [
            silence.id,
            silence.state,
            time(silence.until_ms),
            of,
            silence.author,
            silence.comment,
        ]
    }));
    print_table(&rows);
    Ok(())
}

impl ServerUrl {
    fn silences(&self) -> String {
        ask::target(&self.url, "/api/silences")
    }
}
