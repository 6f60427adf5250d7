//! What a rollout is decided by.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::measured::Measured;
use crate::sequential::Arms;

/// What was observed and asked for since the last decision. What was given before may be given again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Evidence {
    /// The epoch of the caller's leader lease.
    pub epoch: u64,
    /// What the versions did, in order of time.
    pub windows: Vec<Window>,
    /// What people asked for, in order.
    pub commands: Vec<Command>,
    /// Whether the new version is loaded and ready on every replica.
    pub is_ready: bool,
    /// What went wrong with the new version, apart from the checks.
    pub faults: Vec<Fault>,
    /// Why traffic may not move to the new version now: a freeze, a closed deploy window, an error
    /// budget that is used up. Empty if it may. It never keeps traffic from going back.
    pub gates: Vec<String>,
    /// The highest number of the actions that were carried out, with all below it.
    pub done_action: u64,
}

/// What the versions did in a short time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Its number: from 1, higher for later windows, e.g. seconds since 1970.
    pub number: u64,
    /// When it began, in milliseconds since 1970.
    pub start_ms: u64,
    /// The requests that each version answered, or copies that it got in a step of copies.
    pub requests: Arms<u64>,
    /// The measurements, by metric.
    #[serde(default)]
    pub metrics: BTreeMap<String, Measured>,
}

/// What somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// Its number: from 1, higher for later commands.
    pub number: u64,
    /// What.
    pub kind: CommandKind,
    /// Who.
    pub by: String,
}

/// What people can ask of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandKind {
    /// Traffic stays as it is. Checks go on.
    Pause,
    /// It goes on. Checks that held it do not hold it again.
    Resume,
    /// The new version gets everything at once.
    Promote,
    /// Traffic goes back at once.
    Abort,
    /// After an abort, it begins again from the first step, with nothing of what was seen before.
    Retry,
}

/// What brings traffic back at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "detail", rename_all = "snake_case")]
pub enum Fault {
    /// An objective of the endpoint burns its error budget, and the new version is on it.
    ObjectiveBurn(String),
    /// The circuit breaker of the new version is open.
    BreakerOpen(String),
    /// The new version does not load.
    LoadFailure(String),
    /// Its process or its instances end again and again.
    CrashLoop(String),
    /// It needs more memory than it may.
    MemoryOverBudget(String),
}

impl Fault {
    /// In words, for reports and alerts.
    pub fn describe(&self) -> String {
        let (what, detail) = match self {
            Self::ObjectiveBurn(detail) => ("objective burns its budget", detail),
            Self::BreakerOpen(detail) => ("breaker is open", detail),
            Self::LoadFailure(detail) => ("version does not load", detail),
            Self::CrashLoop(detail) => ("version crashes again and again", detail),
            Self::MemoryOverBudget(detail) => ("memory is over budget", detail),
        };
        if detail.is_empty() {
            what.to_owned()
        } else {
            format!("{what}: {detail}")
        }
    }
}
