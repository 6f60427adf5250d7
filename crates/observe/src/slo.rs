//! A checked objective.

use crate::objective::{ALL_ENDPOINTS, BudgetPolicy, Objective};
use crate::sli::Sli;
use crate::window::Window;

/// A service level objective that was checked; made by [`Objective::parse`].
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

    /// The model whose requests count; `None` for the requests of all models. These include requests
    /// that reached no version (`tidegate_requests_refused_total`), which are counted without their
    /// model.
    pub fn endpoint(&self) -> Option<&str> {
        Some(self.objective.endpoint.as_str()).filter(|endpoint| *endpoint != ALL_ENDPOINTS)
    }

    /// What it measures.
    pub fn sli(&self) -> Sli {
        self.sli
    }

    /// The share of requests that must be good.
    pub fn target(&self) -> f64 {
        self.objective.target
    }

    /// The share of requests that may be bad: 1 - target, rounded to 12 digits.
    pub fn error_budget(&self) -> f64 {
        // 1 - 0.999 is 0.0010000000000000009 in floating point. The rules for Prometheus contain
        // this number, and must contain the one that people expect.
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

    /// Requests that an alert's long window must contain before the alert fires.
    pub fn min_events(&self) -> u64 {
        self.objective.min_events
    }

    /// What happens when the error budget is used up.
    pub fn policy(&self) -> BudgetPolicy {
        self.objective.policy
    }

    /// The objective as it was written.
    pub fn objective(&self) -> &Objective {
        &self.objective
    }
}
