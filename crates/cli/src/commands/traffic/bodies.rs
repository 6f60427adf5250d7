//! The responses of `/api/traffic`.

use serde::Deserialize;
use tidegate_delivery::policy::TrafficPolicy;

/// An endpoint with its policy.
#[derive(Debug, Deserialize)]
pub(super) struct EndpointPolicy {
    pub(super) endpoint: String,
    pub(super) source: String,
    pub(super) revision: i64,
    pub(super) changed_ms: Option<i64>,
    pub(super) changed_by: Option<String>,
    pub(super) comment: Option<String>,
    pub(super) waiting: Option<String>,
    pub(super) policy: TrafficPolicy,
}

/// A policy that was checked.
#[derive(Debug, Deserialize)]
pub(super) struct Checked {
    pub(super) revision: i64,
    pub(super) changes: Vec<String>,
}

/// A change that was made.
#[derive(Debug, Deserialize)]
pub(super) struct Update {
    pub(super) revision: i64,
    pub(super) changes: Vec<String>,
    pub(super) waiting: Option<String>,
}

/// A change of the history.
#[derive(Debug, Deserialize)]
pub(super) struct Change {
    pub(super) revision: i64,
    pub(super) at_ms: i64,
    pub(super) actor: String,
    pub(super) action: String,
    pub(super) comment: String,
    pub(super) changes: Vec<String>,
}

/// What a shadow has answered.
#[derive(Debug, Deserialize)]
pub(super) struct ShadowFigures {
    pub(super) version: String,
    pub(super) share: String,
    pub(super) compared: u64,
    pub(super) agreed: u64,
    pub(super) failed: u64,
    pub(super) dropped: u64,
    pub(super) skipped: u64,
    pub(super) last_error: Option<String>,
    pub(super) mean_ms: Option<f64>,
    pub(super) worst: Vec<Disagreement>,
}

/// A pair of answers that differ.
#[derive(Debug, Deserialize)]
pub(super) struct Disagreement {
    pub(super) output: String,
    pub(super) distance: Option<f64>,
    pub(super) primary: Vec<f64>,
    pub(super) shadow: Vec<f64>,
}
