//! The one record that every finished request leaves, and the bounded rings that carry it off the
//! request's way.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_queue::ArrayQueue;
use parking_lot::Mutex;

use crate::metrics::unix_ms;
use crate::stats::VersionStats;
use crate::{ErrorCode, Metrics, RequestTrace, Timing};

/// Observations that wait in each ring, at most: what a thread leaves in an eighth of a second at
/// 65,000 requests/s.
const RING: usize = 8192;
/// Observations that readers get at once, at most.
const BATCH: usize = 256;

/// One finished request.
#[derive(Debug)]
pub struct Observation {
    /// What counts for the version that it reached, if it reached one.
    pub(crate) stats: Option<Arc<VersionStats>>,
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
    /// Its place in a trace, if it has one.
    pub trace: Option<Box<RequestTrace>>,
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
    /// A request to a version, or to none, that nobody has sent; for tests.
    pub fn of(
        metrics: &Metrics,
        version: Option<(&str, &str)>,
        outcome: Outcome,
        total: Duration,
    ) -> Self {
        let stats =
            version.map(|(model, version)| Arc::new(VersionStats::new(metrics, model, version, 1)));
        let rows = usize::from(outcome == Outcome::Answered);
        Self {
            stats,
            outcome,
            total,
            rows,
            ..Self::refused(ErrorCode::Internal, None, Instant::now())
        }
    }

    /// A request that was refused before it reached a version.
    pub(crate) fn refused(
        code: ErrorCode,
        trace: Option<Box<RequestTrace>>,
        received: Instant,
    ) -> Self {
        Self {
            stats: None,
            outcome: Outcome::Failed(code),
            received,
            total: received.elapsed(),
            encode: Duration::ZERO,
            timing: Timing::default(),
            rows: 0,
            trace,
        }
    }

    /// Lets the metrics name its trace as an example of an answer that took about as long.
    pub fn exemplify(&self) {
        if let (Outcome::Answered, Some(stats), Some(trace)) =
            (self.outcome, &self.stats, &self.trace)
        {
            stats.exemplify(self.total, trace.context.trace_id);
        }
    }

    /// The names of the model and version that it reached, if it reached one.
    pub fn version(&self) -> Option<(&Arc<str>, &Arc<str>)> {
        self.stats.as_ref().map(|stats| stats.names())
    }
}

type Reader = Box<dyn FnMut(&[Observation]) + Send>;

/// The rings between the threads that answer requests and those who want to know what became of
/// them.
///
/// Leaving an observation never blocks: where nobody reads in time, it is dropped and counted.
/// Whoever reads figures calls [`Observations::settle`] first, and so sees every request that was
/// answered before.
pub struct Observations {
    /// A thread keeps to one of them, so that threads seldom meet.
    rings: Box<[ArrayQueue<Observation>]>,
    dropped: AtomicU64,
    readers: Mutex<Readers>,
}

#[derive(Default)]
struct Readers {
    readers: Vec<Reader>,
    batch: Vec<Observation>,
}

impl Default for Observations {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with_rings(threads, RING)
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
    /// It runs on whichever thread settles, and must be quick and settle nothing itself.
    pub fn subscribe(&self, reader: impl FnMut(&[Observation]) + Send + 'static) {
        self.readers.lock().readers.push(Box::new(reader));
    }

    /// Leaves an observation; drops it if its ring is full.
    pub fn leave(&self, observation: Observation) {
        if self.rings[thread_number() % self.rings.len()]
            .push(observation)
            .is_err()
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts what waits in the rings, and shows it to every reader.
    pub fn settle(&self) {
        let mut readers = self.readers.lock();
        let Readers { readers, batch } = &mut *readers;
        for ring in &self.rings {
            // Not what comes meanwhile: settling ends, however busy the server is.
            let mut left = ring.len();
            while left > 0 {
                batch.extend(std::iter::from_fn(|| ring.pop()).take(left.min(BATCH)));
                if batch.is_empty() {
                    break;
                }
                left = left.saturating_sub(batch.len());
                let now_ms = unix_ms();
                batch
                    .iter()
                    .for_each(|one| one.stats.iter().for_each(|stats| stats.count(one, now_ms)));
                readers.iter_mut().for_each(|reader| reader(batch));
                batch.clear();
            }
        }
    }

    /// How many were dropped because nobody read in time.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// A small number that is this thread's own.
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
        Observation::refused(code, None, Instant::now())
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
                    (0..1000).for_each(|_| observations.leave(refused(ErrorCode::NotReady)))
                });
            }
            scope.spawn(|| (0..100).for_each(|_| observations.settle()));
        });
        observations.settle();
        assert_eq!(
            (one.lock().len(), other.lock().len(), observations.dropped()),
            (4000, 4000, 0)
        );
    }

    #[test]
    fn what_finds_no_place_is_dropped_and_counted() {
        let observations = Observations::with_rings(1, 8);
        let seen = collected(&observations);
        (0..11).for_each(|_| observations.leave(refused(ErrorCode::NotReady)));
        observations.settle();
        assert_eq!((seen.lock().len(), observations.dropped()), (8, 3));
        observations.leave(refused(ErrorCode::QueueFull));
        observations.settle();
        assert_eq!(
            seen.lock().last(),
            Some(&Outcome::Failed(ErrorCode::QueueFull))
        );
    }
}
