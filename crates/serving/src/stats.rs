//! What became of a version's requests, counted.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::{Histogram, IntCounter, IntGauge};

use crate::{ErrorCode, Metrics, Timing};

/// Batches larger than this are counted as this size.
const MAX_BATCH_FIGURES: usize = 1024;

/// The metrics of one version, looked up once.
pub(crate) struct VersionStats {
    model: String,
    version: String,
    success: IntCounter,
    abandoned: IntCounter,
    failure: prometheus::IntCounterVec,
    failed: AtomicU64,
    failed_ns: AtomicU64,
    rows: IntCounter,
    executions: IntCounter,
    request_us: IntCounter,
    queue_us: IntCounter,
    compute_input_us: IntCounter,
    compute_infer_us: IntCounter,
    compute_output_us: IntCounter,
    pub(crate) pending: IntGauge,
    request_seconds: Histogram,
    queue_seconds: Histogram,
    compute_seconds: Histogram,
    batch_rows: Histogram,
    /// Sums in nanoseconds: Triton's statistics ask for them, and microseconds would round the fast paths to nothing.
    request_ns: AtomicU64,
    queue_ns: AtomicU64,
    compute_input_ns: AtomicU64,
    compute_infer_ns: AtomicU64,
    compute_output_ns: AtomicU64,
    last_inference_ms: AtomicU64,
    /// What an earlier load of the version had counted: requests answered, rows, and batches.
    before: [u64; 3],
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
#[allow(missing_docs, reason = "the names are those of Triton's statistics extension")]
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
#[allow(missing_docs, reason = "the names are those of Triton's statistics extension")]
pub struct BatchFigures {
    /// Rows.
    pub batch_size: u64,
    pub compute_input: DurationFigures,
    pub compute_infer: DurationFigures,
}

impl VersionStats {
    pub(crate) fn new(metrics: &Metrics, model: &str, version: &str, max_batch_rows: usize) -> Self {
        let labels = &[model, version];
        // A rate over a series that was not there before its first failure would miss that one.
        for code in ErrorCode::ALL.iter().filter(|code| code.http_status() >= 500 || **code == ErrorCode::QueueFull) {
            metrics.failure.with_label_values(&[model, version, code.name()]);
        }
        Self {
            success: metrics.success.with_label_values(labels),
            abandoned: metrics.abandoned.with_label_values(labels),
            failure: metrics.failure.clone(),
            failed: AtomicU64::new(0),
            failed_ns: AtomicU64::new(0),
            rows: metrics.rows.with_label_values(labels),
            executions: metrics.executions.with_label_values(labels),
            request_us: metrics.request_us.with_label_values(labels),
            queue_us: metrics.queue_us.with_label_values(labels),
            compute_input_us: metrics.compute_input_us.with_label_values(labels),
            compute_infer_us: metrics.compute_infer_us.with_label_values(labels),
            compute_output_us: metrics.compute_output_us.with_label_values(labels),
            pending: metrics.pending.with_label_values(labels),
            request_seconds: metrics.request_seconds.with_label_values(labels),
            queue_seconds: metrics.queue_seconds.with_label_values(labels),
            compute_seconds: metrics.compute_seconds.with_label_values(labels),
            batch_rows: metrics.batch_rows.with_label_values(labels),
            request_ns: AtomicU64::new(0),
            queue_ns: AtomicU64::new(0),
            compute_input_ns: AtomicU64::new(0),
            compute_infer_ns: AtomicU64::new(0),
            compute_output_ns: AtomicU64::new(0),
            last_inference_ms: AtomicU64::new(0),
            by_batch_rows: (0..max_batch_rows.clamp(1, MAX_BATCH_FIGURES)).map(|_| OnceLock::new()).collect(),
            model: model.to_owned(),
            version: version.to_owned(),
            before: [0; 3],
        }
        .since_now()
    }

    fn since_now(self) -> Self {
        Self { before: [self.success.get(), self.rows.get(), self.executions.get()], ..self }
    }

