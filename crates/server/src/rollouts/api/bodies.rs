//! What requests and answers of `/api/rollouts` hold.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_delivery::policy::VersionName;
use tidegate_delivery::rollout::{
    Check, Event, Phase, Rollout, RolloutSpec, Step, Strategy, Target, Verdict,
};
use utoipa::ToSchema;

use crate::clock::now_ms;
use crate::rollouts::change::Begun;
use crate::rollouts::persisted::{PersistedRollouts, target};

const ALPHA: f64 = 0.01;
const MAX_STEP_S: u64 = 24 * 3600;

/// A rollout to start.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRollout {
    /// The new version, by number.
    #[schema(value_type = u64)]
    pub(super) to: VersionName,
    /// The version that is gone back to; the one that answers now if absent.
    #[schema(value_type = Option<u64>)]
    pub(super) from: Option<VersionName>,
    /// `canary`, `blue-green` or `shadow-then-canary`.
    #[serde(default)]
    #[schema(value_type = String)]
    strategy: Strategy,
    /// Each `{"weight": "5%", "min_duration_s": 300, "min_requests": 100}`; the last one has 100 %.
    #[schema(value_type = Vec<Object>)]
    steps: Vec<Step>,
    /// The step of copies, for `shadow-then-canary`.
    #[schema(value_type = Option<Object>)]
    shadow: Option<Step>,
    /// What is compared; failed requests, invalid outputs, the p99 and the distribution of each output if
    /// absent.
    #[schema(value_type = Option<Vec<Object>>)]
    checks: Option<Vec<Check>>,
    /// The probability that any check ever fails while the new version is no worse.
    alpha: Option<f64>,
    /// How long a step waits for its requests before the rollout is held, in seconds.
    max_step_s: Option<u64>,
    /// Whether a version is tried again that was found bad.
    #[serde(default)]
    pub(super) force: bool,
}

impl NewRollout {
    /// The rollout, with these checks if it names none.
    pub(super) fn spec(
        self,
        endpoint: &str,
        from: VersionName,
        default_checks: Vec<Check>,
    ) -> RolloutSpec {
        RolloutSpec {
            targets: vec![Target {
                endpoint: endpoint.to_owned(),
                from,
                to: self.to,
            }],
            strategy: self.strategy,
            steps: self.steps,
            shadow: self.shadow,
            checks: self.checks.unwrap_or(default_checks),
            alpha: self.alpha.unwrap_or(ALPHA),
            max_step_s: self.max_step_s.unwrap_or(MAX_STEP_S),
        }
    }
}

/// Where a rollout is.
#[derive(Serialize, ToSchema)]
pub(crate) struct RolloutStatus {
    pub(in crate::rollouts) id: String,
    pub(in crate::rollouts) endpoint: String,
    pub(in crate::rollouts) from: String,
    pub(in crate::rollouts) to: String,
    /// `queued`, `waiting`, `running`, `paused`, `promoted` or `aborted`.
    pub(in crate::rollouts) phase: &'static str,
    /// Why it is paused or aborted, or what it waits for.
    pub(in crate::rollouts) reason: Option<String>,
    /// The step, from 1.
    pub(in crate::rollouts) step: usize,
    /// How many steps there are.
    pub(in crate::rollouts) steps: usize,
    /// The share of requests that the new version answers.
    pub(in crate::rollouts) weight: String,
    /// The share of requests that are copied to it.
    pub(in crate::rollouts) copies: String,
    /// The new version's requests in the step.
    pub(in crate::rollouts) step_requests: u64,
}

/// A rollout with all that is known of it.
#[derive(Serialize, ToSchema)]
pub(crate) struct RolloutDetail {
    #[serde(flatten)]
    status: RolloutStatus,
    /// What it shall do.
    #[schema(value_type = Object)]
    spec: RolloutSpec,
    /// What its checks say now, with the numbers.
    #[schema(value_type = Vec<Object>)]
    checks: Vec<Verdict>,
    /// What happened, the oldest first, with what the checks said then.
    #[schema(value_type = Vec<Object>)]
    events: Vec<Event>,
    /// How the checks went.
    #[schema(value_type = Object)]
    trace: Value,
}

impl RolloutStatus {
    /// A rollout that somebody just asked for.
    pub(super) fn begun(begun: &Begun) -> Self {
        match begun.is_queued {
            true => Self::queued(&begun.rollout),
            false => Self::new(&begun.rollout),
        }
    }

    /// A rollout that waits for others of its endpoint.
    fn queued(rollout: &Rollout) -> Self {
        Self {
            phase: "queued",
            ..Self::new(rollout)
        }
    }

    /// A rollout that is not over.
    pub(in crate::rollouts) fn of(rollout: &Rollout, persisted: &PersistedRollouts) -> Self {
        if persisted.is_queued(rollout) {
            return Self::queued(rollout);
        }
        let mut status = Self::new(rollout);
        let waits_for = persisted.waits_for(rollout);
        if status.reason.is_none() && !rollout.is_over() && !waits_for.is_empty() {
            status.reason = Some(waits_for.join("; "));
        }
        status
    }

    pub(in crate::rollouts) fn new(rollout: &Rollout) -> Self {
        let (phase, reason) = match &rollout.phase {
            Phase::Waiting => ("waiting", None),
            Phase::Running => ("running", None),
            Phase::Paused { reason } => ("paused", Some(reason.clone())),
            Phase::Promoted => ("promoted", None),
            Phase::Aborted { reason } => ("aborted", Some(reason.clone())),
        };
        let target = target(rollout);
        let traffic = rollout.traffic();
        Self {
            id: rollout.id.clone(),
            endpoint: target.endpoint.clone(),
            from: target.from.to_string(),
            to: target.to.to_string(),
            phase,
            reason,
            step: rollout.step + 1,
            steps: rollout.spec.steps.len() + usize::from(rollout.spec.shadow.is_some()),
            weight: traffic.answers.to_string(),
            copies: traffic.copies.to_string(),
            step_requests: rollout.step_requests,
        }
    }
}

impl RolloutDetail {
    pub(super) fn new(rollout: &Rollout, status: RolloutStatus) -> Self {
        Self {
            status,
            spec: rollout.spec.clone(),
            checks: rollout.verdicts(now_ms()),
            events: rollout.events.clone(),
            trace: serde_json::to_value(&rollout.trace).unwrap_or_default(),
        }
    }
}
