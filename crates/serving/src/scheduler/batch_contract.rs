//! Whether the rows of a version's batches do what warm-up proved: that each row gives what it gives
//! alone.
//!
//! ```text
//! warm-up: holds ──► answer that does not follow the batch axis ──┐
//!                ──► sampled row that differs from itself alone ──┴─► broken: one by one
//! ```
//!
//! A proof is made on samples, and requests have other values. So one row of a batch runs again
//! alone now and then, after its client has its answer. Invariant: once the contract is broken, no
//! two requests of this load of the version share a run, and no answer is made of parts.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tidegate_core::Tensor;
use tidegate_engines::Instance;
use tracing::warn;

use crate::stats::VersionStats;
use crate::warmup::{differing_output, is_float};

/// The shortest time between two rows that run again.
const CHECK_EVERY: Duration = Duration::from_secs(10);
/// So many times the time of a run pass before the next one, whatever it takes.
const RUNS_BETWEEN_CHECKS: u32 = 1000;

/// What requests have shown of the batches of a version.
#[derive(Debug)]
pub struct BatchContract {
    start: Instant,
    broken: AtomicBool,
    /// Why it is broken.
    reason: OnceLock<String>,
    /// When the next row is due, in milliseconds since `start`.
    next_check_ms: AtomicU64,
    /// Whether the last row that ran again had another class. A class alone can change where two of
    /// them are close: only the second in a row counts.
    is_in_doubt: AtomicBool,
}

/// A request of a batch, to run again alone.
pub(super) struct RowCheck {
    inputs: Vec<Option<Tensor>>,
    /// Its outputs in the batch.
    outputs: Vec<Tensor>,
}

impl Default for BatchContract {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            broken: AtomicBool::new(false),
            reason: OnceLock::new(),
            next_check_ms: AtomicU64::new(0),
            is_in_doubt: AtomicBool::new(false),
        }
    }
}

impl BatchContract {
    #[cfg(test)]
    pub(super) fn without_checks() -> Self {
        Self {
            next_check_ms: AtomicU64::new(u64::MAX),
            ..Self::default()
        }
    }

    /// Why requests do not share runs any more.
    pub fn broken(&self) -> Option<&str> {
        self.holds_not()
            .then(|| self.reason.get())?
            .map(String::as_str)
    }

    pub(super) fn holds(&self) -> bool {
        !self.holds_not()
    }

    fn holds_not(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// From now on requests run one by one.
    pub(super) fn break_with(&self, reason: String, stats: &VersionStats) {
        // Another thread was first, and counted it.
        if self.reason.set(reason).is_err() {
            return;
        }
        // After the reason, and with release: whoever sees the flag finds the reason.
        self.broken.store(true, Ordering::Release);
        let counters = stats.counters();
        counters.count_broken_batch_contract();
        let (model, version) = counters.names();
        let reason = self.reason.get().map_or("", String::as_str);
        warn!(
            model = &**model,
            version = &**version,
            reason,
            "rows of a batch depend on each other: requests run one by one from now on"
        );
    }

    /// Whether a row of a batch that ended now and took so long should run again alone.
    pub(super) fn is_check_due(&self, ended: Instant, run: Duration) -> bool {
        let now_ms = self.millis(ended);
        let due_ms = self.next_check_ms.load(Ordering::Relaxed);
        if now_ms < due_ms {
            return false;
        }
        let pause = CHECK_EVERY.max(run.saturating_mul(RUNS_BETWEEN_CHECKS));
        let next_ms = self.millis(ended + pause);
        // Of several threads one checks.
        let taken = self.next_check_ms.compare_exchange(
            due_ms,
            next_ms,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        taken.is_ok()
    }

    fn millis(&self, at: Instant) -> u64 {
        let since_start = at.saturating_duration_since(self.start);
        u64::try_from(since_start.as_millis()).unwrap_or(u64::MAX)
    }

    /// Runs a request again alone, and breaks the contract if it gets something else.
    pub(super) fn check(&self, row: &RowCheck, instance: &mut dyn Instance, stats: &VersionStats) {
        // A run that fails says nothing of the batch.
        let Ok(alone) = instance.run(&row.inputs) else {
            return;
        };
        let Some(at) = row.differing_output(&alone) else {
            self.is_in_doubt.store(false, Ordering::Relaxed);
            return;
        };
        let is_certain = is_float(&alone[at]) || alone[at].shape() != row.outputs[at].shape();
        if is_certain || self.is_in_doubt.swap(true, Ordering::Relaxed) {
            let reason =
                format!("output {at} of a request differs between a batch and a run alone");
            self.break_with(reason, stats);
        }
    }
}

impl RowCheck {
    pub(super) fn new(inputs: &[Option<Tensor>], outputs: Vec<Tensor>) -> Self {
        Self {
            inputs: inputs.to_vec(),
            outputs,
        }
    }

    fn differing_output(&self, alone: &[Tensor]) -> Option<usize> {
        let mut pairs = alone.iter().zip(&self.outputs);
        pairs
            .position(|(alone, together)| alone.shape() != together.shape())
            .or_else(|| differing_output(alone, &self.outputs))
    }
}
