//! The state of alerting that survives restarts, in `alerts.json`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tidegate_observe::alerting::{DeployWindows, Dispatch, Outbox, RuleStates, Silences};
use tidegate_serving::VersionNames;

use super::configuration_digest::ConfigurationDigest;
use super::version_changes::KnownVersions;

/// The content of the file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct PersistedState {
    pub(super) dispatch: Dispatch,
    pub(super) outbox: Outbox,
    pub(super) silences: Silences,
    pub(super) deploys: DeployWindows,
    pub(super) known: KnownVersions,
    pub(super) rules: RuleStates,
    pub(super) configuration: ConfigurationDigest,
    /// The versions that the names of models with waiting rollouts mean.
    pub(super) frozen_names: BTreeMap<String, VersionNames>,
    /// The fingerprints of the alerts that fire.
    pub(super) firing: BTreeSet<String>,
}
