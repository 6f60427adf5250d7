//! Deploy windows: for a while after a version began to answer, what is not urgent waits.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Alert;

/// Most endpoints whose windows are kept.
const MAX_ENDPOINTS: usize = 10_000;

/// The endpoints on which something was deployed, and until when that excuses them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeployWindows(BTreeMap<String, DeployWindow>);

/// After a version of an endpoint began to answer. Times are Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployWindow {
    /// The version.
    pub version: String,
    /// When it began to answer.
    pub from_ms: u64,
    /// When the window ends.
    pub until_ms: u64,
}

impl DeployWindows {
    /// A version of an endpoint begins to answer.
    pub fn open(&mut self, endpoint: &str, version: &str, now_ms: u64, length_ms: u64) {
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

    /// The window that an alert falls into: that of its endpoint. Alerts on all endpoints together
    /// fall into none.
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
