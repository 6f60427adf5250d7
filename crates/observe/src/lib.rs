//! What became of requests: service level objectives, error budgets, and what tells people of them.
//!
//! In: objectives as users write them, how many requests were good and how many there were, and the
//! time. Out: how each objective stands, which alerts fire, and the same as rules for Prometheus,
//! dashboards for Grafana and documents of OpenSLO. This room reads no clock, no file and no
//! network, and knows no request: who counts passes counts in, who keeps state serializes
//! [`Ledger`] and [`BurnAlerts`].
//!
//! What alerts become on their way to people is in [`alerting`], what serving costs in [`cost`].
//!
//! Begin at [`Objective`], which is parsed into an [`Slo`]; its requests are judged by [`Sli`],
//! counted in a [`Ledger`], and read as a [`Standing`] and by [`BurnAlerts`].
//!
//! ```
//! use tidegate_observe::{BurnAlerts, Ledger, Objective, Standing};
//!
//! let objective = Objective { name: "all".into(), target: 0.99, ..Objective::default() };
//! let slo = objective.parse()?;
//! let (mut ledger, mut alerts) = (Ledger::default(), BurnAlerts::default());
//! let now_ms = 1_700_000_040_000;
//! ledger.add(now_ms - 60_000, 995, 1000);
//! assert_eq!(Standing::of(&slo, &ledger, now_ms).budget_remaining, 0.5);
//! assert!(alerts.evaluate(&slo, &ledger, now_ms).is_empty());
//! # Ok::<(), tidegate_observe::ObjectiveError>(())
//! ```

pub mod alerting;
mod alerts;
mod burn;
mod burn_down;
pub mod cost;
mod dashboards;
mod event;
mod freeze;
mod history;
mod ledger;
mod objective;
pub mod openslo;
mod promql;
mod rules;
mod sketch;
mod sli;
mod slo;
mod traffic;
mod window;

pub use alerts::{AlertChange, AlertState, BURN_ALERTS, BurnAlert, BurnAlerts, Severity};
pub use burn::{Burn, BurnWindow, Standing};
pub use burn_down::{BudgetAt, burn_down};
pub use dashboards::{Dashboard, dashboards};
pub use event::{Event, EventLog, MAX_EVENTS};
pub use freeze::{Freeze, FreezeChange};
pub use history::{History, Point};
pub use ledger::{Bucket, Counts, Ledger};
pub use objective::{
    ALL_ENDPOINTS, BudgetPolicy, Objective, ObjectiveError, ObjectiveProblem, SliKind,
};
pub use rules::{Rule, RuleFile, RuleGroup, RuleOptions, rules};
pub use sketch::{SKETCH_ERROR, Sketch};
pub use sli::{LatencyBound, Outcome, SERVER_FAULTS, Sli};
pub use slo::{Notice, Slo};
pub use traffic::{Ending, Finished, Traffic};
pub use window::{MAX_WINDOW_DAYS, Window};
