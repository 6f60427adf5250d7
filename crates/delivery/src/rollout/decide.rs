//! The next state of a rollout.

use super::action::{Action, ActionKind};
use super::check::CheckAction;
use super::evidence::{Command, CommandKind, Evidence, Window};
use super::state::{Phase, Rollout};
use super::verdict::{Outcome, Verdict};

/// The state after this evidence, and all that has to be done and was not acknowledged yet.
///
/// What brings traffic back comes before everything that could keep it: pauses, gates, missing data.
/// A rollout goes on by at most one step per call.
pub fn decide(before: &Rollout, evidence: &Evidence, now_ms: u64) -> (Rollout, Vec<Action>) {
    let mut rollout = before.clone();
    if evidence.epoch < before.epoch {
        // Another leader has taken over since: what this one knows is old.
        return (rollout, Vec::new());
    }
    rollout.epoch = evidence.epoch;
    rollout
        .actions
        .retain(|action| action.number > evidence.done_action);
    for command in &evidence.commands {
        if command.number > rollout.last_command {
            rollout.last_command = command.number;
            rollout.obey(command, evidence.is_ready, now_ms);
        }
    }
    for window in &evidence.windows {
        if window.number > rollout.last_window {
            rollout.last_window = window.number;
            rollout.observe(window);
        }
    }
    rollout.go_back_if_bad(evidence, now_ms);
    rollout.hold_or_warn(now_ms);
    rollout.go_on_if_good(evidence, now_ms);
    let actions = rollout.actions.clone();
    (rollout, actions)
}

impl Rollout {
    fn obey(&mut self, command: &Command, is_ready: bool, now_ms: u64) {
        let by = &command.by;
        match (command.kind, &self.phase) {
            (CommandKind::Pause, Phase::Running | Phase::Waiting) => {
                let reason = format!("paused by {by}");
                self.note(now_ms, reason.clone());
                self.phase = Phase::Paused { reason };
            }
            (CommandKind::Resume, Phase::Paused { .. }) => self.resume(by, now_ms),
            (CommandKind::Promote, _) if !is_ready && !self.is_over() => {
                self.note(
                    now_ms,
                    format!("not promoted for {by}: the version is not ready"),
                );
            }
            (CommandKind::Promote, Phase::Waiting | Phase::Running | Phase::Paused { .. }) => {
                self.promote(&format!("promoted by {by}"), now_ms);
            }
            (CommandKind::Abort, Phase::Waiting | Phase::Running | Phase::Paused { .. }) => {
                // A person's decision says nothing about the version: it is not marked.
                self.go_back(&format!("aborted by {by}"), now_ms);
            }
            (CommandKind::Retry, Phase::Aborted { .. }) => self.retry(by, now_ms),
            // What makes no sense now, e.g. because the rollout ended meanwhile, changes nothing.
            _ => self.note(now_ms, format!("{:?} by {by} came too late", command.kind)),
        }
    }

    fn resume(&mut self, by: &str, now_ms: u64) {
        for check in &mut self.checks {
            check.is_overridden |= check.failed.is_some();
        }
        self.note(now_ms, format!("resumed by {by}"));
        self.phase = if self.began_ms.is_some() {
            Phase::Running
        } else {
            Phase::Waiting
        };
        // The time for its requests begins again: else the step would be held at once for want of them.
        self.step_start_ms = now_ms;
    }

    fn retry(&mut self, by: &str, now_ms: u64) {
        self.attempt += 1;
        self.phase = Phase::Waiting;
        self.step = 0;
        self.began_ms = None;
        self.step_start_ms = now_ms;
        self.step_requests = 0;
        self.reset_checks();
        self.note(now_ms, format!("attempt {} begun by {by}", self.attempt));
    }

    /// Takes in a window.
    fn observe(&mut self, window: &Window) {
        // What was before the first step of this attempt does not count for it.
        let is_of_attempt = self
            .began_ms
            .is_some_and(|began_ms| window.start_ms >= began_ms);
        if self.is_over() || !is_of_attempt {
            return;
        }
        if window.start_ms >= self.step_start_ms {
            self.step_requests += window.requests.candidate;
        }
        for check in &mut self.checks {
            if let Some(measured) = window.metrics.get(&check.check.metric) {
                check.add(measured);
            }
        }
        self.trace.window(&self.checks, window.start_ms);
    }

    fn go_back_if_bad(&mut self, evidence: &Evidence, now_ms: u64) {
        if self.is_over() {
            return;
        }
        if let Some(fault) = evidence.faults.first() {
            let reason = fault.describe();
            self.go_back(&reason, now_ms);
            self.ask(ActionKind::MarkBad {
                reason: reason.clone(),
            });
            self.ask(ActionKind::Alert {
                summary: self.headline(&reason),
                verdict: None,
            });
            return;
        }
        for index in 0..self.checks.len() {
            let check = &self.checks[index];
            if check.check.action != CheckAction::Abort || check.outcome() != Outcome::Failed {
                continue;
            }
            let verdict = check.verdict(now_ms);
            self.checks[index].failed = Some(verdict.clone());
            let reason = reason(&verdict);
            self.go_back(&reason, now_ms);
            self.ask(ActionKind::MarkBad {
                reason: reason.clone(),
            });
            let summary = self.headline(&reason);
            self.ask(ActionKind::Alert {
                summary,
                verdict: Some(Box::new(verdict)),
            });
            return;
        }
    }

