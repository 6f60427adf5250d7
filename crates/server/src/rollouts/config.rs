//! `[rollouts]`.

use serde::{Deserialize, Serialize};
use tidegate_delivery::rollout::DeployWindow;

/// When rollouts may go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RolloutsConfig {
    /// Hours of the week in which versions may get more traffic; any time if there are none. Traffic goes
    /// back at any time.
    pub deploy_window: Vec<DeployWindow>,
}

impl RolloutsConfig {
    /// Whether versions may get more traffic at a time in milliseconds since 1970.
    pub(super) fn is_open(&self, now_ms: u64) -> bool {
        let windows = &self.deploy_window;
        windows.is_empty() || windows.iter().any(|window| window.is_open(now_ms))
    }
}
