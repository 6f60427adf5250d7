//! The outcomes of requests, counted by the thread that sent them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::failure::{Failure, FailureKind};

/// The range of the histograms: shorter and longer times are counted as these.
const SHORTEST_NS: u64 = 100;
// Ten minutes, longer than any sensible timeout. The range sets the size of a histogram, and there
// are several for each thread and part of the load.
const LONGEST_NS: u64 = 600_000_000_000;
/// The precision of every recorded time, in significant digits.
const SIGNIFICANT_DIGITS: u8 = 3;

/// Nanoseconds.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(SHORTEST_NS, LONGEST_NS, SIGNIFICANT_DIGITS)
        .expect("the bounds are in order")
}

/// The kind that a failure is counted under.
pub(crate) type FailureKey = (FailureKind, Option<u16>, Option<String>);

/// Counts of a period, or of the requests of a part of the load.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    /// Answered requests, from when they were meant to be sent.
    pub(crate) latency: Histogram<u64>,
    /// The same, from when they were sent; empty in a closed loop, where both times are the same.
    pub(crate) send_latency: Histogram<u64>,
    /// Refused requests, from when they were meant to be sent.
    pub(crate) refusals: Histogram<u64>,
    /// How much later than intended requests were sent; empty in a closed loop.
    pub(crate) lateness: Histogram<u64>,
    /// Failed requests with the first message of each kind.
    pub(crate) failures: BTreeMap<FailureKey, (u64, String)>,
    /// Answers of each model of the mix.
    pub(crate) models: Vec<u64>,
    /// Requests that were not sent because too many were in flight.
    pub(crate) dropped: u64,
    /// Requests that were not sent because the generator was too late.
    pub(crate) unsent: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
    /// Answers that arrived during this part of the load, whichever part they were sent in.
    pub(crate) completed: u64,
    pub(crate) completed_rows: u64,
    /// Those of them within the deadline.
    pub(crate) completed_good: u64,
    /// When the last request of this part ended, since the beginning of the load.
    pub(crate) last_end: Duration,
}

impl Window {
    pub(crate) fn new(models: usize) -> Self {
        Self {
            latency: histogram(),
            send_latency: histogram(),
            refusals: histogram(),
            lateness: histogram(),
            failures: BTreeMap::new(),
            models: vec![0; models],
            dropped: 0,
            unsent: 0,
            bytes_sent: 0,
            bytes_received: 0,
            completed: 0,
            completed_rows: 0,
            completed_good: 0,
            last_end: Duration::ZERO,
        }
    }

    /// Adds the counts of another window.
    pub(crate) fn merge(&mut self, other: &Self) {
        let pairs = [
            (&mut self.latency, &other.latency),
            (&mut self.send_latency, &other.send_latency),
            (&mut self.refusals, &other.refusals),
            (&mut self.lateness, &other.lateness),
        ];
        for (into, from) in pairs {
            if !from.is_empty() {
                into.add(from).expect("all histograms have the same bounds");
            }
        }
        for (key, (count, message)) in &other.failures {
            self.failures
                .entry(key.clone())
                .or_insert_with(|| (0, message.clone()))
                .0 += count;
        }
        self.models
            .iter_mut()
            .zip(&other.models)
            .for_each(|(into, from)| *into += from);
        self.dropped += other.dropped;
        self.unsent += other.unsent;
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        self.completed += other.completed;
        self.completed_rows += other.completed_rows;
        self.completed_good += other.completed_good;
        self.last_end = self.last_end.max(other.last_end);
    }

    pub(crate) fn answers(&self) -> u64 {
        self.latency.len()
    }

    /// Failed requests other than refusals.
    pub(crate) fn errors(&self) -> u64 {
        self.count(|kind| kind != FailureKind::Refused)
    }

    pub(crate) fn refused(&self) -> u64 {
        self.count(|kind| kind == FailureKind::Refused)
    }

    fn count(&self, wanted: impl Fn(FailureKind) -> bool) -> u64 {
        self.failures
            .iter()
            .filter(|((kind, ..), _)| wanted(*kind))
            .map(|(_, (count, _))| count)
            .sum()
    }
}