    /// Counts a batch that ran.
    pub(crate) fn executed(&self, rows: usize, join: Duration, infer: Duration) {
        self.executions.inc();
        self.batch_rows.observe(rows as f64);
        let at = rows.clamp(1, self.by_batch_rows.len()) - 1;
        let stats = self.by_batch_rows[at].get_or_init(Default::default);
        stats.count.fetch_add(1, Ordering::Relaxed);
        stats.input_ns.fetch_add(nanos(join), Ordering::Relaxed);
        stats.infer_ns.fetch_add(nanos(infer), Ordering::Relaxed);
    }

    /// Counts an answered request.
    pub(crate) fn answered(&self, rows: usize, total: Duration, timing: &Timing) {
        let before = self.success.get();
        self.success.inc();
        self.rows.inc_by(rows as u64);
        let sums = [
            (&self.request_ns, &self.request_us, total),
            (&self.queue_ns, &self.queue_us, timing.queue),
            (&self.compute_input_ns, &self.compute_input_us, timing.compute_input),
            (&self.compute_infer_ns, &self.compute_infer_us, timing.compute_infer),
            (&self.compute_output_ns, &self.compute_output_us, timing.compute_output),
        ];
        for (sum_ns, sum_us, time) in sums {
            let added = nanos(time);
            let sum = sum_ns.fetch_add(added, Ordering::Relaxed) + added;
            // The counter is the sum in whole microseconds: add what the sum has gained over it.
            sum_us.inc_by((sum / 1000).saturating_sub((sum - added) / 1000));
        }
        self.request_seconds.observe(total.as_secs_f64());
        self.queue_seconds.observe(timing.queue.as_secs_f64());
        self.compute_seconds.observe(timing.compute_infer.as_secs_f64());
        // A time of day costs as much as a small histogram: one in 64 is near enough for a last-used time under load.
        if before.is_multiple_of(64) || total > Duration::from_millis(1) {
            self.touch();
        }
    }

    fn touch(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last_inference_ms.store(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Counts a request whose client went away.
    pub(crate) fn abandoned(&self) {
        self.abandoned.inc();
    }

    /// Counts a request that reached the version and failed.
    pub(crate) fn failed(&self, code: ErrorCode, total: Duration) {
        self.failure.with_label_values(&[self.model.as_str(), self.version.as_str(), code.name()]).inc();
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.failed_ns.fetch_add(nanos(total), Ordering::Relaxed);
    }

    pub(crate) fn figures(&self) -> VersionFigures {
        let [success_before, rows_before, executions_before] = self.before;
        let success = self.success.get().saturating_sub(success_before);
        let figures = |ns: &AtomicU64| DurationFigures { count: success, ns: ns.load(Ordering::Relaxed) };
        let batches = self.by_batch_rows.iter().enumerate().filter_map(|(at, stats)| {
            let stats = stats.get()?;
            let count = stats.count.load(Ordering::Relaxed);
            let figures = |ns: &AtomicU64| DurationFigures { count, ns: ns.load(Ordering::Relaxed) };
            Some(BatchFigures {
                batch_size: at as u64 + 1,
                compute_input: figures(&stats.input_ns),
                compute_infer: figures(&stats.infer_ns),
            })
        });
        VersionFigures {
            last_inference_ms: self.last_inference_ms.load(Ordering::Relaxed),
            inference_count: self.rows.get().saturating_sub(rows_before),
            execution_count: self.executions.get().saturating_sub(executions_before),
            success: figures(&self.request_ns),
            fail: DurationFigures {
                count: self.failed.load(Ordering::Relaxed),
                ns: self.failed_ns.load(Ordering::Relaxed),
            },
            queue: figures(&self.queue_ns),
            compute_input: figures(&self.compute_input_ns),
            compute_infer: figures(&self.compute_infer_ns),
            compute_output: figures(&self.compute_output_ns),
            batches: batches.collect(),
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
