//! What alerting must not forget.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tidegate_observe::alerting::{DeployWindows, Dispatch, Outbox, RuleStates, Silences};
use tidegate_serving::VersionNames;

use super::configuration::KnownConfiguration;
use super::versions::Known;

/// What `alerts.json` has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Kept {
    pub(super) dispatch: Dispatch,
    pub(super) outbox: Outbox,
    pub(super) silences: Silences,
    pub(super) deploys: DeployWindows,
    pub(super) known: Known,
    pub(super) rules: RuleStates,
    pub(super) configuration: KnownConfiguration,
    /// What the names of models mean whose rollouts wait.
    pub(super) frozen_names: BTreeMap<String, VersionNames>,
    /// The fingerprints of the alerts that fire.
    pub(super) firing: BTreeSet<String>,
}
