//! What became of requests: service level objectives, error budgets, and what tells people of them.

mod alerts;
mod burn;
mod ledger;
mod objective;
pub mod openslo;
mod promql;
mod rules;
mod sli;
mod slo;
mod window;

pub use alerts::{AlertChange, AlertState, BURN_ALERTS, BurnAlert, BurnAlerts, Severity};
pub use burn::{Burn, BurnWindow, Standing};
pub use ledger::{Counts, Ledger};
pub use objective::{ALL_ENDPOINTS, Objective, ObjectiveError, ObjectiveProblem, SliKind};
pub use rules::{Rule, RuleFile, RuleGroup, RuleOptions, rules};
pub use sli::{LatencyBound, Outcome, SERVER_FAULTS, Sli};
pub use slo::{Notice, Slo};
pub use window::{MAX_WINDOW_DAYS, Window};
