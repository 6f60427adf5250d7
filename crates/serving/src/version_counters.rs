//! The counters of one version, from its first load until it is removed from the metrics.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tidegate_pipeline::{FieldViolations, Pipeline};

use crate::clock::nanos;
use crate::metrics::{Exemplar, Labels};
use crate::{ErrorCode, Timing};

/// Upper bounds of `tidegate_request_duration_seconds`, in nanoseconds: 100 µs · 2^k, for k from 0
/// to 17.
pub(crate) const REQUEST_BOUNDS_NS: [u64; 18] = doublings();
const CODES: usize = ErrorCode::ALL.len();

const fn doublings() -> [u64; 18] {
    let mut bounds = [0; 18];
    let mut at = 0;
    while at < bounds.len() {
        bounds[at] = 100_000 << at;
        at += 1;
    }
    bounds
}

/// Exemplars by the index of their bucket.
pub(crate) type Exemplars = BTreeMap<usize, Exemplar>;

/// The counters of one version, shared by all its loads.
///
/// Requests are counted when observations are drained, by one thread at a time; batches and bytes
/// where they occur, by any thread, and so by atomics.
pub(crate) struct VersionCounters {
    model: Arc<str>,
    version: Arc<str>,
    labels: Labels,
    requests: Mutex<RequestCounts>,
    /// The last request of each bucket of the histogram whose trace is recorded.
    exemplars: Mutex<Exemplars>,
    queued: AtomicU64,
    batches: AtomicU64,
    busy_ns: AtomicU64,
    sent_bytes: AtomicU64,
    broken_batch_contracts: AtomicU64,
    node_runs: AtomicU64,
    /// Of the last load whose pipeline has fields of these names.
    field_violations: Mutex<Option<Arc<FieldViolations>>>,
}

/// Counts of finished requests; times are sums over the answered ones, unless a name says else.
#[derive(Clone)]
pub(crate) struct RequestCounts {
    pub(crate) answered: u64,
    pub(crate) abandoned: u64,
    pub(crate) rows: u64,
    pub(crate) request_ns: u64,
    pub(crate) queue_ns: u64,
    pub(crate) input_ns: u64,
    pub(crate) infer_ns: u64,
    pub(crate) output_ns: u64,
    pub(crate) failed_ns: u64,
    /// Unix time of the last answer, in milliseconds; 0 if there was none.
    pub(crate) last_answer_ms: u64,
    failed: [u64; CODES],
    /// Answers by the first bound that they kept, and one for those above all bounds.
    pub(crate) within: [u64; REQUEST_BOUNDS_NS.len() + 1],
}

impl Default for RequestCounts {
    fn default() -> Self {
        Self {
            answered: 0,
            abandoned: 0,
            rows: 0,
            request_ns: 0,
            queue_ns: 0,
            input_ns: 0,
            infer_ns: 0,
            output_ns: 0,
            failed_ns: 0,
            last_answer_ms: 0,
            failed: [0; CODES],
            within: [0; REQUEST_BOUNDS_NS.len() + 1],
        }
    }
}

impl RequestCounts {
    /// Requests that failed with a code.
    pub(crate) fn failures(&self, code: ErrorCode) -> u64 {
        self.failed[code as usize]
    }

    /// Requests that failed.
    pub(crate) fn all_failures(&self) -> u64 {
        self.failed.iter().sum()
    }
}

impl VersionCounters {
    pub(crate) fn new(model: &str, version: &str) -> Self {
        let (model, version): (Arc<str>, Arc<str>) = (model.into(), version.into());
        Self {
            labels: Labels::new([("model", model.clone()), ("version", version.clone())]),
            model,
            version,
            requests: Mutex::default(),
            exemplars: Mutex::default(),
            queued: AtomicU64::new(0),
            batches: AtomicU64::new(0),
            busy_ns: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            broken_batch_contracts: AtomicU64::new(0),
            node_runs: AtomicU64::new(0),
            field_violations: Mutex::default(),
        }
    }

    /// The names of the model and the version.
    pub(crate) fn names(&self) -> (&Arc<str>, &Arc<str>) {
        (&self.model, &self.version)
    }

