//! Objectives as users write them, under `[[slo]]` in `tidegate.toml`.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tidegate_core::{InvalidModelName, ModelName};

use crate::sli::{LatencyBound, Sli};
use crate::slo::Slo;
use crate::window::{MAX_WINDOW_DAYS, Window};

/// The endpoint that means all of them together.
pub const ALL_ENDPOINTS: &str = "*";
const MAX_NAME: usize = 63;
/// Beyond it the error budget has no digits left in a floating-point number.
const MAX_TARGET: f64 = 0.999_999_999;

/// One objective as it is written. [`Objective::parse`] makes an [`Slo`] of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Objective {
    /// What it is called in alerts, rules and dashboards: up to 63 lower-case letters, digits and
    /// `-`, no other objective's name. Required.
    pub name: String,
    /// The model whose requests count, or `*` for those of all models together.
    pub endpoint: String,
    /// What is measured: `availability` or `latency`.
    pub sli: SliKind,
    /// For `latency`: up to how many milliseconds an answer is in time, 0.1 to 13107.2. The nearest
    /// bound of a bucket of `tidegate_request_duration_seconds` (0.1 · 2^k) is used, and said where
    /// it is another number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold_ms: Option<f64>,
    /// The share of requests that are to be good, above 0 and below 1.
    pub target: f64,
    /// The window over which the target holds: a number of days up to now, `"1d"` to `"90d"`, or
    /// `"month"`, the calendar month in UTC.
    pub window: Window,
    /// A label of your choice that alerts carry on, to route them by: up to 63 characters.
    pub tier: String,
    /// How many requests must have counted in an alert's long window before it fires; at least 1.
    pub min_events: u64,
    /// What a spent error budget does: `none`, or `freeze`, which holds the rollouts of the
    /// endpoint's models.
    pub policy: BudgetPolicy,
}

/// What a spent error budget does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetPolicy {
    /// Nothing: alerts tell of it.
    #[default]
    None,
    /// Servers that follow the registry keep the versions that they serve until some of the budget
    /// is back.
    Freeze,
}

impl BudgetPolicy {
    /// Its name, as it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Freeze => "freeze",
        }
    }
}

/// What an objective measures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SliKind {
    /// The share of requests that the server did not fail.
    #[default]
    Availability,
    /// The share of answered requests that took no longer than `threshold_ms`.
    Latency,
}

impl Default for Objective {
    fn default() -> Self {
        Self {
            name: String::new(),
            endpoint: ALL_ENDPOINTS.to_owned(),
            sli: SliKind::default(),
            threshold_ms: None,
            target: 0.999,
            window: Window::default(),
            tier: "standard".to_owned(),
            min_events: 10,
            policy: BudgetPolicy::None,
        }
    }
}

/// An objective that cannot be kept as it is written.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("slo \"{name}\": {problem}")]
pub struct ObjectiveError {
    /// The objective's name.
    pub name: String,
    /// What is wrong with it.
    pub problem: ObjectiveProblem,
}

/// What is wrong with an objective.
#[derive(Clone, Debug, PartialEq, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ObjectiveProblem {
    #[error(
        "name must be 1 to {MAX_NAME} lower-case letters, digits and \"-\", and begin and end with a letter or digit"
    )]
    Name,
    #[error("another slo has this name")]
    DuplicateName,
    #[error("endpoint must be a model, or \"*\" for all: {0}")]
    Endpoint(#[from] InvalidModelName),
    #[error("target is {0}, it must lie above 0 and be at most {MAX_TARGET}")]
    Target(f64),
    #[error("a latency slo needs threshold_ms")]
    NoThreshold,
    #[error("threshold_ms has no meaning for availability: leave it out, or set sli = \"latency\"")]
    NeedlessThreshold,
    #[error(
        "threshold_ms is {0}, it must lie between 0.1 and 13107.2, the first and last bucket of the histogram"
    )]
    Threshold(f64),
    #[error("window is {0} days, it must be 1 to {MAX_WINDOW_DAYS}")]
    Window(u32),
    #[error("tier must be 1 to {MAX_NAME} characters, without control characters and \"{{{{\"")]
    Tier,
    #[error("min_events is 0, it must be at least 1")]
    NoEvents,
}

impl Objective {
    /// Reads the objective.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(&self) -> Result<Slo, ObjectiveError> {
        self.read().map_err(|problem| ObjectiveError {
            name: self.name.clone(),
            problem,
        })
    }

    /// Reads all objectives of a configuration.
    ///
    /// # Errors
    /// The first thing that is wrong with one of them, or with them together.
    pub fn parse_all(objectives: &[Self]) -> Result<Vec<Slo>, ObjectiveError> {
        let mut names = BTreeSet::new();
        let parse = |objective: &Self| match names.insert(objective.name.clone()) {
            true => objective.parse(),
            false => Err(ObjectiveError {
                name: objective.name.clone(),
                problem: ObjectiveProblem::DuplicateName,
            }),
        };
        objectives.iter().map(parse).collect()
    }

    fn read(&self) -> Result<Slo, ObjectiveProblem> {
        if !is_name(&self.name) {
            return Err(ObjectiveProblem::Name);
        }
        if self.endpoint != ALL_ENDPOINTS {
            self.endpoint.parse::<ModelName>()?;
        }
        if !(self.target > 0.0 && self.target <= MAX_TARGET) {
            return Err(ObjectiveProblem::Target(self.target));
        }
        if let Window::Rolling { days } = self.window
            && !(1..=MAX_WINDOW_DAYS).contains(&days)
        {
            return Err(ObjectiveProblem::Window(days));
        }
        if !is_tier(&self.tier) {
            return Err(ObjectiveProblem::Tier);
        }
        if self.min_events == 0 {
            return Err(ObjectiveProblem::NoEvents);
        }
        Ok(Slo {
            sli: self.read_sli()?,
            objective: self.clone(),
        })
    }

    fn read_sli(&self) -> Result<Sli, ObjectiveProblem> {
        match (self.sli, self.threshold_ms) {
            (SliKind::Availability, None) => Ok(Sli::Availability),
            (SliKind::Availability, Some(_)) => Err(ObjectiveProblem::NeedlessThreshold),
            (SliKind::Latency, None) => Err(ObjectiveProblem::NoThreshold),
            (SliKind::Latency, Some(ms)) => LatencyBound::nearest(ms)
                .map(Sli::Latency)
                .ok_or(ObjectiveProblem::Threshold(ms)),
        }
    }
}

/// Whether this is a label of RFC 1123, which OpenSLO asks of every name.
fn is_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=MAX_NAME).contains(&name.len())
        && name.chars().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Whether this can be a label of an alert: Prometheus would take `{{` for the beginning of a
/// template.
fn is_tier(tier: &str) -> bool {
    (1..=MAX_NAME).contains(&tier.chars().count())
        && !tier.contains(char::is_control)
        && !tier.contains("{{")
}

#[cfg(test)]
mod tests;
