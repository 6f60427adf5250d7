//! The persisted state of a rollout.

use serde::{Deserialize, Serialize};

use super::action::{Action, ActionKind, Traffic};
use super::check_state::CheckState;
use super::spec::RolloutSpec;
use super::trace::Trace;
use super::verdict::Verdict;
use crate::policy::Share;

/// Events that a rollout keeps; the oldest go first.
pub const MAX_EVENTS: usize = 500;

/// A rollout, with everything that its next decision depends on. Persist it when it asks for
/// something new, and else as often as you like: the windows since come again, and give the same state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollout {
    /// Its name, unique among all rollouts.
    pub id: String,
    /// What it shall do.
    pub spec: RolloutSpec,
    /// The epoch of the lease under which it was last changed.
    pub epoch: u64,
    /// Counted from 1; each retry begins the next.
    pub attempt: u32,
    /// Where it is.
    pub phase: Phase,
    /// The number of its step, from 0.
    pub step: usize,
    /// When the step began, in milliseconds since 1970.
    pub step_start_ms: u64,
    /// When the first step of this attempt began; none before it has.
    pub began_ms: Option<u64>,
    /// The new version's requests in the step.
    pub step_requests: u64,
    /// The checks.
    pub checks: Vec<CheckState>,
    /// How the checks of this attempt went.
    pub trace: Trace,
    /// What happened.
    pub events: Vec<Event>,
    /// Events so far, with those that are no longer kept.
    pub(super) noted: u64,
    pub(super) last_window: u64,
    pub(super) last_command: u64,
    pub(super) last_action: u64,
    pub(super) actions: Vec<Action>,
}

/// Where a rollout is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// For the version to be ready and for gates to open. It has no traffic yet.
    Waiting,
    /// A step.
    Running,
    /// Traffic stays as it is until somebody resumes, promotes or aborts.
    Paused {
        /// Who or what paused it.
        reason: String,
    },
    /// The new version has everything.
    Promoted,
    /// The version before has everything.
    Aborted {
        /// Who or what aborted it.
        reason: String,
    },
}

/// Something that happened, for the report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// The attempt.
    pub attempt: u32,
    /// The step.
    pub step: usize,
    /// What, in words.
    pub what: String,
    /// What all checks said then.
    pub verdicts: Vec<Verdict>,
}

impl Rollout {
    /// A rollout that waits. Its spec was checked.
    pub fn new(id: &str, spec: RolloutSpec, now_ms: u64) -> Self {
        let mut rollout = Self {
            id: id.to_owned(),
            checks: Vec::new(),
            spec,
            epoch: 0,
            attempt: 1,
            phase: Phase::Waiting,
            step: 0,
            step_start_ms: now_ms,
            began_ms: None,
            step_requests: 0,
            trace: Trace::default(),
            events: Vec::new(),
            noted: 0,
            last_window: 0,
            last_command: 0,
            last_action: 0,
            actions: Vec::new(),
        };
        rollout.reset_checks();
        rollout
    }

    /// Whether nothing more happens unless somebody asks for it.
    pub const fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Promoted | Phase::Aborted { .. })
    }

    /// The traffic that the new version should have now.
    pub fn traffic(&self) -> Traffic {
        let step = self.spec.step(self.step);
        let weight = step.map_or(Share::NONE, |step| step.weight);
        let (answers, copies) = match self.phase {
            Phase::Promoted => (Share::ALL, Share::NONE),
            Phase::Waiting | Phase::Aborted { .. } => (Share::NONE, Share::NONE),
            // It was paused before its first step.
            Phase::Paused { .. } if self.began_ms.is_none() => (Share::NONE, Share::NONE),
            Phase::Running | Phase::Paused { .. } if self.spec.is_shadow(self.step) => {
                (Share::NONE, weight)
            }
            Phase::Running | Phase::Paused { .. } => (weight, Share::NONE),
        };
        Traffic { answers, copies }
    }

    /// What all checks say.
    pub fn verdicts(&self, at_ms: u64) -> Vec<Verdict> {
        self.checks
            .iter()
            .map(|check| check.verdict(at_ms))
            .collect()
    }

    /// The number for the next command of somebody.
    pub const fn next_command(&self) -> u64 {
        self.last_command + 1
    }

    /// The last window that was looked at.
    pub const fn last_window(&self) -> u64 {
        self.last_window
    }

    /// The actions that were asked for and not acknowledged yet.
    pub fn actions(&self) -> &[Action] {
        &self.actions
    }

    /// What happened since this earlier state of the same rollout.
    pub fn events_since(&self, before: &Self) -> &[Event] {
        let new = self.noted.saturating_sub(before.noted);
        let new = usize::try_from(new).unwrap_or(usize::MAX);
        &self.events[self.events.len().saturating_sub(new)..]
    }

    pub(super) fn reset_checks(&mut self) {
        self.trace = Trace::default();
        let alphas = self.spec.alphas();
        let checks = self.spec.checks.iter().cloned().zip(alphas);
        self.checks = checks
            .map(|(check, alpha)| CheckState::new(check, alpha))
            .collect();
    }

    /// Notes what happened.
    pub(super) fn note(&mut self, at_ms: u64, what: String) {
        if self.events.len() >= MAX_EVENTS {
            self.events.remove(0);
        }
        self.noted += 1;
        let verdicts = self.verdicts(at_ms);
        let (attempt, step) = (self.attempt, self.step);
        self.events.push(Event {
            at_ms,
            attempt,
            step,
            what,
            verdicts,
        });
    }

    /// Asks for something; it stays until it was done.
    pub(super) fn ask(&mut self, kind: ActionKind) {
        if matches!(kind, ActionKind::SetTraffic(_)) {
            // Weights of an earlier moment must not be set after those of now.
            self.actions
                .retain(|action| !matches!(action.kind, ActionKind::SetTraffic(_)));
        }
        self.last_action += 1;
        self.actions.push(Action {
            number: self.last_action,
            kind,
        });
    }
}
