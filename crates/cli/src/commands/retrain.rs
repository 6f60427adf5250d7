//! `tidegate retrain`.

use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};
use tidegate_server::TriggerAnswer;
use tidegate_store::{AuditEntry, Store};

use crate::client;
use crate::environment::actor;
use crate::options::{ChosenPlace, Place};
use crate::output::{print_json, print_line, print_table, printable, timestamp};
use crate::registry_access::block_on;

/// Triggers that are listed, at most.
const MAX_TRIGGERS: u16 = 200;

/// List the triggers that ask for new versions, and decide on them
#[derive(Debug, Args)]
pub(super) struct Retrain {
    #[command(subcommand)]
    command: RetrainCommand,
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum RetrainCommand {
    /// List the last triggers, the newest first
    List,
    /// Approve a trigger that waits: its message is sent
    Approve {
        /// The trigger
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Dismiss a trigger that waits, or whose version is not expected any more
    Dismiss {
        /// The trigger
        #[arg(value_name = "ID")]
        id: String,
    },
}

/// `/api/retraining`, as far as it is read.
#[derive(Deserialize)]
struct Listed {
    triggers: Vec<TriggerAnswer>,
}

impl Retrain {
    pub(super) fn run(self) -> Result<ExitCode> {
        let chosen = self
            .place
            .choose(|access| access.config.registry.database(access.data()))?;
        match &self.command {
            RetrainCommand::List => print_list(&list(&chosen)?, self.json)?,
            RetrainCommand::Approve { id } => print(&decide(&chosen, id, true)?, self.json)?,
            RetrainCommand::Dismiss { id } => print(&decide(&chosen, id, false)?, self.json)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn list(place: &ChosenPlace) -> Result<Vec<TriggerAnswer>> {
    match place {
        ChosenPlace::Server(url) => {
            let text = client::get(url, "/api/retraining")?;
            let listed: Listed =
                serde_json::from_str(&text).context("the response is not a list of triggers")?;
            Ok(listed.triggers)
        }
        ChosenPlace::Database(access) => block_on(async {
            let store = Store::open(&access.config.registry.database(access.data())).await?;
            let triggers = store.triggers(None, MAX_TRIGGERS).await?;
            store.close().await;
            Ok(triggers.into_iter().map(TriggerAnswer::from).collect())
        }),
    }
}

fn decide(place: &ChosenPlace, id: &str, approves: bool) -> Result<TriggerAnswer> {
    match place {
        ChosenPlace::Server(url) => {
            let triggers = list(place)?;
            let trigger = triggers.iter().find(|trigger| trigger.id == id);
            let trigger = trigger.with_context(|| format!("there is no trigger {id}"))?;
            let action = if approves { "approve" } else { "dismiss" };
            let path = format!("/api/retraining/{}/{id}/{action}", trigger.endpoint);
            let text = client::post(url, &path)?;
            serde_json::from_str(&text).context("the response is not a trigger")
        }
        ChosenPlace::Database(access) => {
            let database = access.config.registry.database(access.data());
            block_on(decide_in_database(&database, id, approves))
        }
    }
}

async fn decide_in_database(database: &str, id: &str, approves: bool) -> Result<TriggerAnswer> {
    let store = Store::open(database).await?;
    let mut write = store.write(&actor()).await?;
    let decided = write.decide_trigger(id, approves).await?;
    let decided = decided.map_err(|problem| anyhow!(problem))?;
    let action = if approves {
        "retrain.approve"
    } else {
        "retrain.dismiss"
    };
    let entry = AuditEntry::new(write.actor(), action, "ok").about("trigger", id);
    let state = json!({"state": decided.state.name()});
    write
        .append_audit(&entry.with_states(&Value::Null, &state))
        .await?;
    write.commit().await?;
    store.close().await;
    Ok(decided.into())
}

fn print_list(triggers: &[TriggerAnswer], json: bool) -> Result<()> {
    if json {
        return Ok(print_json(&triggers)?);
    }
    if triggers.is_empty() {
        print_line!("no rule has fired");
        return Ok(());
    }
    let header = ["TRIGGER", "STATE", "FIRED", "DATA SET", "VERSION", "REASON"];
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(triggers.iter().map(|trigger| {
        [
            trigger.id.clone(),
            trigger.state.clone(),
            timestamp(trigger.fired_ms),
            trigger.dataset.clone(),
            trigger.closed_by.clone(),
            reason(trigger),
        ]
    }));
    print_table(&rows);
    Ok(())
}

/// Why it fired, and why it does not go on.
fn reason(trigger: &TriggerAnswer) -> String {
    let reason = trigger.reason["message"].as_str().unwrap_or_default();
    match trigger.problem.as_str() {
        "" => reason.to_owned(),
        problem => format!("{reason} ({problem})"),
    }
}

fn print(trigger: &TriggerAnswer, json: bool) -> Result<()> {
    if json {
        return Ok(print_json(trigger)?);
    }
    print_line!("{} is {}", printable(&trigger.id), trigger.state);
    Ok(())
}
