//! What became of a version's requests since it was loaded, in the terms of Triton's statistics.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::metrics::{Counted, Tally, nanos};
use crate::observation::{Observation, Observations};
use crate::{ErrorCode, Metrics};

/// Batches larger than this are counted as this size.
const MAX_BATCH_FIGURES: usize = 1024;

/// The figures of one load of a version, over the tally that outlives it.
pub(crate) struct VersionStats {
    tally: Arc<Tally>,
    observations: Arc<Observations>,
    /// What earlier loads had counted.
    before: Counted,
    batches_before: u64,
    by_batch_rows: Vec<OnceLock<Box<BatchStats>>>,
}

#[derive(Default)]
struct BatchStats {
    count: AtomicU64,
    input_ns: AtomicU64,
    infer_ns: AtomicU64,
}

/// A number of events and their time together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DurationFigures {
    /// Events.
    pub count: u64,
    /// Their time, in nanoseconds.
    pub ns: u64,
}

/// What became of the requests of a version since it was loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the names are those of Triton's statistics extension"
)]
pub struct VersionFigures {
    /// Unix time of the last answered request, in milliseconds; 0 if none.
    pub last_inference_ms: u64,
    /// Rows answered.
    pub inference_count: u64,
    /// Batches run.
    pub execution_count: u64,
    pub success: DurationFigures,
    pub fail: DurationFigures,
    pub queue: DurationFigures,
    pub compute_input: DurationFigures,
    pub compute_infer: DurationFigures,
    pub compute_output: DurationFigures,
    pub batches: Vec<BatchFigures>,
}

/// The batches of one size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the names are those of Triton's statistics extension"
)]
pub struct BatchFigures {
    /// Rows.
    pub batch_size: u64,
    pub compute_input: DurationFigures,
    pub compute_infer: DurationFigures,
}

impl VersionStats {
    pub(crate) fn new(
        metrics: &Metrics,
        model: &str,
        version: &str,
        max_batch_rows: usize,
    ) -> Self {
        let tally = metrics.tally(model, version);
        metrics.observations().settle();
        Self {
            observations: metrics.observations().clone(),
            before: tally.counted(),
            batches_before: tally.batches(),
            by_batch_rows: (0..max_batch_rows.clamp(1, MAX_BATCH_FIGURES))
                .map(|_| OnceLock::new())
                .collect(),
            tally,
        }
    }

    /// The names of the model and the version.
    pub(crate) fn names(&self) -> (&Arc<str>, &Arc<str>) {
        self.tally.names()
    }

    /// Counts a batch that ran, and gives it its number, which starts from 1.
    pub(crate) fn executed(&self, rows: usize, join: Duration, infer: Duration) -> u64 {
        let number = self.tally.executed(join + infer);
        let at = rows.clamp(1, self.by_batch_rows.len()) - 1;
        let stats = self.by_batch_rows[at].get_or_init(Default::default);
        stats.count.fetch_add(1, Ordering::Relaxed);
        stats.input_ns.fetch_add(nanos(join), Ordering::Relaxed);
        stats.infer_ns.fetch_add(nanos(infer), Ordering::Relaxed);
        number
    }

    /// Counts a request that finished by now.
    pub(crate) fn count(&self, observation: &Observation, now_ms: u64) {
        self.tally.count(observation, now_ms);
    }

    /// Names a trace as an example of answers that take so long.
    pub(crate) fn exemplify(&self, total: Duration, trace_id: u128) {
        self.tally.exemplify(total, trace_id);
    }

    /// Counts bytes of answers.
    pub(crate) fn sent(&self, bytes: usize) {
        self.tally.sent(bytes);
    }

    /// Says how many requests wait.
    pub(crate) fn pending(&self, requests: usize) {
        self.tally.pending(requests);
    }

    pub(crate) fn figures(&self) -> VersionFigures {
        self.observations.settle();
        let (now, before) = (self.tally.counted(), &self.before);
        let success = now.answered.saturating_sub(before.answered);
        let figures = |of: fn(&Counted) -> u64| DurationFigures {
            count: success,
            ns: of(&now).saturating_sub(of(before)),
        };
        let failures = |counted: &Counted| {
            ErrorCode::ALL
                .iter()
                .map(|code| counted.failures(*code))
                .sum::<u64>()
        };
        VersionFigures {
            last_inference_ms: if success > 0 { now.last_answer_ms } else { 0 },
            inference_count: now.rows.saturating_sub(before.rows),
            execution_count: self.tally.batches().saturating_sub(self.batches_before),
            success: figures(|counted| counted.request_ns),
            fail: DurationFigures {
                count: failures(&now).saturating_sub(failures(before)),
                ns: now.failed_ns.saturating_sub(before.failed_ns),
            },
            queue: figures(|counted| counted.queue_ns),
            compute_input: figures(|counted| counted.input_ns),
            compute_infer: figures(|counted| counted.infer_ns),
            compute_output: figures(|counted| counted.output_ns),
            batches: self.batches().collect(),
        }
    }

    fn batches(&self) -> impl Iterator<Item = BatchFigures> {
        self.by_batch_rows
            .iter()
            .enumerate()
            .filter_map(|(at, stats)| {
                let stats = stats.get()?;
                let count = stats.count.load(Ordering::Relaxed);
                let figures = |ns: &AtomicU64| DurationFigures {
                    count,
                    ns: ns.load(Ordering::Relaxed),
                };
                Some(BatchFigures {
                    batch_size: at as u64 + 1,
                    compute_input: figures(&stats.input_ns),
                    compute_infer: figures(&stats.infer_ns),
                })
            })
    }
}

impl fmt::Debug for VersionStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (model, version) = self.names();
        write!(f, "{model}:{version}")
    }
}
