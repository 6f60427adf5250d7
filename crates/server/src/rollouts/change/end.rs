//! The end of a rollout: the policy of its endpoint is given back, it goes into the archive, and the next one
//! begins.

use tidegate_delivery::policy::{Split, TrafficPolicy};
use tidegate_delivery::rollout::{Phase, Rollout, Target};
use tidegate_serving::InferError;

use super::{Change, reason};
use crate::rollouts::persisted::target;
use crate::traffic::{CheckedChange, ROLLED_OUT, json, unavailable};

/// How long the version that a rollout ended with is waited for to answer without a policy too, in
/// milliseconds. Servers read aliases once a second.
const ALIAS_WAIT_MS: (u64, u64) = (3000, 15_000);

impl Change<'_> {
    /// Takes out what is over, and lets the next ones begin.
    pub(super) async fn retire(&mut self) -> Result<(), InferError> {
        for rollout in self.persisted.rollouts.active.clone() {
            if rollout.is_over() {
                self.settle(&rollout).await?;
            }
        }
        let notes = &self.persisted.notes;
        let is_settled = |rollout: &Rollout| {
            let notes = notes.get(&rollout.id);
            notes.is_none_or(|notes| notes.is_settled)
        };
        for rollout in self.persisted.rollouts.retire(is_settled) {
            let state = json(&rollout)?;
            let (endpoint, id) = (&target(&rollout).endpoint, &rollout.id);
            let archived = self.write.archive_rollout(endpoint, id, &state);
            archived.await.map_err(unavailable)?;
            self.has_changed = true;
        }
        for rollout in self.persisted.rollouts.active.clone() {
            if let Err(error) = self.admit(&rollout).await {
                self.end_unadmitted(&rollout, &error);
            }
        }
        self.persisted.forget_old(self.now_ms);
        Ok(())
    }

    /// A rollout that waited and cannot begin any more is gone.
    fn end_unadmitted(&mut self, rollout: &Rollout, error: &InferError) {
        let what = format!(
            "it waited for another rollout and cannot begin: {}",
            error.message
        );
        self.note("rollout.alert", rollout, &what);
        let active = &mut self.persisted.rollouts.active;
        active.retain(|one| one.id != rollout.id);
        self.has_changed = true;
    }

    /// Gives the policy of an endpoint back to people. Where there was none before, none is left, once the
    /// default version is the one that the rollout ended with.
    async fn settle(&mut self, rollout: &Rollout) -> Result<(), InferError> {
        let now_ms = self.now_ms;
        let notes = self.persisted.notes.entry(rollout.id.clone()).or_default();
        if notes.is_settled {
            return Ok(());
        }
        let over_ms = *notes.over_ms.get_or_insert(now_ms);
        let waited_ms = now_ms.saturating_sub(over_ms);
        self.has_changed = true;
        let Target { endpoint, from, to } = target(rollout);
        let is_promoted = matches!(rollout.phase, Phase::Promoted);
        let ended_with = if is_promoted { to } else { from };
        let default = self.owner.serving.version(endpoint, None);
        let is_default = default.is_ok_and(|version| version.number() == ended_with.as_str());
        let before = notes.policy_before.clone();
        let (has_policy, may_end) = match (&before, is_default) {
            (Some(_), _) => (true, true),
            (None, true) => (false, waited_ms >= ALIAS_WAIT_MS.0),
            (None, false) => (true, waited_ms >= ALIAS_WAIT_MS.1),
        };
        if !may_end {
            return Ok(());
        }
        let policy = match before {
            // That of the configuration decides again.
            Some(_) if !is_promoted && !notes.was_set => None,
            Some(before) if !is_promoted => Some(before),
            Some(before) => Some(before.with_split(Split::only(ended_with.clone()))),
            None => has_policy.then(|| TrafficPolicy::only(ended_with.clone())),
        };
        notes.is_settled = true;
        let is_new = notes.policy_before.is_none() && policy.is_some();
        if is_new {
            let what = format!(
                "the default version is not {ended_with}: the traffic policy stays, and moving aliases changes nothing \
                 until it is removed"
            );
            self.note("rollout.alert", rollout, &what);
        }
        let change = CheckedChange {
            endpoint,
            comment: &reason(rollout),
            action: ROLLED_OUT,
            expected: None,
            policy,
        };
        let traffic = &self.owner.traffic;
        traffic.set_within(&mut self.write, change).await
    }
}
