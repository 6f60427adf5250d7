//! When a version was last requested.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A time that many threads update without a lock, in nanoseconds since this process first read the
/// clock.
#[derive(Debug)]
pub(crate) struct LastUsed(AtomicU64);

impl LastUsed {
    pub(crate) fn now() -> Self {
        let used = Self(AtomicU64::new(0));
        used.set(Instant::now());
        used
    }

    pub(crate) fn set(&self, at: Instant) {
        let since = at.saturating_duration_since(*EPOCH);
        // Relaxed: it only orders evictions, and a stale value costs no more than that order.
        self.0.store(since.as_nanos() as u64, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Instant {
        *EPOCH + Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}
