//! `tidegate rollout`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde::Deserialize;
use serde_json::{Value, json};
use tidegate_console::{RolloutView, rollout_report};
use tidegate_delivery::policy::{Share, VersionName};

use crate::client;
use crate::options::{ServerUrl, period};
use crate::output::{print_json_text, print_line, print_table, timestamp};

/// Change from one version to the next in steps, and back by itself if the new one is worse
///
/// Give version 8 more and more of the requests, as long as it fails no more often and is no slower:
///
///     tidegate rollout start fraud --to 8 --steps 1%,5%,25%,50%,100%
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Rollout {
    #[command(subcommand)]
    command: RolloutCommand,
    #[command(flatten)]
    server: ServerUrl,
}

#[derive(Debug, Subcommand)]
enum RolloutCommand {
    /// Start a rollout
    Start(Box<Start>),
    /// Show the rollouts that are under way, or the newest one of an endpoint
    Status(Status),
    /// Keep traffic as it is
    Pause(Named),
    /// Let a paused rollout go on
    Resume(Named),
    /// Give the new version everything at once
    Promote(Named),
    /// Take traffic back to the version before, at once
    Abort(Named),
    /// Begin the last rollout again after it was aborted
    Retry(Named),
    /// List the rollouts of an endpoint that are over, the newest first
    History(History),
    /// Write a rollout with its numbers and plots as a web page
    Report(Report),
}

#[derive(Debug, Args)]
struct Start {
    /// The endpoint
    #[arg(value_name = "ENDPOINT")]
    endpoint: String,
    /// The new version, by number
    #[arg(long, value_name = "VERSION", required_unless_present = "file")]
    to: Option<VersionName>,
    /// The version that is gone back to [default: the one that answers now]
    #[arg(long, value_name = "VERSION")]
    from: Option<VersionName>,
    /// How
    #[arg(long, value_enum, default_value_t = StrategyName::Canary)]
    strategy: StrategyName,
    /// The shares of the steps; the last one is 100%
    #[arg(
        long,
        value_name = "SHARE",
        value_delimiter = ',',
        default_value = "1%,5%,25%,50%,100%"
    )]
    steps: Vec<Share>,
    /// The share of requests that is copied first, for shadow-then-canary
    #[arg(long, value_name = "SHARE", default_value = "10%")]
    copies: Share,
    /// The shortest time of a step, such as 30s or 5m
    #[arg(long, value_name = "PERIOD", default_value = "5m", value_parser = period)]
    min_duration: Duration,
    /// The new version's requests in a step, at least
    #[arg(long, value_name = "REQUESTS", default_value_t = 100)]
    min_requests: u64,
    /// The probability that any check ever fails while the new version is no worse
    #[arg(long, value_name = "PROBABILITY", default_value_t = 0.01)]
    alpha: f64,
    /// A TOML file with the rollout, in place of the options above
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["to", "from", "strategy", "steps", "copies", "min_duration", "min_requests", "alpha"]
    )]
    file: Option<PathBuf>,
    /// Also a version that was found bad
    #[arg(long)]
    force: bool,
    /// Wait until it is over, and fail unless the new version has everything then
    #[arg(long)]
    wait: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StrategyName {
    /// In steps, compared with the version before at the same time
    Canary,
    /// All at once
    BlueGreen,
    /// First copies of requests, then in steps
    ShadowThenCanary,
}

