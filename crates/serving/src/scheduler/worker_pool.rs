//! The instances of one version, the queue before them, and the threads that run queued batches.
//!
//! ```text
//!               ┌───────────── one mutex: State ──────────────┐
//! enqueue ────► │ queue ──┐                                   │
//! (QueuePlace)  │         ├─► next_batch ──► runner threads ──┼──► Batch::run
//!               │ idle ───┘                  0..=instances    │        │
//!               │ instances ◄─────────────────────────────────┼────────┘ give back or replace
//!               └────────┬────────────────────────────────────┘
//!                        └─► take_idle_instance ──► inline runs ──► run
//! ```
//!
//! Runner threads start when there is work for them and end when there was none for a while: a
//! version that is not called, or whose runs are all inline, has no thread.
//!
//! Invariants:
//! - An instance is idle, or owned by the one thread that runs a batch on it; `State::instances`
//!   counts both. An instance that panicked is replaced, not used again. When the last one cannot be
//!   replaced, everything that waits is refused.
//! - Queue and idle instances are under one lock, so that no request is left waiting beside an idle
//!   instance: whoever adds one of the two wakes a runner. No engine runs under the lock.
//! - Closing runs what waits, then ends the threads.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use tidegate_engines::{Instance, LoadedArtifact};
use tracing::{error, warn};

use super::accepted_work::{AcceptedWork, Response};
use super::admission::{Admission, Admitted};
use super::batch::{Batch, InstanceState};
use super::queue::{Queue, Ticket};
use super::return_wait::{EndedBatch, ReturnWait};
use super::run_time_model::RunTimeModel;
use super::thread_priority::{LONG_ROW, ThreadPriority};
use super::{Limits, Work};
use crate::stats::VersionStats;
use crate::{ErrorCode, InferError};

/// A runner thread that found no work for this long ends.
const RUNNER_IDLE: Duration = Duration::from_secs(10);
/// The shortest sleep of a runner: a time that has just passed must not make it spin.
const MIN_SLEEP: Duration = Duration::from_micros(1);

/// Owns the instances and runs batches on them.
pub(super) struct WorkerPool {
    /// The name of the version, for threads and messages.
    name: String,
    limits: Arc<Limits>,
    artifact: Arc<dyn LoadedArtifact>,
    /// Instances at the start, and the most runner threads.
    size: usize,
    admission: Arc<Admission>,
    run_times: Arc<RunTimeModel>,
    stats: Arc<VersionStats>,
    state: Mutex<State>,
    work_available: Condvar,
}

struct State {
    queue: Queue,
    idle: Vec<Box<dyn Instance>>,
    /// Instances in existence, idle or running.
    instances: usize,
    /// Runner threads in existence.
    runners: usize,
    /// Runner threads that sleep until there is work.
    sleeping_runners: usize,
    last_batch: Option<EndedBatch>,
    /// Queued rows that a sleeping runner waits for before it takes a batch.
    awaited_rows: Option<usize>,
    is_closed: bool,
}

/// How long a runner waits for more rows although it could run some.
struct WaitForRows {
    until: Instant,
    /// It looks again once as many rows are queued.
    rows: Option<usize>,
}

/// A request's place in the queue. Dropping it removes the request.
pub(super) struct QueuePlace<'a> {
    pool: &'a WorkerPool,
    /// `None` once the request is no longer queued.
    ticket: Option<Ticket>,
}

impl WorkerPool {
    pub(super) fn new(
        name: String,
        artifact: Arc<dyn LoadedArtifact>,
        instances: Vec<Box<dyn Instance>>,
        limits: Arc<Limits>,
        admission: Arc<Admission>,
        run_times: Arc<RunTimeModel>,
        stats: Arc<VersionStats>,
    ) -> Self {
        let size = instances.len();
        let state = State {
            queue: Queue::new(limits.levels),
            idle: instances,
            instances: size,
            runners: 0,
            sleeping_runners: 0,
            last_batch: None,
            awaited_rows: None,
            is_closed: false,
        };
        Self {
            name,
            limits,
            artifact,
            size,
            admission,
            run_times,
            stats,
            state: Mutex::new(state),
            work_available: Condvar::new(),
        }
    }

