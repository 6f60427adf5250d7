//! What requests and answers of `/api/traffic` hold.

use serde::{Deserialize, Serialize};
use tidegate_delivery::policy::{Shadow, TrafficPolicy};
use tidegate_serving::{EndpointTraffic, ShadowReport};
use tidegate_store::TrafficChange;
use utoipa::ToSchema;

use crate::traffic::{Traffic, in_words};

/// The traffic policy of an endpoint.
#[derive(Serialize, ToSchema)]
pub(crate) struct EndpointPolicy {
    /// The endpoint.
    pub(super) endpoint: String,
    /// `api` where it was set at run time, else `configuration`.
    source: &'static str,
    /// Counts the changes that were made at run time; 0 if there were none.
    pub(super) revision: i64,
    /// When it was set, in milliseconds since 1970.
    changed_ms: Option<i64>,
    /// Who set it.
    changed_by: Option<String>,
    /// Why, in their words.
    comment: Option<String>,
    /// Whether requests go by it on this server.
    in_force: bool,
    /// Why they do not yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<String>,
    /// The policy.
    #[schema(value_type = Object)]
    policy: TrafficPolicy,
    /// What its cascade has done on this server since the policy is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    cascade: Option<CascadeFigures>,
}

/// What a cascade has done.
#[derive(Serialize, ToSchema)]
struct CascadeFigures {
    /// Requests that the first version has answered.
    first: u64,
    /// Those for which it was not confident enough.
    unsure: u64,
    /// Those that it could not answer.
    failed: u64,
    /// Rows of answers of the first version that were checked.
    audited: u64,
    /// Those of them for which the other version named another class.
    disagreed: u64,
    /// Whether the first version is not asked any more, as it agreed too rarely.
    is_stopped: bool,
}

impl CascadeFigures {
    fn of(traffic: &EndpointTraffic) -> Option<Self> {
        let cascade = traffic.cascade()?;
        let counts = cascade.counts();
        Some(Self {
            first: counts.first,
            unsure: counts.unsure,
            failed: counts.failed,
            audited: counts.audited,
            disagreed: counts.disagreed,
            is_stopped: cascade.is_stopped(),
        })
    }
}

impl EndpointPolicy {
    /// `None` without a policy.
    pub(super) fn of(traffic: &Traffic, endpoint: &str) -> Option<Self> {
        let (wanted, stored, waiting) = {
            let state = traffic.state.lock();
            let wanted = state.wanted.get(endpoint)?.clone();
            let stored = state.stored.get(endpoint).cloned();
            (wanted, stored, state.waiting.get(endpoint).cloned())
        };
        let revision = stored.as_ref().map_or(0, |change| change.revision);
        let set = stored.filter(|change| !change.policy.is_empty());
        Some(Self {
            endpoint: endpoint.to_owned(),
            source: if set.is_some() {
                "api"
            } else {
                "configuration"
            },
            revision,
            changed_ms: set.as_ref().map(|change| change.at_ms),
            changed_by: set.as_ref().map(|change| change.actor.clone()),
            comment: set
                .map(|change| change.comment)
                .filter(|comment| !comment.is_empty()),
            in_force: traffic.is_in_force(&wanted),
            waiting,
            policy: wanted.policy().clone(),
            cascade: CascadeFigures::of(&wanted),
        })
    }
}

/// A policy to set.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPolicy {
    /// The policy, as in `docs/guides/rollouts.md`.
    #[schema(value_type = Object)]
    pub(super) policy: TrafficPolicy,
    /// The revision that it changes: if the policy is at another one, nothing is changed.
    pub(super) revision: Option<i64>,
    /// Why, for the history.
    #[serde(default)]
    pub(super) comment: String,
}

/// A policy to check.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyToCheck {
    /// The policy.
    #[schema(value_type = Object)]
    pub(super) policy: TrafficPolicy,
}

/// What a policy would change.
#[derive(Serialize, ToSchema)]
pub(crate) struct CheckedPolicy {
    /// The revision that it would change.
    pub(super) revision: i64,
    /// The changes in words; none if it is the same.
    pub(super) changes: Vec<String>,
}

