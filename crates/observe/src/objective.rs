//! Objectives as users write them, under `[[slo]]` in `tidegate.toml`.
//!
//! Only the written form is here. [`Objective::parse`] is beside [`Slo`](crate::Slo), so that this
//! module depends on nothing that is computed from an objective.

use serde::{Deserialize, Serialize};

use crate::window::Window;

/// The endpoint name that means all endpoints together.
pub const ALL_ENDPOINTS: &str = "*";

/// A service level objective as it is written. [`Objective::parse`] checks it and makes an
/// [`Slo`](crate::Slo) of it.
///
/// ```
/// use tidegate_observe::{Objective, SliKind};
///
/// let objective = Objective {
///     name: "fraud-latency".into(),
///     endpoint: "fraud".into(),
///     sli: SliKind::Latency,
///     threshold_ms: Some(100.0),
///     target: 0.99,
///     ..Objective::default()
/// };
/// let slo = objective.parse()?;
/// assert_eq!(slo.error_budget(), 0.01);
/// // 102.4 ms is the histogram boundary nearest to 100 ms.
/// assert_eq!(slo.sli().name(), "latency");
/// assert_eq!(slo.notices().len(), 1);
/// # Ok::<(), tidegate_observe::ObjectiveError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Objective {
    /// Its name in alerts, rules and dashboards: up to 63 lower-case letters, digits and `-`, unique
    /// among the objectives. Required.
    pub name: String,
    /// The model whose requests count, or `*` for the requests of all models together.
    pub endpoint: String,
    /// What is measured: `availability` or `latency`.
    pub sli: SliKind,
    /// For `latency`: answers up to this many milliseconds are in time, 0.1 to 13107.2. The nearest
    /// bucket boundary of `tidegate_request_duration_seconds` (0.1 · 2^k) is measured; a notice says
    /// so where it is another number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold_ms: Option<f64>,
    /// The share of requests that must be good, above 0 and below 1.
    pub target: f64,
    /// The window over which the target holds: a number of days up to now, `"1d"` to `"90d"`, or
    /// `"month"`, the calendar month in UTC.
    pub window: Window,
    /// A label of your choice on the objective's alerts, to route them by: up to 63 characters.
    pub tier: String,
    /// Requests that an alert's long window must contain before the alert fires; at least 1.
    pub min_events: u64,
    /// What happens when the error budget is used up: `none`, or `freeze`, which stops rollouts of
    /// the endpoint's models.
    pub policy: BudgetPolicy,
}

/// What happens when an error budget is used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetPolicy {
    /// Nothing beyond the alerts.
    #[default]
    None,
    /// Servers that follow the registry keep the versions that they serve until part of the budget
    /// is available again.
    Freeze,
}

impl BudgetPolicy {
    /// Its name in the configuration.
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
    /// The share of requests without a server fault.
    #[default]
    Availability,
    /// The share of answered requests that took no longer than `threshold_ms`.
    Latency,
    /// The share of requests whose looked-up features were not too old.
    Freshness,
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
