//! What a rollout asks of the server.

use serde::{Deserialize, Serialize};

use super::verdict::Verdict;
use crate::policy::Share;

/// Something to do. It comes again, with the same number, until the evidence says that it was done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// Its number: rising over the rollout and its attempts. Do no number twice.
    pub number: u64,
    /// What.
    pub kind: ActionKind,
}

/// What there is to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionKind {
    /// Set the weights of all targets. One that was not carried out is replaced by the next.
    SetTraffic(Traffic),
    /// The new versions are what the endpoints' aliases name from now on.
    MoveAliases,
    /// The aliases name the versions before again.
    RestoreAliases,
    /// The new versions are bad, and not tried again unless somebody insists.
    MarkBad {
        /// Why.
        reason: String,
    },
    /// Tell somebody.
    Alert {
        /// In one sentence.
        summary: String,
        /// The numbers, if a check is the reason.
        verdict: Option<Box<Verdict>>,
    },
}

/// The traffic of the new version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traffic {
    /// The share of requests that it answers; the version before answers the rest.
    pub answers: Share,
    /// The share of requests that are copied to it.
    pub copies: Share,
}
