//! The configuration of the console.

use serde::{Deserialize, Serialize};

/// The `[console]` section: pages for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsoleConfig {
    /// Whether there are pages under `/console`, on the port of REST.
    pub enabled: bool,
    /// Maximum number of pages with live updates; further pages are not updated.
    pub max_streams: usize,
}

impl Default for ConsoleConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            max_streams: 64,
        }
    }
}
