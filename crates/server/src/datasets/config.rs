//! The section `[datasets]`.

use serde::{Deserialize, Serialize};

/// What data sets may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatasetsConfig {
    /// What the files of all data sets of the data folder may take together, in bytes. One that would pass
    /// it is not made.
    pub max_disk_bytes: u64,
}

impl Default for DatasetsConfig {
    fn default() -> Self {
        Self {
            max_disk_bytes: 10 << 30,
        }
    }
}