/// A request with its outcome.
#[derive(Debug)]
pub(crate) struct FinishedRequest {
    /// The part of the load that it was meant for, and the one that it ended in.
    pub(crate) phase: Option<usize>,
    pub(crate) end_phase: Option<usize>,
    pub(crate) intended: Instant,
    pub(crate) sent: Instant,
    pub(crate) end: Instant,
    /// The end, since the beginning of the load.
    pub(crate) elapsed: Duration,
    pub(crate) model: usize,
    pub(crate) rows: u64,
    pub(crate) bytes_sent: u64,
    /// Bytes received, or why there is no answer.
    pub(crate) result: Result<u64, Failure>,
}

/// The counts of one thread, which are taken at intervals while it goes on.
#[derive(Debug)]
pub(crate) struct Recorder {
    models: usize,
    is_closed: bool,
    deadline: Option<Duration>,
    /// One for each part of the load, made when it is first needed.
    windows: Vec<Option<Box<Window>>>,
    /// Since when no connection could be opened.
    unreachable_since: Option<Instant>,
}

impl Recorder {
    pub(crate) fn new(models: usize, is_closed: bool, deadline: Option<Duration>) -> Self {
        Self {
            models,
            is_closed,
            deadline,
            windows: Vec::new(),
            unreachable_since: None,
        }
    }

    /// Takes the counts since the last time, one entry per part of the load.
    pub(crate) fn take(&mut self) -> Vec<Option<Box<Window>>> {
        std::mem::take(&mut self.windows)
    }

    pub(crate) fn window(&mut self, phase: usize) -> &mut Window {
        if self.windows.len() <= phase {
            self.windows.resize_with(phase + 1, || None);
        }
        self.windows[phase].get_or_insert_with(|| Box::new(Window::new(self.models)))
    }

    /// Counts a request, and returns how long no connection could be opened.
    pub(crate) fn record(&mut self, ended: FinishedRequest) -> Duration {
        let unreachable = self.unreachable_for(&ended);
        let latency = ended.end.saturating_duration_since(ended.intended);
        // Throughput counts answers in the part of the load in which they arrive; latency, below,
        // in the part in which they were meant to be sent.
        if let (Some(phase), Ok(_)) = (ended.end_phase, &ended.result) {
            // By latency and not by the status: an answer after the deadline is of no use to its
            // user.
            let is_good = self.deadline.is_none_or(|deadline| latency <= deadline);
            let window = self.window(phase);
            window.completed += 1;
            window.completed_rows += ended.rows;
            window.completed_good += u64::from(is_good);
        }
        let Some(phase) = ended.phase else {
            return unreachable;
        };
        let is_closed = self.is_closed;
        let window = self.window(phase);
        window.bytes_sent += ended.bytes_sent;
        window.last_end = window.last_end.max(ended.elapsed);
        if !is_closed {
            window
                .lateness
                .saturating_record(nanos(ended.sent.saturating_duration_since(ended.intended)));
        }
        match ended.result {
            Ok(received) => {
                window.latency.saturating_record(nanos(latency));
                if !is_closed {
                    window
                        .send_latency
                        .saturating_record(nanos(ended.end.saturating_duration_since(ended.sent)));
                }
                window.bytes_received += received;
                window.models[ended.model] += 1;
            }
            Err(failure) => {
                if failure.kind == FailureKind::Refused {
                    window.refusals.saturating_record(nanos(latency));
                }
                // The first message of each kind stands for all: messages may have numbers in them,
                // and each would be a line of the report.
                let key = (failure.kind, failure.status, failure.code);
                window.failures.entry(key).or_insert((0, failure.message)).0 += 1;
            }
        }
        unreachable
    }

    fn unreachable_for(&mut self, ended: &FinishedRequest) -> Duration {
        let unreachable =
            matches!(&ended.result, Err(failure) if failure.kind == FailureKind::Connect);
        self.unreachable_since = unreachable.then(|| self.unreachable_since.unwrap_or(ended.end));
        self.unreachable_since.map_or(Duration::ZERO, |since| {
            ended.end.saturating_duration_since(since)
        })
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
