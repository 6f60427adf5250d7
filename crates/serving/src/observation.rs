//! The one record of every finished request, and the bounded rings that carry it from the request
//! path to the readers.
//!
//! Nothing here knows who reads: a reader is a callback.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_queue::ArrayQueue;
use parking_lot::Mutex;

use crate::version_counters::VersionCounters;
use crate::{ErrorCode, FallbackStatus, Prediction, RequestTrace, Timing};

/// Observations that wait in each ring, at most: those of a thread in an eighth of a second at
/// 65,000 requests/s.
const RING_CAPACITY: usize = 8192;
/// Observations that readers get at once, at most.
const BATCH: usize = 256;

/// One finished request.
#[derive(Debug)]
pub struct Observation {
    /// The counters of the version that it reached, if it reached one.
    pub(crate) counters: Option<Arc<VersionCounters>>,
    /// Those of the version that the weights of its endpoint's policy have chosen, while versions of the
    /// endpoint are compared: where a fallback answered, another one than the version that it reached.
    pub(crate) chosen: Option<Arc<VersionCounters>>,
    /// Whether it is evidence in a comparison: not if its sticky key was seen before, as requests of one
    /// user are alike.
    pub is_evidence: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// When its last byte had arrived.
    pub received: Instant,
    /// From then until it was answered, or refused.
    pub total: Duration,
    /// From then until its answer was encoded, if it was answered and has a trace; else 0.
    pub encode: Duration,
    /// Where the time went; zeros for what was not answered.
    pub timing: Timing,
    /// Rows answered.
    pub rows: usize,
    /// Why the endpoint's own version did not answer, if another choice did.
    pub fallback: Option<Box<FallbackStatus>>,
    /// Its place in a trace, if it has one.
    pub trace: Option<Box<RequestTrace>>,
    /// What it got and gave, if its endpoint is captured.
    pub prediction: Option<Arc<Prediction>>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered.
    Answered,
    /// It was refused, or failed.
    Failed(ErrorCode),
    /// Its client went away.
    Abandoned,
}

impl Observation {
    /// Makes its trace an exemplar in the histogram of request times, if it was answered.
    pub fn set_exemplar(&self) {
        if let (Outcome::Answered, Some(counters), Some(trace)) =
            (self.outcome, &self.counters, &self.trace)
        {
            counters.set_exemplar(self.total, trace.context.trace_id);
        }
    }

    /// The names of the model and version that it reached, if it reached one.
    pub fn version(&self) -> Option<(&Arc<str>, &Arc<str>)> {
        self.counters.as_ref().map(|counters| counters.names())
    }

    /// The names of the endpoint and of the version that the weights of its policy have chosen, while
    /// versions of the endpoint are compared.
    pub fn chosen_version(&self) -> Option<(&Arc<str>, &Arc<str>)> {
        self.chosen.as_ref().map(|counters| counters.names())
    }

    /// The same observation, as if a traffic policy had chosen the version that it reached; for tests of
    /// its readers.
    #[must_use]
    pub fn as_chosen(mut self) -> Self {
        self.chosen = self.counters.clone();
        self.is_evidence = true;
        self
    }
}

type Reader = Box<dyn FnMut(&[Observation]) + Send>;

/// The rings between the threads that answer requests and those that want to know how requests
/// ended.
///
/// Recording an observation never blocks: if nobody reads in time, it is dropped and counted.
/// Whoever reads figures calls [`Observations::drain`] first, and so sees every request that was
/// answered before.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use std::time::Duration;
/// use tidegate_serving::{MetricRegistry, Outcome, RequestMetrics};
///
/// let metrics = RequestMetrics::new(&MetricRegistry::new());
/// let seen = Arc::new(AtomicUsize::new(0));
/// let counted = seen.clone();
/// metrics.observations().subscribe(move |finished| {
///     counted.fetch_add(finished.len(), Ordering::Relaxed);
/// });
///
/// let version = Some(("fraud", "7"));
/// let took = Duration::from_millis(3);
/// let answered = metrics.example_observation(version, Outcome::Answered, took);
/// metrics.observations().record(answered);
/// metrics.observations().drain();
/// assert_eq!(seen.load(Ordering::Relaxed), 1);
/// ```
pub struct Observations {
    /// Each thread uses one of them, so that threads seldom contend.
    rings: Box<[ArrayQueue<Observation>]>,
    dropped: AtomicU64,
    readers: Mutex<Readers>,
}