    /// The names as labels.
    pub(crate) fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Counts an answered request; `now_ms` is the present Unix time.
    pub(crate) fn count_answer(&self, total: Duration, timing: &Timing, rows: usize, now_ms: u64) {
        let total_ns = nanos(total);
        let mut counts = self.requests.lock();
        counts.answered += 1;
        counts.rows += rows as u64;
        counts.request_ns += total_ns;
        counts.queue_ns += nanos(timing.queue);
        counts.input_ns += nanos(timing.compute_input);
        counts.infer_ns += nanos(timing.compute_infer);
        counts.output_ns += nanos(timing.compute_output);
        // Each answer counts in one bucket only; the exposition adds the buckets up.
        counts.within[bucket(total_ns)] += 1;
        counts.last_answer_ms = now_ms;
    }

    /// Counts a request that failed.
    pub(crate) fn count_failure(&self, code: ErrorCode, total: Duration) {
        let mut counts = self.requests.lock();
        counts.failed[code as usize] += 1;
        counts.failed_ns += nanos(total);
    }

    /// Counts a request whose client went away.
    pub(crate) fn count_abandoned(&self) {
        self.requests.lock().abandoned += 1;
    }

    /// Makes a trace the exemplar of its bucket of the histogram.
    pub(crate) fn set_exemplar(&self, total: Duration, trace_id: u128) {
        let exemplar = Exemplar {
            trace_id,
            value: total.as_secs_f64(),
            at: SystemTime::now(),
        };
        let bucket = bucket(nanos(total));
        self.exemplars.lock().insert(bucket, exemplar);
    }

    /// Counts a batch and how long its instance was busy with it; returns how many batches that
    /// makes.
    pub(crate) fn count_batch(&self, busy: Duration) -> u64 {
        let before = self.batches.fetch_add(1, Ordering::Relaxed);
        self.busy_ns.fetch_add(nanos(busy), Ordering::Relaxed);
        before + 1
    }

    /// Counts bytes of answers.
    pub(crate) fn count_sent(&self, bytes: usize) {
        self.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts a run as a node of a graph, which is no request of a client.
    pub(crate) fn count_node_run(&self) {
        self.node_runs.fetch_add(1, Ordering::Relaxed);
    }

    /// Runs as a node of a graph.
    pub(crate) fn node_runs(&self) -> u64 {
        self.node_runs.load(Ordering::Relaxed)
    }

    /// Counts that rows of batches turned out to depend on each other.
    pub(crate) fn count_broken_batch_contract(&self) {
        self.broken_batch_contracts.fetch_add(1, Ordering::Relaxed);
    }

    /// Loads of the version in which rows of batches turned out to depend on each other.
    pub(crate) fn broken_batch_contracts(&self) -> u64 {
        self.broken_batch_contracts.load(Ordering::Relaxed)
    }

    /// Sets how many requests wait in the queue.
    pub(crate) fn set_queued(&self, requests: usize) {
        self.queued.store(requests as u64, Ordering::Relaxed);
    }

    /// The counts of its requests so far.
    pub(crate) fn requests(&self) -> RequestCounts {
        self.requests.lock().clone()
    }

    /// Exemplars of its answers.
    pub(crate) fn exemplars(&self) -> Exemplars {
        self.exemplars.lock().clone()
    }

    /// Batches run.
    pub(crate) fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }

    /// Requests that waited in the queue when they were last counted.
    pub(crate) fn queued(&self) -> u64 {
        self.queued.load(Ordering::Relaxed)
    }

    /// How long instances were busy.
    pub(crate) fn busy_ns(&self) -> u64 {
        self.busy_ns.load(Ordering::Relaxed)
    }

    /// Bytes of answers.
    pub(crate) fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }

    /// A pipeline that counts on where the last load of the version ended.
    pub(crate) fn counted(&self, mut pipeline: Pipeline) -> Pipeline {
        let mut counted = self.field_violations.lock();
        if let Some(earlier) = &*counted {
            pipeline.continue_violations(earlier);
        }
        *counted = Some(pipeline.violations().clone());
        pipeline
    }

    /// How often fields of records broke their rules, if the version takes records.
    pub(crate) fn field_violations(&self) -> Option<Arc<FieldViolations>> {
        self.field_violations.lock().clone()
    }

    /// Rows answered.
    pub(crate) fn rows(&self) -> u64 {
        self.requests.lock().rows
    }
}

impl fmt::Debug for VersionCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.model, self.version)
    }
}

/// The index of the first bound that is not below a time.
fn bucket(total_ns: u64) -> usize {
    REQUEST_BOUNDS_NS.partition_point(|bound| *bound < total_ns)
}
