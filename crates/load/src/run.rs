//! Running a plan: starts the sending threads and adds up their counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::error::LoadError;
use crate::plan::{Pattern, Plan};
use crate::record::Window;
use crate::report::{Point, Run};
use crate::sender::{Sender, Shared};

/// The interval between the points of a report, for short loads and long ones.
const TICKS: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(1)];
/// Loads longer than this have a point a second.
const LONG: Duration = Duration::from_secs(60);
/// How often progress is reported.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// The progress of a load: its last second.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Since the load began.
    pub elapsed: Duration,
    /// Whether it is still warming up.
    pub is_warming_up: bool,
    /// Answers per second.
    pub answers_per_s: f64,
    /// The median latency.
    pub p50: Duration,
    /// The 99th percentile of the latency.
    pub p99: Duration,
    /// Requests refused.
    pub refusals: u64,
    /// Requests that failed otherwise or were not sent.
    pub errors: u64,
    /// Requests in flight.
    pub in_flight: u64,
}

/// Sends what the plan says and reports each part of it. Setting `interrupt` ends it early, with a
/// report.
///
/// # Errors
/// If threads or timers cannot be created. Failed requests are not errors: they are counted.
pub fn run(
    plan: &Plan,
    interrupt: &AtomicBool,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Vec<Run>, LoadError> {
    let mut plan = plan.clone();
    if let Pattern::Closed { concurrency } = plan.pattern {
        // A thread without a client would have nothing to do.
        plan.threads = plan.threads.min(concurrency);
    }
    let shared = Arc::new(Shared::new(plan));
    let senders: Vec<Arc<Sender>> = (0..shared.plan.threads)
        .map(|thread| Arc::new(Sender::new(shared.clone(), thread)))
        .collect();
    let (done, ended) = mpsc::channel();
    for sender in &senders {
        let (sender, done) = (sender.clone(), done.clone());
        std::thread::Builder::new()
            .name("load".to_owned())
            // The receiver is gone only if this thread's result does not matter any more.
            .spawn(move || drop(done.send(sender.run())))?;
    }
    // Only the threads hold the channel now: should all of them panic, waiting for them ends.
    drop(done);
    shared.ready.wait();
    let mut monitor = RunMonitor::new(&shared, &senders);
    let mut running = senders.len();
    while running > 0 {
        match ended.recv_timeout(monitor.until_next()) {
            Ok(outcome) => {
                outcome?;
                running -= 1;
            }
            Err(RecvTimeoutError::Timeout) => monitor.tick(progress),
            // A thread that ended without a result has panicked, which it said on standard error.
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if interrupt.load(Ordering::Relaxed) {
            shared.end_early("it was interrupted");
        }
    }
    // What came in since the last tick.
    monitor.tick(progress);
    Ok(monitor.finish())
}

/// The counts of all threads, added up.
struct RunMonitor<'a> {
    shared: &'a Shared,
    senders: &'a [Arc<Sender>],
    start: Instant,
    tick: Duration,
    next: Instant,
    last: Instant,
    parts: Vec<Part>,
    recent: Window,
    recent_since: Instant,
}

/// The counts of a part of the load.
struct Part {
    total: Window,
    timeline: Vec<Point>,
}

impl<'a> RunMonitor<'a> {
    fn new(shared: &'a Shared, senders: &'a [Arc<Sender>]) -> Self {
        let plan = &shared.plan;
        let start = shared.start();
        let tick = if plan.duration.is_none_or(|duration| duration > LONG) {
            TICKS[1]
        } else {
            TICKS[0]
        };
        let empty = Window::new(plan.mix.names().count());
        let parts = plan
            .phases()
            .iter()
            .map(|_| Part {
                total: empty.clone(),
                timeline: Vec::new(),
            })
            .collect();
        Self {
            shared,
            senders,
            start,
            tick,
            next: start + tick,
            last: start,
            parts,
            recent: empty,
            recent_since: start,
        }
    }

    fn until_next(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    fn tick(&mut self, progress: &mut dyn FnMut(&Progress)) {
        let now = Instant::now();
        let mut window = Window::new(self.shared.plan.mix.names().count());
        for sender in self.senders {
            let taken = sender.recorder().take();
            for (part, counted) in self.parts.iter_mut().zip(taken) {
                if let Some(counted) = counted {
                    part.total.merge(&counted);
                    window.merge(&counted);
                }
            }
        }
        let in_flight = self.senders.iter().map(|sender| sender.in_flight()).sum();
        // The part that the middle of this stretch of time lies in.
        let middle = self.last + (now - self.last) / 2 - self.start;
        let phase = self.shared.plan.phase_at(middle);
        if let Some(phase) =
            phase.or_else(|| (middle > self.shared.plan.warmup).then(|| self.parts.len() - 1))
        {
            let at_s = (now - self.start)
                .saturating_sub(self.shared.plan.phases()[phase].start)
                .as_secs_f64();
            let point = Point::new(at_s, now - self.last, &window, in_flight);
            self.parts[phase].timeline.extend(point);
        }
        self.last = now;
        // Late ticks are not made up for: two at once would make a point of no length.
        self.next = (self.next + self.tick).max(now);
        self.recent.merge(&window);
        if now - self.recent_since >= PROGRESS_EVERY {
            progress(&self.progress(now, in_flight));
            self.recent = Window::new(self.shared.plan.mix.names().count());
            self.recent_since = now;
        }
    }

    fn progress(&self, now: Instant, in_flight: u64) -> Progress {
        let elapsed = now - self.start;
        let latency = &self.recent.latency;
        Progress {
            elapsed,
            is_warming_up: elapsed < self.shared.plan.warmup,
            answers_per_s: self.recent.answers() as f64 / (now - self.recent_since).as_secs_f64(),
            p50: Duration::from_nanos(latency.value_at_quantile(0.5)),
            p99: Duration::from_nanos(latency.value_at_quantile(0.99)),
            refusals: self.recent.refused(),
            errors: self.recent.errors() + self.recent.dropped + self.recent.unsent,
            in_flight,
        }
    }

    fn finish(self) -> Vec<Run> {
        let plan = &self.shared.plan;
        let opened = self.senders.iter().map(|sender| sender.opened()).sum();
        let ended_early = self.shared.ended_early.get().cloned();
        let elapsed = self.last - self.start;
        let parts = plan.phases().into_iter().zip(self.parts);
        parts
            .map(|(phase, part)| {
                // A part that ended before its time was as long as it had something to do.
                let end = phase
                    .end
                    .filter(|end| *end <= elapsed)
                    .unwrap_or(part.total.last_end);
                let length = end.saturating_sub(phase.start);
                Run::new(
                    plan,
                    phase,
                    length,
                    &part.total,
                    part.timeline,
                    opened,
                    ended_early.clone(),
                )
            })
            .collect()
    }
}
