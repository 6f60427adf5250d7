//! What the requests of one version came to, from the first load of the version until it is
//! forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use super::exposition::{Exemplar, Labels};
use crate::ErrorCode;
use crate::observation::{Observation, Outcome};

/// Upper bounds of `tidegate_request_duration_seconds`, in nanoseconds: 100 µs · 2^k, for k from 0
/// to 17.
pub(super) const REQUEST_BOUNDS_NS: [u64; 18] = doublings();
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

/// By the place of their bucket.
pub(super) type Exemplars = BTreeMap<usize, Exemplar>;

/// The counts of one version.
pub(crate) struct Tally {
    names: (Arc<str>, Arc<str>),
    labels: Labels,
    counted: Mutex<Counted>,
    /// The last request of each bucket of the histogram whose trace is recorded.
    exemplars: Mutex<Exemplars>,
    pending: AtomicU64,
    batches: AtomicU64,
    busy_ns: AtomicU64,
    sent_bytes: AtomicU64,
}

/// What requests came to; times are sums.
#[derive(Clone)]
pub(crate) struct Counted {
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
    pub(super) within: [u64; REQUEST_BOUNDS_NS.len() + 1],
}

impl Default for Counted {
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

impl Counted {
    /// Requests that failed with a code.
    pub(crate) fn failures(&self, code: ErrorCode) -> u64 {
        self.failed[code as usize]
    }

    fn count(&mut self, observation: &Observation, now_ms: u64) {
        match observation.outcome {
            Outcome::Abandoned => self.abandoned += 1,
            Outcome::Failed(code) => {
                self.failed[code as usize] += 1;
                self.failed_ns += nanos(observation.total);
            }
            Outcome::Answered => self.count_answer(observation, now_ms),
        }
    }

    fn count_answer(&mut self, observation: &Observation, now_ms: u64) {
        let total_ns = nanos(observation.total);
        self.answered += 1;
        self.rows += observation.rows as u64;
        self.request_ns += total_ns;
        self.queue_ns += nanos(observation.timing.queue);
        self.input_ns += nanos(observation.timing.compute_input);
        self.infer_ns += nanos(observation.timing.compute_infer);
        self.output_ns += nanos(observation.timing.compute_output);
        self.within[bucket(total_ns)] += 1;
        self.last_answer_ms = now_ms;
    }
}

/// The place of the first bound that a time keeps.
fn bucket(total_ns: u64) -> usize {
    REQUEST_BOUNDS_NS.partition_point(|bound| *bound < total_ns)
}

impl Tally {
    pub(super) fn new(model: &str, version: &str) -> Self {
        let names: (Arc<str>, Arc<str>) = (model.into(), version.into());
        Self {
            labels: Labels::new([("model", names.0.clone()), ("version", names.1.clone())]),
            names,
            counted: Mutex::default(),
            exemplars: Mutex::default(),
            pending: AtomicU64::new(0),
            batches: AtomicU64::new(0),
            busy_ns: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
        }
    }

    /// The names of the model and the version.
    pub(crate) fn names(&self) -> (&Arc<str>, &Arc<str>) {
        (&self.names.0, &self.names.1)
    }

    pub(super) fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Counts a request that finished by now, in Unix milliseconds.
    pub(crate) fn count(&self, observation: &Observation, now_ms: u64) {
        self.counted.lock().count(observation, now_ms);
    }

    /// Names a trace as an example of answers that take so long.
    pub(crate) fn exemplify(&self, total: Duration, trace_id: u128) {
        let exemplar = Exemplar {
            trace_id,
            value: total.as_secs_f64(),
            at: SystemTime::now(),
        };
        self.exemplars.lock().insert(bucket(nanos(total)), exemplar);
    }

    /// Counts a batch that ran, and for how long an instance was busy with it; returns how many
    /// that makes.
    pub(crate) fn executed(&self, busy: Duration) -> u64 {
        let before = self.batches.fetch_add(1, Ordering::Relaxed);
        self.busy_ns.fetch_add(nanos(busy), Ordering::Relaxed);
        before + 1
    }

    /// Counts bytes of answers.
    pub(crate) fn sent(&self, bytes: usize) {
        self.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Says how many requests wait.
    pub(crate) fn pending(&self, requests: usize) {
        self.pending.store(requests as u64, Ordering::Relaxed);
    }

    /// What its requests came to so far.
    pub(crate) fn counted(&self) -> Counted {
        self.counted.lock().clone()
    }

    /// Examples of its answers.
    pub(super) fn exemplars(&self) -> Exemplars {
        self.exemplars.lock().clone()
    }

    /// Batches run.
    pub(crate) fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }

    pub(super) fn waiting(&self) -> u64 {
        self.pending.load(Ordering::Relaxed)
    }

    /// How long instances were busy.
    pub(super) fn busy_ns(&self) -> u64 {
        self.busy_ns.load(Ordering::Relaxed)
    }

    pub(super) fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }

    /// Rows answered.
    pub(super) fn rows(&self) -> u64 {
        self.counted.lock().rows
    }
}

pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Now, in Unix milliseconds.
pub(crate) fn unix_ms() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
