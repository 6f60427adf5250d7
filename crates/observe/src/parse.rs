//! Checking objectives as they are written: from [`Objective`] to [`Slo`].

use std::collections::BTreeSet;

use thiserror::Error;
use tidegate_core::{InvalidModelName, ModelName};

use crate::objective::{ALL_ENDPOINTS, Objective, SliKind};
use crate::sli::{LatencyBound, Sli};
use crate::slo::Slo;
use crate::window::{MAX_WINDOW_DAYS, Window};

const MAX_NAME: usize = 63;
/// The error budget is rounded to 12 digits: a higher target would leave it fewer than three.
const MAX_TARGET: f64 = 0.999_999_999;

/// An objective that is not valid.
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
    #[error("target is {0}, it must be above 0 and at most {MAX_TARGET}")]
    Target(f64),
    #[error("a latency slo needs threshold_ms")]
    NoThreshold,
    #[error("threshold_ms has no meaning for availability: leave it out, or set sli = \"latency\"")]
    NeedlessThreshold,
    #[error(
        "threshold_ms is {0}, it must be between 0.1 and 13107.2, the first and last bucket of the histogram"
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
    /// Checks the objective.
    ///
    /// # Errors
    /// The first problem found.
    pub fn parse(&self) -> Result<Slo, ObjectiveError> {
        match self.check() {
            Ok(sli) => Ok(Slo {
                sli,
                objective: self.clone(),
            }),
            Err(problem) => Err(self.error(problem)),
        }
    }

    /// Checks all objectives of a configuration.
    ///
    /// # Errors
    /// The first problem of one of them, or a name that two of them have.
    pub fn parse_all(objectives: &[Self]) -> Result<Vec<Slo>, ObjectiveError> {
        let mut names = BTreeSet::new();
        let mut slos = Vec::with_capacity(objectives.len());
        for objective in objectives {
            if !names.insert(&objective.name) {
                return Err(objective.error(ObjectiveProblem::DuplicateName));
            }
            slos.push(objective.parse()?);
        }
        Ok(slos)
    }

    fn error(&self, problem: ObjectiveProblem) -> ObjectiveError {
        ObjectiveError {
            name: self.name.clone(),
            problem,
        }
    }

    fn check(&self) -> Result<Sli, ObjectiveProblem> {
        if !is_name(&self.name) {
            return Err(ObjectiveProblem::Name);
        }
        if self.endpoint != ALL_ENDPOINTS {
            self.endpoint.parse::<ModelName>()?;
        }
        // Written so that NaN, which compares false with everything, is refused too.
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
        self.parse_sli()
    }

    fn parse_sli(&self) -> Result<Sli, ObjectiveProblem> {
        match (self.sli, self.threshold_ms) {
            (SliKind::Availability, None) => Ok(Sli::Availability),
            (SliKind::Freshness, None) => Ok(Sli::Freshness),
            (SliKind::Availability | SliKind::Freshness, Some(_)) => {
                Err(ObjectiveProblem::NeedlessThreshold)
            }
            (SliKind::Latency, None) => Err(ObjectiveProblem::NoThreshold),
            // Only bucket boundaries can be measured; a notice says so where the threshold moves.
            (SliKind::Latency, Some(ms)) => match LatencyBound::nearest(ms) {
                Some(bound) => Ok(Sli::Latency(bound)),
                None => Err(ObjectiveProblem::Threshold(ms)),
            },
        }
    }
}

/// Whether this is a label of RFC 1123, which OpenSLO requires of every name.
fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(is_name_byte)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
}

/// Whether this can be a label of an alert.
fn is_tier(tier: &str) -> bool {
    (1..=MAX_NAME).contains(&tier.chars().count())
        && !tier.contains(char::is_control)
        // Prometheus would take it for the start of a template.
        && !tier.contains("{{")
}

#[cfg(test)]
mod tests;