/// Which change is taken back.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PolicyUndo {
    /// The revision to go back to; 0 is before the first one. Absent, the last change is taken back.
    pub(super) to: Option<i64>,
    /// The revision that is changed: if the policy is at another one, nothing is changed.
    pub(super) revision: Option<i64>,
    /// Why, for the history.
    pub(super) comment: String,
}

/// A change that was made.
#[derive(Serialize, ToSchema)]
pub(crate) struct PolicyUpdate {
    /// The revision since then.
    pub(super) revision: i64,
    /// What changed, in words; nothing if it was the same already.
    pub(super) changes: Vec<String>,
    /// Whether requests go by it on this server.
    pub(super) in_force: bool,
    /// Why they do not yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) waiting: Option<String>,
}

/// A change of the history.
#[derive(Serialize, ToSchema)]
pub(crate) struct PolicyChange {
    /// Its number.
    revision: i64,
    /// When it was made, in milliseconds since 1970.
    at_ms: i64,
    /// Who made it.
    actor: String,
    /// `set`, `removed`, `undone`, `rollout` (a step of one) or `rolled_out` (the end of one).
    action: String,
    /// Why, in their words.
    comment: String,
    /// What changed, in words.
    changes: Vec<String>,
    /// The policy before; `null` for none.
    #[schema(value_type = Object)]
    before: Option<TrafficPolicy>,
    /// The policy since then; `null` for none.
    #[schema(value_type = Object)]
    after: Option<TrafficPolicy>,
}

impl PolicyChange {
    pub(super) fn new(
        change: &TrafficChange,
        before: Option<TrafficPolicy>,
        after: Option<TrafficPolicy>,
    ) -> Self {
        Self {
            revision: change.revision,
            at_ms: change.at_ms,
            actor: change.actor.clone(),
            action: change.action.clone(),
            comment: change.comment.clone(),
            changes: in_words::changes(before.as_ref(), after.as_ref()),
            before,
            after,
        }
    }
}

/// What a shadow has answered on this server, since it is one.
#[derive(Serialize, ToSchema)]
pub(crate) struct ShadowFigures {
    /// The version.
    version: String,
    /// The share of requests that it gets copies of.
    share: String,
    /// Answers that were compared with those that clients got.
    compared: u64,
    /// Those that were the same.
    agreed: u64,
    /// Copies that it could not answer.
    failed: u64,
    /// Copies that were dropped since too much waited.
    dropped: u64,
    /// Copies that were not run since the versions read records differently.
    skipped: u64,
    /// The code of the last error.
    last_error: Option<String>,
    /// The mean time of its answers, in milliseconds.
    mean_ms: Option<f64>,
    /// The answers that are farthest apart.
    worst: Vec<Disagreement>,
}

/// A pair of answers that differ.
#[derive(Serialize, ToSchema)]
pub(crate) struct Disagreement {
    /// The output.
    output: String,
    /// The largest difference of two of its numbers; `null` where it is not finite, as for outputs of
    /// different shapes.
    distance: Option<f64>,
    /// The first numbers that the client got.
    primary: Vec<f64>,
    /// Those of the shadow.
    shadow: Vec<f64>,
}

impl ShadowFigures {
    pub(super) fn new(shadow: &Shadow, report: &ShadowReport) -> Self {
        let mean_ms = report.took.as_secs_f64() * 1000.0 / report.compared as f64;
        let worst = report.worst.as_slice().iter();
        let worst = worst.map(|(distance, pair)| Disagreement {
            output: pair.output.to_string(),
            distance: distance.is_finite().then_some(*distance),
            primary: pair.primary.clone(),
            shadow: pair.shadow.clone(),
        });
        Self {
            version: shadow.version.to_string(),
            share: shadow.share.to_string(),
            compared: report.compared,
            agreed: report.agreed,
            failed: report.failed,
            dropped: report.dropped,
            skipped: report.skipped,
            last_error: report.last_error.clone(),
            mean_ms: (report.compared > 0).then_some(mean_ms),
            worst: worst.collect(),
        }
    }
}
