//! What the database keeps of rollouts that are not over.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
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
    /// Whether its endpoint had a traffic policy before.
    pub(super) had_policy: bool,
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

    /// The rollout of an endpoint that is under way.
    pub(super) fn of(&self, endpoint: &str) -> Option<&Rollout> {
        let mut active = self.rollouts.active.iter();
        active.find(|rollout| target(rollout).endpoint == endpoint)
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
