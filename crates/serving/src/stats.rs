//! Statistics of a version since it was loaded, in the terms of Triton's statistics extension.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::clock::nanos;
use crate::observation::Observations;
use crate::version_counters::{RequestCounts, VersionCounters};

/// Batches larger than this are counted as this size.
const MAX_BATCH_FIGURES: usize = 1024;

/// The statistics of one load of a version. The counters outlive it: a version that is loaded again
/// continues them, because counters of Prometheus must never fall.
pub(crate) struct VersionStats {
    counters: Arc<VersionCounters>,
    observations: Arc<Observations>,
    /// The counts of earlier loads.
    before: RequestCounts,
    batches_before: u64,
    cache_hits: EventStats,
    cache_misses: EventStats,
    /// By the rows of the batch, from 1. Most sizes never occur, so each is made when it does.
    by_batch_rows: Vec<OnceLock<Box<BatchStats>>>,
}

#[derive(Default)]
struct BatchStats {
    count: AtomicU64,
    input_ns: AtomicU64,
    infer_ns: AtomicU64,
}

/// Events that are counted where they occur.
#[derive(Default)]
struct EventStats {
    count: AtomicU64,
    ns: AtomicU64,
}

/// A number of events and their time together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DurationFigures {
    /// Events.
    pub count: u64,
    /// Their time, in nanoseconds.
    pub ns: u64,
}

/// Statistics of a version since it was loaded.
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
    pub cache_hit: DurationFigures,
    pub cache_miss: DurationFigures,
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
    /// Statistics from now on of a version whose requests `counters` counts once `observations`
    /// are drained.
    pub(crate) fn new(
        counters: Arc<VersionCounters>,
        observations: Arc<Observations>,
        max_batch_rows: usize,
    ) -> Self {
        // Requests of an earlier load that wait to be counted are not of this one.
        observations.drain();
        let sizes = max_batch_rows.clamp(1, MAX_BATCH_FIGURES);
        Self {
            before: counters.requests(),
            batches_before: counters.batches(),
            cache_hits: EventStats::default(),
            cache_misses: EventStats::default(),
            by_batch_rows: (0..sizes).map(|_| OnceLock::new()).collect(),
            counters,
            observations,
        }
    }

    /// The counters of the version.
    pub(crate) fn counters(&self) -> &Arc<VersionCounters> {
        &self.counters
    }

    /// Counts a batch that ran; returns its number among those of the version, from 1.
    pub(crate) fn count_batch(&self, rows: usize, join: Duration, infer: Duration) -> u64 {
        let number = self.counters.count_batch(join + infer);
        let at = rows.clamp(1, self.by_batch_rows.len()) - 1;
        let stats = self.by_batch_rows[at].get_or_init(Default::default);
        stats.count.fetch_add(1, Ordering::Relaxed);
        stats.input_ns.fetch_add(nanos(join), Ordering::Relaxed);
        stats.infer_ns.fetch_add(nanos(infer), Ordering::Relaxed);
        number
    }

    /// Counts a request that a kept answer was given to, and how long that took.
    pub(crate) fn count_cache_hit(&self, took: Duration) {
        self.cache_hits.add(took);
    }

    /// Counts a request that no answer was kept for, and how long it took to look for one and to keep
    /// the new one.
    pub(crate) fn count_cache_miss(&self, took: Duration) {
        self.cache_misses.add(took);
    }

    /// Sets how many requests wait in the queue.
    pub(crate) fn set_queued(&self, requests: usize) {
        self.counters.set_queued(requests);
    }

    /// The statistics up to now.
    pub(crate) fn figures(&self) -> VersionFigures {
        // Requests that were answered may still be in the rings, and belong to the figures.
        self.observations.drain();
        // The counters outlive a load of the version; what earlier loads counted is taken off.
        let (now, before) = (self.counters.requests(), &self.before);
        let success = now.answered.saturating_sub(before.answered);
        let failures = now.all_failures().saturating_sub(before.all_failures());
        let cache_hit = self.cache_hits.figures();
        // As in Triton, what the cache has answered counts as success, but not as computed.
        let computed = success.saturating_sub(cache_hit.count);
        VersionFigures {
            // The counters may still have the time of an answer of an earlier load.
            last_inference_ms: if success > 0 { now.last_answer_ms } else { 0 },
            inference_count: now.rows.saturating_sub(before.rows),
            execution_count: self.counters.batches().saturating_sub(self.batches_before),
            success: DurationFigures::since(success, before.request_ns, now.request_ns),
            fail: DurationFigures::since(failures, before.failed_ns, now.failed_ns),
            queue: DurationFigures::since(success, before.queue_ns, now.queue_ns),
            compute_input: DurationFigures::since(computed, before.input_ns, now.input_ns),
            compute_infer: DurationFigures::since(computed, before.infer_ns, now.infer_ns),
            compute_output: DurationFigures::since(computed, before.output_ns, now.output_ns),
            cache_hit,
            cache_miss: self.cache_misses.figures(),
            batches: self.batches(),
        }
    }

    /// The statistics of each size of batch that occurred.
    fn batches(&self) -> Vec<BatchFigures> {
        let mut batches = Vec::new();
        for (at, stats) in self.by_batch_rows.iter().enumerate() {
            if let Some(stats) = stats.get() {
                batches.push(stats.figures(at as u64 + 1));
            }
        }
        batches
    }
}

impl EventStats {
    fn add(&self, took: Duration) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.ns.fetch_add(nanos(took), Ordering::Relaxed);
    }

    fn figures(&self) -> DurationFigures {
        DurationFigures {
            count: self.count.load(Ordering::Relaxed),
            ns: self.ns.load(Ordering::Relaxed),
        }
    }
}

impl BatchStats {
    fn figures(&self, batch_size: u64) -> BatchFigures {
        let count = self.count.load(Ordering::Relaxed);
        BatchFigures {
            batch_size,
            compute_input: DurationFigures::since(count, 0, self.input_ns.load(Ordering::Relaxed)),
            compute_infer: DurationFigures::since(count, 0, self.infer_ns.load(Ordering::Relaxed)),
        }
    }
}

impl DurationFigures {
    /// So many events, and how much their time grew.
    fn since(count: u64, before_ns: u64, now_ns: u64) -> Self {
        Self {
            count,
            ns: now_ns.saturating_sub(before_ns),
        }
    }
}

impl fmt::Debug for VersionStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.counters.fmt(f)
    }
}
