//! Service level objectives, error budgets, alerts and cost of serving. Pure decisions, no I/O.
//!
//! **In**: objectives and prices as users write them, counts of good and of all requests, samples of
//! metrics, and the time. **Out**: the status of each objective, the alerts that fire and the
//! messages to send about them, cost reports, and the same objectives as rules for Prometheus,
//! dashboards for Grafana and OpenSLO documents.
//!
//! This crate reads no clock, file or network, and depends on no other part of the server but
//! `core`. Callers pass in times and counts. Callers that persist state serialize [`Ledger`],
//! [`BurnAlerts`] and the other types that say so.
//!
//! Start with [`Objective`]: it parses into an [`Slo`]. The slo's [`Sli`] classifies requests, a
//! [`Ledger`] counts them, [`SloStatus`] reads the ledger, and [`BurnAlerts`] decides what fires.
//! Notification of people is in [`alerting`], cost in [`cost`].
//!
//! ```
//! use tidegate_observe::{BurnAlerts, Ledger, Objective, SloStatus};
//!
//! let objective = Objective { name: "all".into(), target: 0.99, ..Objective::default() };
//! let slo = objective.parse()?;
//! let (mut ledger, mut alerts) = (Ledger::default(), BurnAlerts::default());
//! let now_ms = 1_700_000_040_000;
//! ledger.add(now_ms - 60_000, 995, 1000);
//! assert_eq!(SloStatus::of(&slo, &ledger, now_ms).budget_remaining, 0.5);
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
mod notice;
mod objective;
pub mod openslo;
mod parse;
mod promql;
mod rules;
mod sketch;
mod sli;
mod slo;
mod status;
mod traffic;
mod window;

pub use alerts::{AlertChange, AlertState, BURN_ALERTS, BurnAlert, BurnAlerts, Severity};
pub use burn::{Burn, BurnWindow};
pub use burn_down::{BudgetAt, burn_down};
pub use dashboards::{Dashboard, dashboards};
pub use event::{Event, EventLog, MAX_EVENTS};
pub use freeze::{Freeze, FreezeChange};
pub use history::{History, Point};
pub use ledger::{Bucket, Counts, Ledger};
pub use notice::Notice;
pub use objective::{ALL_ENDPOINTS, BudgetPolicy, Objective, SliKind};
pub use parse::{ObjectiveError, ObjectiveProblem};
pub use rules::{Rule, RuleFile, RuleGroup, RuleOptions, rules};
pub use sketch::{SKETCH_ERROR, Sketch};
pub use sli::{FRESHNESS_FAULTS, LatencyBound, Outcome, SERVER_FAULTS, Sli};
pub use slo::Slo;
pub use status::{SloStatus, describe_budget};
pub use traffic::{FinishedRequest, RequestOutcome, Traffic};
pub use window::{MAX_WINDOW_DAYS, Window};
