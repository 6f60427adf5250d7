//! The content of the console's page.

use tidegate_console::{
    ArmsView, CheckPointView, CheckView, EventView, IntervalView, RolloutView, TracePointView,
    TraceView,
};
use tidegate_delivery::rollout::{Outcome, Rollout, TracePoint, Verdict};
use tidegate_delivery::sequential::Interval;

use super::Rollouts;
use super::api::RolloutStatus;

impl Rollouts {
    /// Every rollout that is under way, waits or ended last, as this server knows them.
    pub(crate) fn page(&self, now_ms: u64) -> tidegate_console::Rollouts {
        let state = self.state.lock();
        let persisted = &state.persisted;
        let rollouts = persisted.rollouts.active.iter();
        let rollouts = rollouts.chain(&persisted.rollouts.queue);
        let rollouts =
            rollouts.map(|rollout| view(rollout, RolloutStatus::of(rollout, persisted), now_ms));
        let past = state.past.iter();
        let past = past.map(|rollout| view(rollout, RolloutStatus::new(rollout), now_ms));
        tidegate_console::Rollouts {
            rollouts: rollouts.chain(past).collect(),
            problem: String::new(),
        }
    }
}

fn view(rollout: &Rollout, status: RolloutStatus, now_ms: u64) -> RolloutView {
    RolloutView {
        id: status.id,
        endpoint: status.endpoint,
        from: status.from,
        to: status.to,
        phase: status.phase.to_owned(),
        reason: status.reason,
        step: status.step,
        steps: status.steps,
        weight: status.weight,
        copies: status.copies,
        step_requests: status.step_requests,
        checks: rollout.verdicts(now_ms).into_iter().map(check).collect(),
        events: events(rollout),
        trace: TraceView {
            points: rollout.trace.points().iter().map(point).collect(),
        },
    }
}

fn check(verdict: Verdict) -> CheckView {
    let outcome = match verdict.outcome {
        Outcome::Failed => "failed",
        Outcome::NotFailed => "not_failed",
        Outcome::NoData => "no_data",
    };
    CheckView {
        check: verdict.check,
        outcome: outcome.to_owned(),
        p_value: Some(verdict.p_value),
        alpha: verdict.alpha,
        effect: verdict.effect,
        interval: verdict.interval.map(interval),
        compared: ArmsView {
            candidate: verdict.compared.candidate,
            control: verdict.compared.control,
        },
        message: verdict.message,
    }
}

fn events(rollout: &Rollout) -> Vec<EventView> {
    let events = rollout.events.iter().map(|event| EventView {
        at_ms: event.at_ms,
        what: event.what.clone(),
    });
    events.collect()
}

fn point(point: &TracePoint) -> TracePointView {
    let checks = point.checks.iter().map(|check| CheckPointView {
        log_e: check.log_e,
        interval: check.interval.map(interval),
    });
    TracePointView {
        at_ms: point.at_ms,
        checks: checks.collect(),
    }
}

fn interval(interval: Interval) -> IntervalView {
    IntervalView {
        low: interval.low,
        high: interval.high,
    }
}