#[derive(Default)]
struct Readers {
    readers: Vec<Reader>,
    /// Kept between drains, so that draining allocates nothing.
    batch: Vec<Observation>,
}

impl Default for Observations {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with_rings(threads, RING_CAPACITY)
    }
}

impl Observations {
    fn with_rings(rings: usize, capacity: usize) -> Self {
        let rings = (0..rings).map(|_| ArrayQueue::new(capacity)).collect();
        Self {
            rings,
            dropped: AtomicU64::new(0),
            readers: Mutex::default(),
        }
    }

    /// Lets `reader` see every observation from now on, in slices, and in the order of each thread.
    /// It runs on whichever thread drains the rings. It must be quick, and must not drain them.
    pub fn subscribe(&self, reader: impl FnMut(&[Observation]) + Send + 'static) {
        self.readers.lock().readers.push(Box::new(reader));
    }

    /// Records an observation; drops and counts it if the ring of this thread is full.
    pub fn record(&self, observation: Observation) {
        // A ring mostly has one thread, so that threads do not contend for it.
        let ring = &self.rings[thread_number() % self.rings.len()];
        if ring.push(observation).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Shows what waits in the rings to every reader.
    pub fn drain(&self) {
        let mut readers = self.readers.lock();
        for ring in &self.rings {
            readers.drain(ring);
        }
    }

    /// How many were dropped because nobody read in time.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Readers {
    fn drain(&mut self, ring: &ArrayQueue<Observation>) {
        // Only what is there now: draining ends, however busy the server is.
        let mut left = ring.len();
        while left > 0 {
            let waiting = std::iter::from_fn(|| ring.pop());
            self.batch.extend(waiting.take(left.min(BATCH)));
            if self.batch.is_empty() {
                break;
            }
            left = left.saturating_sub(self.batch.len());
            for reader in &mut self.readers {
                reader(&self.batch);
            }
            self.batch.clear();
        }
    }
}

/// A small number for this thread, which no other thread has.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static NUMBER: Cell<usize> = const { Cell::new(usize::MAX) });
    NUMBER.with(|number| {
        if number.get() == usize::MAX {
            number.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        number.get()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: ErrorCode) -> Observation {
        Observation {
            counters: None,
            outcome: Outcome::Failed(code),
            received: Instant::now(),
            total: Duration::ZERO,
            encode: Duration::ZERO,
            timing: Timing::default(),
            rows: 0,
            fallback: None,
            trace: None,
            chosen: None,
            is_evidence: false,
            prediction: None,
        }
    }

    fn collected(observations: &Observations) -> Arc<Mutex<Vec<Outcome>>> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = seen.clone();
        observations
            .subscribe(move |batch| sink.lock().extend(batch.iter().map(|one| one.outcome)));
        seen
    }

    #[test]
    fn every_reader_sees_every_observation_of_every_thread_once() {
        let observations = Observations::with_rings(2, 4096);
        let (one, other) = (collected(&observations), collected(&observations));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    (0..1000).for_each(|_| observations.record(refused(ErrorCode::NotReady)))
                });
            }
            scope.spawn(|| (0..100).for_each(|_| observations.drain()));
        });
        observations.drain();
        assert_eq!(
            (one.lock().len(), other.lock().len(), observations.dropped()),
            (4000, 4000, 0)
        );
    }

    #[test]
    fn observations_above_the_capacity_are_dropped_and_counted() {
        let observations = Observations::with_rings(1, 8);
        let seen = collected(&observations);
        (0..11).for_each(|_| observations.record(refused(ErrorCode::NotReady)));
        observations.drain();
        assert_eq!((seen.lock().len(), observations.dropped()), (8, 3));
        observations.record(refused(ErrorCode::QueueFull));
        observations.drain();
        assert_eq!(
            seen.lock().last(),
            Some(&Outcome::Failed(ErrorCode::QueueFull))
        );
    }
}
