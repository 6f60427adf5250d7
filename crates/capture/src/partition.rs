//! Partitions: the rows of an endpoint, a version and an hour.

use std::path::{Path, PathBuf};

use crate::Hour;

/// What names a partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionKey {
    /// The hour of the predictions: partitions are in this order.
    pub hour: Hour,
    /// The endpoint that was called.
    pub endpoint: String,
    /// The version that answered.
    pub version: String,
}

/// A partition that has files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// What names it.
    pub key: PartitionKey,
    /// How many files it has.
    pub files: usize,
    /// What they take, in bytes.
    pub bytes: u64,
}

impl PartitionKey {
    /// Its folder.
    pub(crate) fn folder(&self, root: &Path) -> PathBuf {
        let (day, hour) = self.hour.day_and_hour();
        root.join(format!("endpoint={}", self.endpoint))
            .join(format!("version={}", self.version))
            .join(format!("dt={day}"))
            .join(format!("hour={hour:02}"))
    }

    /// The key of a folder, if its names are those of a partition.
    pub(crate) fn of_folder(root: &Path, folder: &Path) -> Option<Self> {
        let path = folder.strip_prefix(root).ok()?;
        let names: Vec<&str> = path
            .iter()
            .map(|name| name.to_str())
            .collect::<Option<_>>()?;
        let [endpoint, version, day, hour] = names.as_slice() else {
            return None;
        };
        Some(Self {
            endpoint: endpoint.strip_prefix("endpoint=")?.to_owned(),
            version: version.strip_prefix("version=")?.to_owned(),
            hour: Hour::parse(day.strip_prefix("dt=")?, hour.strip_prefix("hour=")?)?,
        })
    }
}

/// Whether a name can be one of a folder: names of models and versions can.
pub(crate) fn is_safe_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= 128 && name.bytes().all(is_allowed)
}
