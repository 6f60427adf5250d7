//! The usage of versions, for cost accounting.

use std::sync::Arc;
use std::time::Duration;

use super::RequestMetrics;
use crate::version_counters::VersionCounters;

/// Reads the usage of a version since it was first loaded, even after it was unloaded.
#[derive(Clone)]
pub struct VersionMeter(Arc<VersionCounters>);

/// The usage of a version so far; it only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MeterReading {
    /// How long its instances were busy.
    pub busy: Duration,
    /// Rows answered.
    pub rows: u64,
    /// Bytes of answers.
    pub sent_bytes: u64,
}

impl RequestMetrics {
    /// A meter of each version that is loaded. Figures are those of drained observations.
    pub fn meters(&self) -> Vec<VersionMeter> {
        self.versions.all().into_iter().map(VersionMeter).collect()
    }
}

impl VersionMeter {
    /// The names of the model and the version.
    pub fn names(&self) -> (&Arc<str>, &Arc<str>) {
        self.0.names()
    }

    /// The usage up to now.
    pub fn read(&self) -> MeterReading {
        let busy = Duration::from_nanos(self.0.busy_ns());
        MeterReading {
            busy,
            rows: self.0.rows(),
            sent_bytes: self.0.sent_bytes(),
        }
    }

    /// A number that no other meter has while this one exists, except its copies: a version that
    /// was unloaded and is loaded again has another meter.
    pub fn id(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// Whether the version is gone, with its last request: nothing will be added. Copies of this
    /// meter must be gone, too.
    pub fn is_over(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}
