//! A controlled change of traffic from one version to the next.
//!
//! [`decide`] is the whole machine: from the persisted [`Rollout`], what was observed since
//! ([`Evidence`]) and the time, to the next state and what has to be done. It is pure, and nothing is
//! lost or done twice if the process ends at any moment:
//! - Windows, commands and actions are numbered. What the state has seen already is passed over, so the
//!   same evidence can be given again.
//! - Actions stay in the state until they are acknowledged, so the next leader gets them again, with the
//!   same numbers.
//! - The state carries the epoch of the lease under which it was written. Evidence of an older epoch
//!   changes nothing.
//!
//! ```text
//!            ready, gates open              steps done
//!  Waiting ───────────────────► Running ─────────────────► Promoted
//!                                │  ▲
//!        pause, hold, no data    ▼  │ resume                     retry
//!                               Paused                  Aborted ──────► Waiting, attempt + 1
//!  any of them ── abort, failed check, fault ──────────────►
//! ```
//!
//! ```
//! use tidegate_delivery::rollout::{Evidence, Rollout, RolloutSpec, decide};
//!
//! let spec: RolloutSpec = toml::from_str(
//!     r#"
//!     targets = [{ endpoint = "fraud", from = 7, to = 8 }]
//!     steps = [{ weight = "1%" }, { weight = "10%" }, { weight = "100%" }]
//!     checks = [{ name = "errors", metric = "errors", kind = "share", min_effect = 0.001 }]
//!     "#,
//! )?;
//! spec.check()?;
//! let rollout = Rollout::new("fraud-8", spec, 0);
//! let evidence = Evidence { is_ready: true, ..Evidence::default() };
//! let (rollout, actions) = decide(&rollout, &evidence, 1000);
//! assert_eq!(rollout.traffic().answers.to_string(), "1%");
//! // To set the weights; it comes again until the evidence says that it was done.
//! assert_eq!(actions.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod action;
mod check;
mod check_state;
mod decide;
mod deploy_windows;
mod evidence;
mod measured;
mod queue;
mod spec;
mod state;
mod trace;
mod verdict;
mod written_check;

pub use action::{Action, ActionKind, Traffic};
pub use check::{Check, CheckAction, CheckKind};
pub use check_state::CheckState;
pub use decide::decide;
pub use deploy_windows::{DeployWindow, InvalidDeployWindow, Weekday};
pub use evidence::{Command, CommandKind, Evidence, Fault, Window};
pub use measured::Measured;
pub use queue::{NotStarted, Rollouts};
pub use spec::{InvalidSpec, RolloutSpec, Step, Strategy, Target};
pub use state::{Event, MAX_EVENTS, Phase, Rollout};
pub use trace::{CheckPoint, MAX_POINTS, Trace, TracePoint};
pub use verdict::{Outcome, Verdict};

#[cfg(test)]
mod tests;
