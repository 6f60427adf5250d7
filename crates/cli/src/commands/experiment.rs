//! `tidegate experiment`.

mod plan;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tidegate_delivery::policy::{Share, VersionName};

use self::plan::Plan;
use crate::client;
use crate::options::{ServerUrl, period};
use crate::output::{print_json_text, print_line, print_table, timestamp};

/// Find out which version is better for those who use it
///
/// Give half of the users version 8, and compare what feedback says of them:
///
///     tidegate experiment start fraud new-ranker --arms 7=50%,8=50% --unit header:x-user
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Experiment {
    #[command(subcommand)]
    command: ExperimentCommand,
    #[command(flatten)]
    server: ServerUrl,
}

#[derive(Debug, Subcommand)]
enum ExperimentCommand {
    /// Show how many requests a comparison needs
    Plan(Plan),
    /// Start an experiment
    Start(Box<Start>),
    /// Show what an experiment says
    Show(Show),
    /// List the experiments, the newest first
    List(List),
    /// Stop an experiment: its users go by the weights again
    Stop(Stop),
}

#[derive(Debug, Args)]
struct Start {
    /// The endpoint
    #[arg(value_name = "ENDPOINT")]
    endpoint: String,
    /// Its name; users are assigned by it, so it is used once
    #[arg(value_name = "NAME")]
    name: String,
    /// The versions and their shares of the users; the first is the control
    #[arg(
        long,
        value_name = "VERSION=SHARE",
        value_delimiter = ',',
        value_parser = arm,
        required_unless_present = "file"
    )]
    arms: Vec<(VersionName, Share)>,
    /// Whose request it is: header:NAME, claim:NAME, tenant or principal
    #[arg(long, value_name = "KEY", required_unless_present = "file")]
    unit: Option<String>,
    /// The share of all users that takes part
    #[arg(long, value_name = "SHARE", default_value = "100%")]
    users: Share,
    /// Experiments of one group exclude each other
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// The name of the goal: the labels that feedback brings, as numbers or true and false
    #[arg(long, value_name = "NAME", default_value = "label")]
    goal: String,
    /// The label that counts as 1 for the goal, every other one as 0
    #[arg(long, value_name = "LABEL")]
    equals: Option<String>,
    /// Differences of the goal up to this do not matter
    #[arg(long, value_name = "DIFFERENCE", default_value_t = 0.0)]
    min_effect: f64,
    /// Small values of the goal are good
    #[arg(long)]
    decrease: bool,
    /// A prediction without a label counts as 0, once it is so old, such as 30m or 24h
    #[arg(long, value_name = "PERIOD", value_parser = period)]
    missing_after: Option<Duration>,
    /// The chance that any interval of a metric is ever wrong
    #[arg(long, value_name = "CHANCE", default_value_t = 0.05)]
    alpha: f64,
    /// The users that are expected in all arms together: intervals are narrowest then
    #[arg(long, value_name = "USERS", default_value_t = 10_000)]
    expected_users: u64,
    /// A captured column of numbers that explains a part of the goal, such as field.amount
    #[arg(long, value_name = "COLUMN")]
    covariate: Option<String>,
    /// Move users to the arm that does best, so that each arm keeps this share
    #[arg(long, value_name = "SHARE")]
    bandit_floor: Option<Share>,
    /// A TOML file with the experiment, in place of the options above
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "arms", "unit", "users", "group", "goal", "equals", "min_effect", "decrease",
        "missing_after", "alpha", "expected_users", "covariate", "bandit_floor"
    ])]
    file: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Show {
    /// The endpoint
    #[arg(value_name = "ENDPOINT")]
    endpoint: String,
    /// The experiment
    #[arg(value_name = "NAME")]
    name: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct List {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Stop {
    /// The endpoint
    #[arg(value_name = "ENDPOINT")]
    endpoint: String,
    /// The experiment
    #[arg(value_name = "NAME")]
    name: String,
    /// Why, for those who ask later
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

/// An entry of `/api/experiments`.
#[derive(Debug, Deserialize)]
struct Entry {
    name: String,
    endpoint: String,
    state: String,
    started_ms: i64,
    ended_by: Option<String>,
    reason: Option<String>,
    is_assigned: bool,
    conclusion: Option<String>,
    report: Option<Report>,
}

#[derive(Debug, Deserialize)]
struct Report {
    users_in_several_arms: u64,
    kept_share: f64,
    arms: Vec<ArmReport>,
}

#[derive(Debug, Deserialize)]
struct ArmReport {
    version: String,
    share: Share,
    users: u64,
    best_probability: Option<f64>,
    metrics: Vec<MetricReport>,
}

#[derive(Debug, Deserialize)]
struct MetricReport {
    name: String,
    is_guardrail: bool,
    mean: Option<f64>,
    difference: Option<Difference>,
}

#[derive(Debug, Deserialize)]
struct Difference {
    estimate: f64,
    low: f64,
    high: f64,
    verdict: String,
}

impl Experiment {
    pub(super) fn run(self) -> Result<ExitCode> {
        let url = || self.server.url();
        match self.command {
            ExperimentCommand::Plan(plan) => plan.run()?,
            ExperimentCommand::Start(args) => start(&url()?, &args)?,
            ExperimentCommand::Show(args) => show(&url()?, &args)?,
            ExperimentCommand::List(args) => list(&url()?, &args)?,
            ExperimentCommand::Stop(args) => stop(&url()?, &args)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn path(endpoint: &str, name: &str) -> String {
    format!("/api/experiments/{endpoint}/{name}")
}

/// `VERSION=SHARE`.
fn arm(text: &str) -> Result<(VersionName, Share)> {
    let (version, share) = text
        .split_once('=')
        .ok_or_else(|| anyhow!("write VERSION=SHARE, such as 8=50%"))?;
    Ok((version.parse()?, share.parse()?))
}

fn start(url: &str, args: &Start) -> Result<()> {
    let body = match &args.file {
        Some(file) => {
            let shown = file.display();
            let text =
                std::fs::read_to_string(file).with_context(|| format!("cannot read {shown}"))?;
            toml::from_str(&text).with_context(|| shown.to_string())?
        }
        None => args.body(),
    };
    let path = path(&args.endpoint, &args.name);
    let started = entry(&client::post_json(url, &path, body)?)?;
    let Entry { name, endpoint, .. } = started;
    print_line!("experiment {name} of {endpoint} is running");
    Ok(())
}

impl Start {
    fn body(&self) -> Value {
        let arms = self.arms.iter();
        let arms = arms.map(|(version, share)| json!({ "version": version, "weight": share }));
        let mut body = json!({
            "unit": self.unit,
            "users": self.users,
            "arms": arms.collect::<Vec<_>>(),
            "metrics": [self.goal()],
            "alpha": self.alpha,
            "expected_users": self.expected_users,
        });
        let wait_s = self.missing_after.map(|wait| wait.as_secs());
        for (key, value) in [
            ("group", self.group.as_ref().map(|group| json!(group))),
            (
                "covariate",
                self.covariate.as_ref().map(|column| json!(column)),
            ),
            ("bandit_floor", self.bandit_floor.map(|floor| json!(floor))),
            ("wait_s", wait_s.map(|wait_s| json!(wait_s))),
        ] {
            if let Some(value) = value {
                body[key] = value;
            }
        }
        body
    }

    fn goal(&self) -> Value {
        let mut goal = Map::new();
        goal.insert("name".to_owned(), json!(self.goal));
        goal.insert("min_effect".to_owned(), json!(self.min_effect));
        if let Some(label) = &self.equals {
            goal.insert("equals".to_owned(), json!(label));
        }
        if self.decrease {
            goal.insert("direction".to_owned(), json!("decrease"));
        }
        if self.missing_after.is_some() {
            goal.insert("missing".to_owned(), json!("zero"));
        }
        goal.into()
    }
}

fn show(url: &str, args: &Show) -> Result<()> {
    let text = client::get(url, &path(&args.endpoint, &args.name))?;
    if args.json {
        print_json_text(&text);
        return Ok(());
    }
    print(&entry(&text)?);
    Ok(())
}

fn list(url: &str, args: &List) -> Result<()> {
    let text = client::get(url, "/api/experiments")?;
    if args.json {
        print_json_text(&text);
        return Ok(());
    }
    let entries: Vec<Entry> =
        serde_json::from_str(&text).context("the answer of the server cannot be read")?;
    let header = ["NAME", "ENDPOINT", "STATE", "STARTED", "CONCLUSION"];
    let mut rows = vec![header.map(str::to_owned)];
    for entry in entries {
        let conclusion = entry.conclusion.unwrap_or_default();
        let started = timestamp(entry.started_ms);
        rows.push([entry.name, entry.endpoint, entry.state, started, conclusion]);
    }
    print_table(&rows);
    Ok(())
}

fn stop(url: &str, args: &Stop) -> Result<()> {
    let path = format!("{}/stop", path(&args.endpoint, &args.name));
    let stopped = client::post_json(url, &path, json!({ "reason": args.reason }))?;
    print(&entry(&stopped)?);
    Ok(())
}

fn entry(text: &str) -> Result<Entry> {
    serde_json::from_str(text).context("the answer of the server cannot be read")
}

fn print(entry: &Entry) {
    let Entry {
        name,
        endpoint,
        state,
        ..
    } = entry;
    print_line!("experiment {name} of {endpoint}: {state}");
    if let (Some(who), reason) = (&entry.ended_by, &entry.reason) {
        let reason = reason.as_deref().unwrap_or("no reason given");
        print_line!("stopped by {who}: {reason}");
    }
    if state == "running" && !entry.is_assigned {
        print_line!("its users get no arms: the traffic policy of {endpoint} was changed");
    }
    if let Some(conclusion) = &entry.conclusion {
        print_line!("{conclusion}");
    }
    if let Some(report) = &entry.report {
        report.print();
    }
}

impl Report {
    fn print(&self) {
        let header = [
            "VERSION",
            "SHARE",
            "USERS",
            "METRIC",
            "MEAN",
            "DIFFERENCE",
            "VERDICT",
        ];
        let mut rows = vec![header.map(str::to_owned)];
        for arm in &self.arms {
            rows.extend(arm.rows());
        }
        print_table(&rows);
        if self.users_in_several_arms > 0 {
            let users = self.users_in_several_arms;
            print_line!("left out, as they got several arms: {users} users");
        }
        if self.kept_share < 1.0 {
            let percent = 100.0 * self.kept_share;
            print_line!("looked at: a random {percent}% of the users");
        }
    }
}

impl ArmReport {
    fn rows(&self) -> Vec<[String; 7]> {
        let mut rows = Vec::with_capacity(self.metrics.len());
        for (place, metric) in self.metrics.iter().enumerate() {
            let about = match place {
                0 => [
                    self.version.clone(),
                    self.share.to_string(),
                    self.users.to_string(),
                ],
                _ => Default::default(),
            };
            let [version, share, users] = about;
            let kind = if metric.is_guardrail {
                " (guardrail)"
            } else {
                ""
            };
            let mean = metric
                .mean
                .map_or_else(|| "-".to_owned(), |mean| format!("{mean:.4}"));
            let (difference, verdict) = match (&metric.difference, self.best_probability) {
                (Some(found), _) => (found.text(), found.verdict.clone()),
                (None, Some(best)) if !metric.is_guardrail => {
                    (String::new(), format!("best with {:.1}%", 100.0 * best))
                }
                _ => Default::default(),
            };
            let name = format!("{}{kind}", metric.name);
            rows.push([version, share, users, name, mean, difference, verdict]);
        }
        rows
    }
}

impl Difference {
    fn text(&self) -> String {
        let Self {
            estimate,
            low,
            high,
            ..
        } = self;
        format!("{estimate:+.4} ({low:+.4} to {high:+.4})")
    }
}