    /// The number of instances.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Requests that wait now.
    pub(super) fn queued(&self) -> usize {
        self.state.lock().queue.len()
    }

    /// Lets a request into the queue, or refuses it.
    pub(super) fn enqueue(
        self: &Arc<Self>,
        work: Work,
    ) -> Result<(QueuePlace<'_>, Response), InferError> {
        let mut state = self.state.lock();
        let has_idle_instance = !state.idle.is_empty();
        let admitted = self
            .admission
            .admit(&work, &state.queue, has_idle_instance)?;
        if let Admitted::InPlaceOf(tenant) = admitted
            && let Some(displaced) = state.queue.remove_latest(&tenant)
        {
            displaced.respond(Err(self.admission.displaced()));
        }
        let (request, response) = AcceptedWork::new(work);
        let place = QueuePlace {
            pool: self,
            ticket: Some(state.queue.push(request)),
        };
        self.wake_runner(state);
        Ok((place, response))
    }

    /// Queues requests that were accepted already.
    pub(super) fn enqueue_accepted(self: &Arc<Self>, requests: Vec<AcceptedWork>) {
        let mut state = self.state.lock();
        for request in requests {
            state.queue.push(request);
        }
        self.wake_runner(state);
    }

    /// An idle instance for [`run`](Self::run), if there is one.
    pub(super) fn take_idle_instance(&self) -> Option<Box<dyn Instance>> {
        self.state.lock().idle.pop()
    }

    /// Runs a batch, answers its requests and gives the instance back.
    pub(super) fn run(self: &Arc<Self>, mut instance: Box<dyn Instance>, batch: Batch) {
        let rows = batch.rows();
        let after = batch.run(&mut *instance, &self.limits, &self.run_times, &self.stats);
        let instance = match after {
            InstanceState::Usable => Some(instance),
            InstanceState::Panicked => self.replace(instance),
        };
        let mut state = self.state.lock();
        state.last_batch = Some(EndedBatch {
            at: Instant::now(),
            rows,
        });
        match instance {
            Some(instance) => state.idle.push(instance),
            None => state.remove_instance(),
        }
        if !state.queue.is_empty() {
            self.wake_runner(state);
        }
    }

    /// Runs what waits, then ends the threads.
    pub(super) fn close(&self) {
        self.state.lock().is_closed = true;
        // Every runner, because each of them has to end.
        self.work_available.notify_all();
    }

    /// Makes sure that a runner takes what waits, if an instance is free for it.
    fn wake_runner(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        if state.idle.is_empty() && state.instances > 0 {
            return; // The thread that gives an instance back looks at the queue.
        }
        if state.is_waiting_for_more_rows() {
            return; // The runner looks again when they are there, or after its short wait.
        }
        if state.sleeping_runners > 0 {
            // Without the lock: the runner would wake only to wait for it.
            drop(state);
            self.work_available.notify_one();
            return;
        }
        if state.runners >= self.size.max(1) {
            return; // All are busy, and look at the queue before they sleep.
        }
        state.runners += 1;
        drop(state);
        self.start_runner();
    }

    /// Starts a thread that is counted already.
    fn start_runner(self: &Arc<Self>) {
        let pool = self.clone();
        let started = std::thread::Builder::new()
            .name(format!("run {}", self.name))
            .spawn(move || pool.run_batches());
        let Err(cause) = started else {
            return;
        };
        error!(model = self.name, %cause, "cannot start a thread to run the model");
        let mut state = self.state.lock();
        state.runners -= 1;
        // Any other runner takes what waits.
        if state.runners == 0 {
            let message = "no thread could be started to run the model";
            state
                .queue
                .refuse_all(&InferError::new(ErrorCode::Internal, message));
        }
    }

    /// The life of a runner thread.
    fn run_batches(self: Arc<Self>) {
        let mut priority = ThreadPriority::default();
        while let Some((instance, batch)) = self.next_batch() {
            priority.lower_if(|| self.run_times.stays_above(LONG_ROW, batch.row_bytes()));
            self.run(instance, batch);
        }
    }

