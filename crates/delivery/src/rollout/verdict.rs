//! What a check says, with the numbers that it rests on.

use serde::{Deserialize, Serialize};

use crate::sequential::{Arms, Interval};

/// What a check says at one time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// The check.
    pub check: String,
    /// What it says.
    pub outcome: Outcome,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// The natural logarithm of the e-value against "no worse than `min_effect`".
    pub log_e: f64,
    /// The p-value that this stands for, valid at all times.
    pub p_value: f64,
    /// Its probability of a false alarm.
    pub alpha: f64,
    /// How much more the new version has; its unit is that of the check.
    pub effect: Option<f64>,
    /// Where that lies, with probability 1 − alpha at all times, where an interval is known.
    pub interval: Option<Interval>,
    /// Requests or values that were compared.
    pub compared: Arms<u64>,
    /// Events among them, for shares and quantiles.
    pub events: Arms<u64>,
    /// What something outside said.
    pub message: String,
}

/// What a check says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The new version is worse.
    Failed,
    /// Nothing says that it is worse.
    NotFailed,
    /// Nothing was compared yet, which is neither.
    NoData,
}