#[derive(Debug, Args)]
struct Status {
    /// The endpoint [default: all whose rollout is under way]
    #[arg(value_name = "ENDPOINT")]
    endpoint: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct History {
    /// The endpoint
    #[arg(value_name = "ENDPOINT")]
    endpoint: String,
    /// Print JSON, with the checks and all that happened
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Report {
    /// The endpoint
    #[arg(value_name = "ENDPOINT")]
    endpoint: String,
    /// One that is over, by its name in `history --json` [default: the newest one]
    #[arg(long, value_name = "ROLLOUT")]
    id: Option<String>,
    /// The file to write
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

#[derive(Debug, Args)]
struct Named {
    /// The endpoint
    #[arg(value_name = "ENDPOINT")]
    endpoint: String,
}

/// How often `--wait` looks.
const WAIT_POLL: Duration = Duration::from_secs(1);

/// An entry of `/api/rollouts`.
#[derive(Debug, Deserialize)]
struct Entry {
    id: String,
    endpoint: String,
    from: String,
    to: String,
    phase: String,
    reason: Option<String>,
    step: usize,
    steps: usize,
    weight: String,
    copies: String,
    step_requests: u64,
    #[serde(default)]
    checks: Vec<Check>,
    #[serde(default)]
    events: Vec<Event>,
}

/// What a check says.
#[derive(Debug, Deserialize)]
struct Check {
    check: String,
    outcome: String,
    p_value: Option<f64>,
    alpha: f64,
    effect: Option<f64>,
    compared: Compared,
}

/// Requests of both versions.
#[derive(Debug, Deserialize)]
struct Compared {
    candidate: u64,
    control: u64,
}

/// What happened.
#[derive(Debug, Deserialize)]
struct Event {
    at_ms: i64,
    what: String,
}

impl Rollout {
    pub(super) fn run(self) -> Result<ExitCode> {
        let url = &self.server.url()?;
        match self.command {
            RolloutCommand::Start(args) => return start(url, &args),
            RolloutCommand::Status(args) => status(url, &args)?,
            RolloutCommand::Pause(args) => command(url, &args, "pause")?,
            RolloutCommand::Resume(args) => command(url, &args, "resume")?,
            RolloutCommand::Promote(args) => command(url, &args, "promote")?,
            RolloutCommand::Abort(args) => command(url, &args, "abort")?,
            RolloutCommand::Retry(args) => command(url, &args, "retry")?,
            RolloutCommand::History(args) => history(url, &args)?,
            RolloutCommand::Report(args) => report(url, &args)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn start(url: &str, args: &Start) -> Result<ExitCode> {
    let mut body = match &args.file {
        Some(file) => {
            let shown = file.display();
            let text =
                std::fs::read_to_string(file).with_context(|| format!("cannot read {shown}"))?;
            let body: Value = toml::from_str(&text).with_context(|| shown.to_string())?;
            body
        }
        None => args.body()?,
    };
    if args.force {
        body["force"] = json!(true);
    }
    let path = format!("/api/rollouts/{}", args.endpoint);
    let started = entry(&client::post_json(url, &path, body)?)?;
    print(&started);
    if args.wait {
        return wait(url, &started);
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits until a rollout is over, or paused: then somebody has to decide.
fn wait(url: &str, started: &Entry) -> Result<ExitCode> {
    let path = format!("/api/rollouts/{}", started.endpoint);
    let mut shown = (started.phase.clone(), started.step);
    loop {
        std::thread::sleep(WAIT_POLL);
        let entry = entry(&client::get(url, &path)?)?;
        if entry.id != started.id {
            continue;
        }
        let now = (entry.phase.clone(), entry.step);
        if now != shown {
            print_line!("{}", headline(&entry));
            shown = now;
        }
        match entry.phase.as_str() {
            "promoted" => return Ok(ExitCode::SUCCESS),
            "aborted" | "paused" => return Ok(ExitCode::FAILURE),
            _ => {}
        }
    }
}

impl Start {
    fn body(&self) -> Result<Value> {
        let (strategy, weights) = match self.strategy {
            StrategyName::Canary => ("canary", self.steps.clone()),
            StrategyName::BlueGreen => ("blue-green", vec![Share::ALL]),
            StrategyName::ShadowThenCanary => ("shadow-then-canary", self.steps.clone()),
        };
        if weights.last() != Some(&Share::ALL) {
            bail!("the last of --steps must be 100%");
        }
        let steps: Vec<Value> = weights.iter().map(|weight| self.step(*weight)).collect();
        let mut body =
            json!({ "to": self.to, "strategy": strategy, "steps": steps, "alpha": self.alpha });
        if let Some(from) = &self.from {
            body["from"] = json!(from);
        }
        if matches!(self.strategy, StrategyName::ShadowThenCanary) {
            body["shadow"] = self.step(self.copies);
        }
        Ok(body)
    }

    fn step(&self, weight: Share) -> Value {
        json!({
            "weight": weight,
            "min_duration_s": self.min_duration.as_secs(),
            "min_requests": self.min_requests,
        })
    }
}

fn status(url: &str, args: &Status) -> Result<()> {
    let path = match &args.endpoint {
        None => "/api/rollouts".to_owned(),
        Some(endpoint) => format!("/api/rollouts/{endpoint}"),
    };
    let text = client::get(url, &path)?;
    if args.json {
        print_json_text(&text);
        return Ok(());
    }
    if args.endpoint.is_some() {
        print(&entry(&text)?);
        return Ok(());
    }
    let entries = entries(&text)?;
    if entries.is_empty() {
        print_line!("no rollout is under way");
    }
    entries.iter().for_each(print);
    Ok(())
}

fn history(url: &str, args: &History) -> Result<()> {
    let text = client::get(url, &format!("/api/rollouts/{}/history", args.endpoint))?;
    if args.json {
        print_json_text(&text);
        return Ok(());
    }
    let header = ["ENDED", "FROM", "TO", "STATE", "REASON"];
    let mut rows = vec![header.map(str::to_owned)];
    for entry in entries(&text)? {
        let ended = entry.events.last().map_or(0, |event| event.at_ms);
        let reason = entry.reason.unwrap_or_default();
        rows.push([timestamp(ended), entry.from, entry.to, entry.phase, reason]);
    }
    print_table(&rows);
    Ok(())
}

fn report(url: &str, args: &Report) -> Result<()> {
    let path = format!("/api/rollouts/{}", args.endpoint);
    let rollout: RolloutView = match &args.id {
        None => serde_json::from_str(&client::get(url, &path)?)?,
        Some(id) => {
            let past = client::get(url, &format!("{path}/history"))?;
            let past: Vec<RolloutView> = serde_json::from_str(&past)?;
            let found = past.into_iter().find(|rollout| rollout.id == *id);
            found.with_context(|| format!("there was no rollout {id} of {}", args.endpoint))?
        }
    };
    let shown = args.output.display();
    std::fs::write(&args.output, rollout_report(&rollout))
        .with_context(|| format!("cannot write {shown}"))?;
    print_line!("{shown}");
    Ok(())
}

fn command(url: &str, args: &Named, command: &str) -> Result<()> {
    let path = format!("/api/rollouts/{}/{command}", args.endpoint);
    print(&entry(&client::post(url, &path)?)?);
    Ok(())
}

fn entries(text: &str) -> Result<Vec<Entry>> {
    serde_json::from_str(text).context("the response is not a list of rollouts")
}

fn entry(text: &str) -> Result<Entry> {
    serde_json::from_str(text).context("the response is not a rollout")
}

fn headline(entry: &Entry) -> String {
    let Entry {
        endpoint,
        from,
        to,
        phase,
        ..
    } = entry;
    match &entry.reason {
        Some(reason) => format!("{endpoint}: {from} -> {to}, {phase}: {reason}"),
        None => format!("{endpoint}: {from} -> {to}, {phase}"),
    }
}

fn print(entry: &Entry) {
    print_line!("{}", headline(entry));
    let copies = match entry.copies.as_str() {
        "0%" => String::new(),
        share => format!(", copies of {share}"),
    };
    print_line!(
        "step {} of {}: {} of the requests{copies}; {} requests in this step",
        entry.step,
        entry.steps,
        entry.weight,
        entry.step_requests
    );
    if !entry.checks.is_empty() {
        let mut rows = vec![CHECK_COLUMNS.map(str::to_owned)];
        rows.extend(entry.checks.iter().map(row));
        print_table(&rows);
    }
    for event in &entry.events {
        print_line!("{}  {}", timestamp(event.at_ms), event.what);
    }
}

const CHECK_COLUMNS: [&str; 7] = ["CHECK", "SAYS", "P", "ALPHA", "DIFFERENCE", "NEW", "BEFORE"];

fn row(check: &Check) -> [String; 7] {
    [
        check.check.clone(),
        check.outcome.replace('_', " "),
        check.p_value.map_or_else(String::new, p_value),
        format!("{:.4}", check.alpha),
        check
            .effect
            .map_or_else(String::new, |effect| format!("{effect:+.4}")),
        check.compared.candidate.to_string(),
        check.compared.control.to_string(),
    ]
}

fn p_value(p: f64) -> String {
    if p >= 0.001 {
        format!("{p:.3}")
    } else {
        format!("{p:.1e}")
    }
}