    /// Waits for a batch and an instance; `None` when the runner should end.
    fn next_batch(&self) -> Option<(Box<dyn Instance>, Batch)> {
        let mut state = self.state.lock();
        let idle_until = Instant::now() + RUNNER_IDLE;
        loop {
            let now = Instant::now();
            self.shed_late(&mut state.queue, now);
            state.awaited_rows = None;
            let mut wake_at = idle_until;
            if !state.queue.is_empty() && !state.idle.is_empty() {
                match self.wait_for_rows(&state, now) {
                    None => return Some(self.take_batch(&mut state)),
                    Some(wait) => {
                        wake_at = wait.until;
                        state.awaited_rows = wait.rows;
                    }
                }
            }
            if state.queue.is_empty() && (state.is_closed || now >= idle_until) {
                state.runners -= 1;
                return None;
            }
            state.sleeping_runners += 1;
            self.work_available
                .wait_until(&mut state, wake_at.max(now + MIN_SLEEP));
            state.sleeping_runners -= 1;
        }
    }

    fn shed_late(&self, queue: &mut Queue, now: Instant) {
        let mut check = self.admission.deadline_check(queue.rows(), now);
        queue.shed(|request| check.refusal(request));
    }

    /// Whether a runner that could run some requests should wait for more: for the configured
    /// delay, else for the clients of the last batch. Never once the pool is closed.
    fn wait_for_rows(&self, state: &State, now: Instant) -> Option<WaitForRows> {
        if state.is_closed {
            return None;
        }
        let wait = match state.queue.ready_at(&self.limits) {
            Some(until) => WaitForRows { until, rows: None },
            None => self.wait_for_returning_clients(state)?,
        };
        (wait.until > now).then_some(wait)
    }

    fn wait_for_returning_clients(&self, state: &State) -> Option<WaitForRows> {
        let last_batch = state.last_batch?;
        let wait = ReturnWait::after(last_batch, &state.queue, &self.limits, &self.run_times)?;
        Some(WaitForRows {
            until: wait.until,
            rows: Some(wait.rows),
        })
    }

    fn take_batch(&self, state: &mut State) -> (Box<dyn Instance>, Batch) {
        let instance = state.idle.pop().expect("an instance is idle");
        let requests = state.queue.take_batch(&self.limits, &self.run_times);
        (instance, Batch::new(requests))
    }

    /// A new instance for one that panicked, which may be in any state and is not used again.
    fn replace(&self, panicked: Box<dyn Instance>) -> Option<Box<dyn Instance>> {
        // Before the new one is made: there may be no memory for both.
        drop(panicked);
        warn!(model = self.name, "an instance panicked and is replaced");
        self.artifact
            .instance()
            .inspect_err(
                |cause| error!(model = self.name, %cause, "the instance could not be replaced"),
            )
            .ok()
    }

    #[cfg(test)]
    pub(super) fn runners(&self) -> usize {
        self.state.lock().runners
    }
}

impl State {
    /// Whether a sleeping runner waits for more rows than are queued.
    fn is_waiting_for_more_rows(&self) -> bool {
        self.awaited_rows
            .is_some_and(|awaited| self.queue.rows() < awaited)
    }

    /// Counts an instance out that could not be replaced.
    fn remove_instance(&mut self) {
        self.instances -= 1;
        if self.instances == 0 {
            let message = "the model has no instance left: the last one panicked";
            self.queue
                .refuse_all(&InferError::new(ErrorCode::ExecutionFailed, message));
        }
    }
}

impl QueuePlace<'_> {
    /// Says that the request is not queued any more, so that dropping takes no lock.
    pub(super) fn vacated(mut self) {
        self.ticket = None;
    }

    /// Removes the request. Whether it was still queued.
    pub(super) fn leave(mut self) -> bool {
        let ticket = self.ticket.take();
        ticket.is_some_and(|ticket| self.pool.state.lock().queue.remove(&ticket))
    }
}

impl Drop for QueuePlace<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = &self.ticket {
            self.pool.state.lock().queue.remove(ticket);
        }
    }
}
