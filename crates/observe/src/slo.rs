//! An objective that is right.

use std::fmt;

use crate::alerts::BURN_ALERTS;
use crate::objective::{ALL_ENDPOINTS, BudgetPolicy, Objective};
use crate::sli::Sli;
use crate::window::Window;

/// A service level objective; made by [`Objective::parse`].
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    pub(crate) objective: Objective,
    pub(crate) sli: Sli,
}

impl Slo {
    /// Its name, unique among the objectives of a server.
    pub fn name(&self) -> &str {
        &self.objective.name
    }

    /// The model whose requests count; `None` if it is all of them, and with them those that
    /// reached no version (`tidegate_requests_refused_total`), whose model nobody counts.
    pub fn endpoint(&self) -> Option<&str> {
        Some(self.objective.endpoint.as_str()).filter(|endpoint| *endpoint != ALL_ENDPOINTS)
    }

    /// What it measures.
    pub fn sli(&self) -> Sli {
        self.sli
    }

    /// The share of requests that are to be good.
    pub fn target(&self) -> f64 {
        self.objective.target
    }

    /// The share of requests that may be bad: what is left of 1 over the target, to 12 digits.
    pub fn error_budget(&self) -> f64 {
        // 1 - 0.999 is 0.0010000000000000009 in floating point; Prometheus's rules are to have the
        // same number.
        ((1.0 - self.objective.target) * 1e12).round() / 1e12
    }

    /// The window over which the target holds.
    pub fn window(&self) -> Window {
        self.objective.window
    }

    /// The label by which alerts are routed.
    pub fn tier(&self) -> &str {
        &self.objective.tier
    }

    /// How many requests an alert's long window must have.
    pub fn min_events(&self) -> u64 {
        self.objective.min_events
    }

    /// What a spent error budget does.
    pub fn policy(&self) -> BudgetPolicy {
        self.objective.policy
    }

    /// The objective as it was written.
    pub fn objective(&self) -> &Objective {
        &self.objective
    }

    /// What is not wrong, and yet not what one might expect.
    pub fn notices(&self) -> Vec<Notice> {
        let moved = match (self.sli, self.objective.threshold_ms) {
            (Sli::Latency(bound), Some(written_ms)) if bound.ms() != written_ms => {
                Some(Notice::ThresholdMoved {
                    written_ms,
                    used_ms: bound.ms(),
                })
            }
            _ => None,
        };
        let most = 1.0 / self.error_budget();
        let silent = BURN_ALERTS.iter().filter(|alert| most <= alert.factor);
        let silent = silent.map(|alert| Notice::NeverFires {
            alert: alert.id,
            factor: alert.factor,
            most,
        });
        moved.into_iter().chain(silent).collect()
    }
}

/// What a user should know of an objective.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// A threshold is no bucket's bound.
    ThresholdMoved {
        /// The threshold as written, in milliseconds.
        written_ms: f64,
        /// The bound that is used, in milliseconds.
        used_ms: f64,
    },
    /// The target is so low that an alert cannot fire.
    NeverFires {
        /// The alert's windows.
        alert: &'static str,
        /// The burn rate above which it would fire.
        factor: f64,
        /// The burn rate when everything fails.
        most: f64,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ThresholdMoved {
                written_ms,
                used_ms,
            } => write!(
                f,
                "threshold_ms is {written_ms}, which is no bucket's bound: {used_ms} is used, here and in the rules for \
                 Prometheus"
            ),
            Self::NeverFires {
                alert,
                factor,
                most,
            } => write!(
                f,
                "the alert {alert} fires above a burn rate of {factor}, and with this target there is none above {most:.1}"
            ),
        }
    }
}
