//! What the database keeps of rollouts that are not over.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_delivery::policy::TrafficPolicy;
use tidegate_delivery::rollout::{Rollout, Rollouts, Target};

/// How long a version that was aborted is shown as such, in milliseconds.
const SHOWN_MS: u64 = 3_600_000;

/// Every rollout that is not over, and what the server has to know of it beside.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct PersistedRollouts {
    pub(super) rollouts: Rollouts,
    /// How many were asked for so far; names of rollouts are numbered.
    pub(super) asked_for: u64,
    /// By rollout.
    pub(super) notes: BTreeMap<String, RolloutNotes>,
    /// Versions that were found bad not long ago, by endpoint.
    pub(super) rolled_back: BTreeMap<String, RolledBack>,
}

/// What the server has to know of a rollout.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RolloutNotes {
    /// The last action that was carried out.
    pub(super) done_action: u64,
    /// Whether it is in charge of the policy of its endpoint.
    pub(super) is_in_charge: bool,
    /// The policy of its endpoint before.
    pub(super) policy_before: Option<TrafficPolicy>,
    /// Whether that was set at run time, and is not of the configuration.
    pub(super) was_set: bool,
    /// What it waits for.
    pub(super) waits_for: Vec<String>,
    /// The upper ends of the bins of scores, all but the last, by metric.
    pub(super) bins: BTreeMap<String, Vec<f64>>,
    /// Scores of the version before, until there are enough to choose the bins by.
    pub(super) scores: BTreeMap<String, Vec<f64>>,
    /// When it was over.
    pub(super) over_ms: Option<u64>,
    /// Whether the policy of its endpoint was given back to people.
    pub(super) is_settled: bool,
}

/// A version that traffic was taken from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct RolledBack {
    pub(super) version: String,
    pub(super) at_ms: u64,
}

impl RolledBack {
    pub(super) fn is_shown(&self, now_ms: u64) -> bool {
        self.at_ms + SHOWN_MS > now_ms
    }
}

impl PersistedRollouts {
    /// # Errors
    /// If a newer build has written it.
    pub(super) fn read(text: Option<&str>) -> Result<Self, String> {
        let Some(text) = text else {
            return Ok(Self::default());
        };
        serde_json::from_str(text).map_err(|error| format!("their state cannot be read: {error}"))
    }

    /// The rollout of an endpoint that is under way, or else the first one that waits.
    pub(super) fn of(&self, endpoint: &str) -> Option<&Rollout> {
        let mut all = self.rollouts.active.iter().chain(&self.rollouts.queue);
        all.find(|rollout| target(rollout).endpoint == endpoint)
    }

    /// Whether a rollout waits for another one of its endpoint.
    pub(super) fn is_queued(&self, rollout: &Rollout) -> bool {
        let mut queue = self.rollouts.queue.iter();
        queue.any(|one| one.id == rollout.id)
    }

    /// What a rollout waits for; empty if it goes on.
    pub(super) fn waits_for(&self, rollout: &Rollout) -> &[String] {
        let notes = self.notes.get(&rollout.id);
        notes.map_or(&[], |notes| &notes.waits_for)
    }

    /// Forgets what was noted of rollouts that are gone, and versions that were aborted long ago.
    pub(super) fn forget_old(&mut self, now_ms: u64) {
        let rollouts = &self.rollouts;
        let all = rollouts.active.iter().chain(&rollouts.queue);
        let ids: Vec<&str> = all.map(|rollout| rollout.id.as_str()).collect();
        self.notes.retain(|id, _| ids.contains(&id.as_str()));
        self.rolled_back.retain(|_, bad| bad.is_shown(now_ms));
    }
}

/// What a rollout changes: one endpoint here.
pub(super) fn target(rollout: &Rollout) -> &Target {
    // No rollout is started without one: its spec is checked.
    &rollout.spec.targets[0]
}
