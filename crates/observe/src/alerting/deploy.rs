//! Deploy windows: for a while after a deployment, alerts that are not urgent notify nobody.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Alert;

/// Bounds the memory for windows; an endpoint more gets none.
const MAX_ENDPOINTS: usize = 10_000;

/// The open deploy windows by endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeployWindows(BTreeMap<String, DeployWindow>);

/// The time after a version of an endpoint was deployed. Times are Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployWindow {
    /// The version.
    pub version: String,
    /// When it was deployed.
    pub from_ms: u64,
    /// When the window ends.
    pub until_ms: u64,
}

impl DeployWindows {
    /// Opens the window of an endpoint: a version was deployed.
    pub fn open(&mut self, endpoint: &str, version: &str, now_ms: u64, length_ms: u64) {
        // First what is over, so that it does not count against the bound.
        self.0.retain(|_, window| window.until_ms > now_ms);
        if self.0.len() < MAX_ENDPOINTS || self.0.contains_key(endpoint) {
            let until_ms = now_ms.saturating_add(length_ms);
            self.0.insert(
                endpoint.to_owned(),
                DeployWindow {
                    version: version.to_owned(),
                    from_ms: now_ms,
                    until_ms,
                },
            );
        }
    }

    /// The open window of an alert's endpoint. Alerts on all endpoints together have none.
    pub fn of(&self, alert: &Alert, now_ms: u64) -> Option<&DeployWindow> {
        self.0
            .get(alert.label("endpoint"))
            .filter(|window| window.until_ms > now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerting::tests::alert;

    #[test]
    fn a_window_is_of_its_endpoint_and_ends() {
        let mut windows = DeployWindows::default();
        windows.open("fraud", "3", 1000, 500);
        let of = |endpoint: &str, now_ms| {
            windows
                .of(&alert("x", "ticket", endpoint), now_ms)
                .map(|w| w.version.as_str())
        };
        assert_eq!((of("fraud", 1499), of("fraud", 1500)), (Some("3"), None));
        assert_eq!((of("iris", 1100), of("*", 1100)), (None, None));
    }
}