    fn hold_or_warn(&mut self, now_ms: u64) {
        if self.is_over() {
            return;
        }
        for index in 0..self.checks.len() {
            let check = &self.checks[index];
            if check.failed.is_some() || check.outcome() != Outcome::Failed {
                continue;
            }
            let verdict = check.verdict(now_ms);
            let action = check.check.action;
            let reason = reason(&verdict);
            self.checks[index].failed = Some(verdict.clone());
            self.note(now_ms, reason.clone());
            let summary = self.headline(&reason);
            self.ask(ActionKind::Alert {
                summary,
                verdict: Some(Box::new(verdict)),
            });
            if action == CheckAction::Hold {
                self.phase = Phase::Paused { reason };
            }
        }
    }

    fn go_on_if_good(&mut self, evidence: &Evidence, now_ms: u64) {
        if !evidence.is_ready || !evidence.gates.is_empty() {
            return;
        }
        match self.phase {
            Phase::Waiting => self.begin(now_ms),
            Phase::Running => self.finish_step(now_ms),
            Phase::Paused { .. } | Phase::Promoted | Phase::Aborted { .. } => {}
        }
    }

    fn begin(&mut self, now_ms: u64) {
        self.phase = Phase::Running;
        self.step_start_ms = now_ms;
        self.step_requests = 0;
        self.began_ms = Some(now_ms);
        self.note(now_ms, "first step begun".to_owned());
        self.ask(ActionKind::SetTraffic(self.traffic()));
    }

    fn finish_step(&mut self, now_ms: u64) {
        let Some(step) = self.spec.step(self.step) else {
            return;
        };
        let elapsed_ms = now_ms.saturating_sub(self.step_start_ms);
        let is_long_enough = elapsed_ms >= step.min_duration_s.saturating_mul(1000);
        let has_requests = self.step_requests >= step.min_requests;
        if is_long_enough && has_requests {
            self.next_step(now_ms);
        } else if elapsed_ms >= self.spec.max_step_s.saturating_mul(1000) && !has_requests {
            let (seen, wanted) = (self.step_requests, step.min_requests);
            let reason = format!(
                "no data: {seen} of {wanted} requests in {} s",
                elapsed_ms / 1000
            );
            self.note(now_ms, reason.clone());
            let summary = self.headline(&reason);
            self.ask(ActionKind::Alert {
                summary,
                verdict: None,
            });
            self.phase = Phase::Paused { reason };
        }
    }

    fn next_step(&mut self, now_ms: u64) {
        if self.spec.step(self.step + 1).is_none() {
            self.promote("all steps done", now_ms);
            return;
        }
        let requests = self.step_requests;
        self.note(
            now_ms,
            format!("step {} done after {requests} requests", self.step + 1),
        );
        self.step += 1;
        self.step_start_ms = now_ms;
        self.step_requests = 0;
        self.checks
            .iter_mut()
            .for_each(super::CheckState::drop_pending);
        self.ask(ActionKind::SetTraffic(self.traffic()));
    }

    fn promote(&mut self, why: &str, now_ms: u64) {
        self.trace.add(&self.checks, now_ms);
        self.note(now_ms, why.to_owned());
        self.phase = Phase::Promoted;
        self.ask(ActionKind::SetTraffic(self.traffic()));
        self.ask(ActionKind::MoveAliases);
    }

    fn go_back(&mut self, reason: &str, now_ms: u64) {
        self.trace.add(&self.checks, now_ms);
        self.note(now_ms, format!("traffic goes back: {reason}"));
        self.phase = Phase::Aborted {
            reason: reason.to_owned(),
        };
        self.ask(ActionKind::SetTraffic(self.traffic()));
        self.ask(ActionKind::RestoreAliases);
    }

    /// The first line of an alert.
    fn headline(&self, reason: &str) -> String {
        let target = &self.spec.targets[0];
        let (endpoint, version) = (&target.endpoint, &target.to);
        format!(
            "rollout of version {version} on {endpoint}, step {}: {reason}",
            self.step + 1
        )
    }
}

fn reason(verdict: &Verdict) -> String {
    let check = &verdict.check;
    if !verdict.message.is_empty() {
        return format!("check {check} failed: {}", verdict.message);
    }
    let effect = verdict
        .effect
        .map_or(String::new(), |effect| format!(", difference {effect:.4}"));
    let compared = verdict.compared;
    format!(
        "check {check} failed: p {:.2e} at alpha {:.4}{effect}, {} requests against {}",
        verdict.p_value, verdict.alpha, compared.candidate, compared.control
    )
}
