//! `tidegate traffic`.

mod bodies;
mod show;
mod wanted;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde::de::DeserializeOwned;
use serde_json::json;

use self::bodies::{Change, Checked, EndpointPolicy, ShadowFigures, Update};
use self::wanted::WantedPolicy;
use crate::client;
use crate::options::ServerUrl;
use crate::output::{print_json_text, print_line};

/// Show and set which versions of a model answer its requests
///
/// Send 5 % of the requests to version 8, and every user always to the same version:
///
///     tidegate traffic set fraud --weights 7=95%,8=5% --sticky header:x-user
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Traffic {
    #[command(subcommand)]
    command: TrafficCommand,
    #[command(flatten)]
    server: ServerUrl,
}

#[derive(Debug, Subcommand)]
enum TrafficCommand {
    /// Show the traffic policies, or that of one endpoint
    Show(Show),
    /// Set the traffic policy of an endpoint
    Set(Set),
    /// Show what a traffic policy would change
    Diff(Diff),
    /// List the changes of a traffic policy, the newest first
    History(Named),
    /// Take the last change of a traffic policy back
    Undo(Undo),
    /// Remove a traffic policy: that of the configuration decides, or the default version answers
    Remove(Remove),
    /// Compare the answers of shadows with those that clients got
    Shadows(Named),
}

#[derive(Debug, Args)]
struct Show {
    /// The endpoint [default: all that have a policy]
    #[arg(value_name = "ENDPOINT")]
    endpoint: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Named {
    /// The endpoint
    #[arg(value_name = "ENDPOINT")]
    endpoint: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Set {
    /// The endpoint
    #[arg(value_name = "ENDPOINT")]
    endpoint: String,
    #[command(flatten)]
    policy: WantedPolicy,
    /// Only if the policy is at this revision [default: the one that the change was worked out from]
    #[arg(long, value_name = "NUMBER")]
    revision: Option<i64>,
    /// Why, for the history
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    comment: String,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
struct Diff {
    /// The endpoint
    #[arg(value_name = "ENDPOINT")]
    endpoint: String,
    #[command(flatten)]
    policy: WantedPolicy,
}

#[derive(Debug, Args)]
struct Undo {
    /// The endpoint
    #[arg(value_name = "ENDPOINT")]
    endpoint: String,
    /// The revision to go back to; 0 is before the first [default: the one before the last change]
    #[arg(long, value_name = "NUMBER")]
    to: Option<i64>,
    /// Why, for the history
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    comment: String,
}

#[derive(Debug, Args)]
struct Remove {
    /// The endpoint
    #[arg(value_name = "ENDPOINT")]
    endpoint: String,
}

impl Traffic {
    pub(super) fn run(self) -> Result<ExitCode> {
        let url = &self.server.url()?;
        match self.command {
            TrafficCommand::Show(args) => show(url, &args)?,
            TrafficCommand::Set(args) => set(url, &args)?,
            TrafficCommand::Diff(args) => diff(url, &args.endpoint, &args.policy)?,
            TrafficCommand::History(args) => history(url, &args)?,
            TrafficCommand::Undo(args) => undo(url, &args)?,
            TrafficCommand::Remove(args) => remove(url, &args.endpoint)?,
            TrafficCommand::Shadows(args) => shadows(url, &args)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn show(url: &str, args: &Show) -> Result<()> {
    let place = match &args.endpoint {
        None => "/api/traffic".to_owned(),
        Some(endpoint) => path(endpoint, ""),
    };
    let text = client::get(url, &place)?;
    if args.json {
        print_json_text(&text);
        return Ok(());
    }
    let policies = match args.endpoint {
        Some(_) => vec![parsed(&text)?],
        None => parsed::<Vec<EndpointPolicy>>(&text)?,
    };
    if policies.is_empty() {
        print_line!("no endpoint has a traffic policy: default versions answer");
    }
    policies.iter().for_each(show::policy);
    Ok(())
}

fn set(url: &str, args: &Set) -> Result<()> {
    if args.dry_run {
        return diff(url, &args.endpoint, &args.policy);
    }
    let policy = args.policy.policy(url, &args.endpoint)?;
    let revision = match args.revision {
        Some(revision) => revision,
        None => checked(url, &args.endpoint, &policy)?.revision,
    };
    let body = json!({ "policy": policy, "revision": revision, "comment": args.comment });
    let text = client::put_json(url, &path(&args.endpoint, ""), body)?;
    show::update(&args.endpoint, &parsed(&text)?);
    Ok(())
}

fn diff(url: &str, endpoint: &str, wanted: &WantedPolicy) -> Result<()> {
    let policy = wanted.policy(url, endpoint)?;
    let checked = checked(url, endpoint, &policy)?;
    if checked.changes.is_empty() {
        print_line!("nothing changes");
    }
    for change in &checked.changes {
        print_line!("{change}");
    }
    Ok(())
}

fn checked(url: &str, endpoint: &str, policy: &impl serde::Serialize) -> Result<Checked> {
    let body = json!({ "policy": policy });
    parsed(&client::post_json(url, &path(endpoint, "/check"), body)?)
}

fn history(url: &str, args: &Named) -> Result<()> {
    let text = client::get(url, &path(&args.endpoint, "/history"))?;
    if args.json {
        print_json_text(&text);
        return Ok(());
    }
    show::history(parsed::<Vec<Change>>(&text)?);
    Ok(())
}

fn undo(url: &str, args: &Undo) -> Result<()> {
    let body = json!({ "to": args.to, "comment": args.comment });
    let text = client::post_json(url, &path(&args.endpoint, "/undo"), body)?;
    show::update(&args.endpoint, &parsed::<Update>(&text)?);
    Ok(())
}

fn remove(url: &str, endpoint: &str) -> Result<()> {
    client::delete(url, &path(endpoint, ""))?;
    print_line!("the traffic policy of {endpoint} is removed");
    Ok(())
}

fn shadows(url: &str, args: &Named) -> Result<()> {
    let text = client::get(url, &path(&args.endpoint, "/shadows"))?;
    if args.json {
        print_json_text(&text);
        return Ok(());
    }
    show::shadows(parsed::<Vec<ShadowFigures>>(&text)?);
    Ok(())
}

fn path(endpoint: &str, rest: &str) -> String {
    format!("/api/traffic/{endpoint}{rest}")
}

fn parsed<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).context("the response is not one of /api/traffic")
}
