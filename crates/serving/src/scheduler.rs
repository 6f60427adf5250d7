//! Who runs when: admission, batching and the instances of one version.
//!
//! ```text
//!                  Scheduler::submit(Work)
//!                            │ larger than a batch: in parts
//!                 ┌──────────┴───────────┐
//!   short, nobody │                      │ everything else
//!   waits         ▼                      ▼
//!          InlineBatcher             Admission ── queue_full, deadline_exceeded
//!          one batch for each turn       │
//!          of the event loop             ▼
//!                 │            ┌──── WorkerPool ────┐
//!                 │            │ Queue ─► runner    │
//!                 │            │          threads   │
//!                 └──────────► │ idle instances     │
//!              takes one       └─────────┬──────────┘
//!                 │                      │ takes a batch and an instance
//!                 └──────────┬───────────┘
//!                            ▼
//!                  Batch::run on an Instance ──► RunTimeModel learns
//!                            │
//!                            ▼
//!                 WorkHandle::outcome: Completed
//! ```
//!
//! - A run that is shorter than a hop to another thread and back stays on the thread that brought
//!   the request, together with what else is ready there.
//! - Everything else joins a bounded queue. Runner threads take what waits as one batch: as many
//!   rows as make rows cheaper, by the measured run times.
//! - Nothing waits that cannot be in time.
//! - Tenants take turns by their weights, whoever sends most ([`Queue`](queue::Queue)).
//!
//! There is one type of accepted work, [`AcceptedWork`], and one way to wait for it, [`WorkHandle`];
//! whether it runs inline or was queued is decided in [`Scheduler::accept`] alone. Each part has its
//! invariants in its own file.

mod accepted_work;
mod admission;
mod batch;
mod batch_contract;
mod fair_share;
mod inline_batcher;
mod limits;
mod queue;
mod return_wait;
mod run_time_model;
mod thread_priority;
mod work;
mod work_handle;
mod worker_pool;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_engines::{Instance, LoadedArtifact};

use self::accepted_work::AcceptedWork;
use self::admission::Admission;
pub use self::batch_contract::BatchContract;
use self::inline_batcher::InlineBatcher;
pub(crate) use self::limits::INLINE_RUN;
pub use self::limits::Limits;
use self::run_time_model::RunTimeModel;
pub(crate) use self::thread_priority::lower_priority as lower_thread_priority;
use self::work::CompletedParts;
pub use self::work::{Completed, Timing, Work};
use self::work_handle::WorkHandle;
use self::worker_pool::WorkerPool;
use crate::stats::VersionStats;
use crate::{ErrorCode, InferError};

/// Most parts of one large request that wait at the same time: enough for every instance, and a
/// bounded share of the queue.
const MOST_WAITING_PARTS: usize = 64;

/// The queue and the instances of one version. Dropping it runs what waits and ends the threads.
pub struct Scheduler {
    limits: Arc<Limits>,
    admission: Arc<Admission>,
    run_times: Arc<RunTimeModel>,
    /// As measured before the first request, when nothing else ran on the instance.
    idle_run_times: RunTimeModel,
    inline: Arc<InlineBatcher>,
    pool: Arc<WorkerPool>,
}

/// A part of a large request in the queue.
struct WaitingPart<'a> {
    work: Work,
    /// Until it has ended.
    handle: Option<WorkHandle<'a>>,
    /// How it ended, until somebody asks.
    ended: Option<Result<Completed, InferError>>,
}

impl<'a> WaitingPart<'a> {
    fn new(work: Work, handle: WorkHandle<'a>) -> Self {
        Self {
            work,
            handle: Some(handle),
            ended: None,
        }
    }

    /// Waits until it ends, and leaves its outcome here.
    async fn end(&mut self) {
        if let Some(handle) = self.handle.take() {
            self.ended = Some(handle.outcome().await);
        }
    }

    async fn outcome(&mut self) -> Result<Completed, InferError> {
        self.end().await;
        self.ended.take().expect("it has ended")
    }

    /// Gives it up. Whether it has run, or may.
    fn give_up(self) -> bool {
        match (self.handle, self.ended) {
            (Some(handle), _) => handle.give_up(),
            (None, Some(Err(error))) => error.has_run,
            (None, ended) => ended.is_some(),
        }
    }
}

/// The time that a client gave, and the size of its inputs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AllowedTime {
    time: Duration,
    bytes: usize,
}

impl AllowedTime {
    /// Of a request that arrived at a moment; `None` if it has no deadline.
    pub(crate) fn of(work: &Work, arrived: Instant) -> Option<Self> {
        let time = work.deadline?.saturating_duration_since(arrived);
        let bytes = work.bytes();
        Some(Self { time, bytes })
    }
}

impl Scheduler {
    /// A scheduler over instances that are warm. `name` is for threads and messages.
    pub(crate) fn new(
        name: String,
        limits: Limits,
        artifact: Arc<dyn LoadedArtifact>,
        instances: Vec<Box<dyn Instance>>,
        stats: Arc<VersionStats>,
    ) -> Self {
        let run_time_is_bounded = artifact.run_time_is_bounded();
        let limits = Arc::new(limits);
        let run_times = Arc::new(RunTimeModel::default());
        let admission = Arc::new(Admission::new(
            name.clone(),
            limits.clone(),
            instances.len(),
            run_times.clone(),
        ));
        let pool = Arc::new(WorkerPool::new(
            name,
            artifact,
            instances,
            limits.clone(),
            admission.clone(),
            run_times.clone(),
            stats,
        ));
        let inline = Arc::new(InlineBatcher::new(
            run_time_is_bounded,
            limits.clone(),
            admission.clone(),
            run_times.clone(),
            pool.clone(),
        ));
        Self {
            limits,
            admission,
            run_times,
            idle_run_times: RunTimeModel::default(),
            inline,
            pool,
        }
    }

    /// Whether requests wait for an instance.
    pub(crate) fn has_waiting(&self) -> bool {
        self.pool.queued() > 0
    }

    /// Whose fault a deadline is that was not met: a client that allows less time than a run takes
    /// where nothing else runs would never be answered.
    pub(crate) fn explain_deadline(
        &self,
        error: InferError,
        allowed: Option<AllowedTime>,
    ) -> InferError {
        let Some(AllowedTime { time, bytes }) = allowed else {
            return error;
        };
        // Times under load would blame the client for a deadline that only other requests made too
        // short.
        let run_time = self.idle_run_times.expected(bytes);
        match run_time.filter(|run_time| time < *run_time) {
            Some(run_time) if error.code == ErrorCode::DeadlineExceeded => {
                let message = format!(
                    "the deadline of {:.3} ms is shorter than a run, which takes about {:.3} ms",
                    time.as_secs_f64() * 1e3,
                    run_time.as_secs_f64() * 1e3,
                );
                InferError {
                    has_run: error.has_run,
                    ..InferError::new(ErrorCode::DeadlineTooShort, message)
                }
            }
            _ => error,
        }
    }

    /// Runs a request, alone or with others, and gives its own rows back in order. Dropping the
    /// future gives the request up and frees its place in the queue.
    ///
    /// # Errors
    /// [`ErrorCode::QueueFull`], [`ErrorCode::DeadlineExceeded`], [`ErrorCode::ShapeOverflow`] for
    /// more rows without elements than are run, or the error of the engine.
    pub async fn submit(&self, work: Work) -> Result<Completed, InferError> {
        match self.limits.batch_rows() {
            Some(max_rows) if work.rows > max_rows.get() && !work.runs_alone => {
                // Boxed: other requests need not carry the place for it.
                let parts = Box::pin(self.submit_parts(&work, max_rows.get())).await;
                if self.limits.contract.holds() {
                    return parts;
                }
                // Meanwhile rows turned out to depend on each other, so parts make no answer.
                let whole = self.run_whole(work).await;
                match parts.map_or_else(|error| error.has_run, |_| true) {
                    true => whole.map_err(InferError::after_run),
                    false => whole,
                }
            }
            _ => self.run_whole(work).await,
        }
    }

    async fn run_whole(&self, work: Work) -> Result<Completed, InferError> {
        self.accept(work)?.outcome().await
    }

    /// Runs a request that is larger than the largest batch in parts: inline one after the other
    /// where all of them together are short, else in the queue, in which some of them wait at a time.
    async fn submit_parts(&self, work: &Work, max_rows: usize) -> Result<Completed, InferError> {
        let parts = self.admission.check_parts(work, max_rows)?;
        let mut completed = CompletedParts::default();
        let mut waiting = VecDeque::new();
        let ran = if self.inline.takes_all(parts, max_rows * work.row_bytes()) {
            self.run_inline(work, max_rows, &mut completed).await
        } else {
            self.run_queued(work, max_rows, &mut completed, &mut waiting)
                .await
        };
        match ran {
            Ok(()) => completed.join().map_err(InferError::after_run),
            // One part may find no place after others have run.
            Err(error) => {
                let mut waiting = waiting.into_iter();
                match !completed.is_empty() || waiting.any(WaitingPart::give_up) {
                    true => Err(error.after_run()),
                    false => Err(error),
                }
            }
        }
    }

    async fn run_inline(
        &self,
        work: &Work,
        max_rows: usize,
        completed: &mut CompletedParts,
    ) -> Result<(), InferError> {
        for number in 0..work.rows.div_ceil(max_rows) {
            let part = match self.run_whole(work.part(number, max_rows)).await {
                // There is no place on its thread, or it had to give way to another tenant.
                Err(error) if error.code == ErrorCode::QueueFull => {
                    let work = work.part(number, max_rows);
                    let handle = self.enqueue(work.share())?;
                    let part = WaitingPart::new(work, handle);
                    self.next(&mut VecDeque::from([part])).await?
                }
                outcome => outcome?,
            };
            completed.push(part)?;
        }
        Ok(())
    }

    async fn run_queued<'a>(
        &'a self,
        work: &Work,
        max_rows: usize,
        completed: &mut CompletedParts,
        waiting: &mut VecDeque<WaitingPart<'a>>,
    ) -> Result<(), InferError> {
        let most_waiting = MOST_WAITING_PARTS.min(self.limits.max_queue_requests);
        for work in work.split(max_rows) {
            if waiting.len() >= most_waiting {
                completed.push(self.next(waiting).await?)?;
            }
            let handle = loop {
                match self.enqueue(work.share()) {
                    // Others took the place that one of its own parts had. It gets one of its own.
                    Err(error) if error.code == ErrorCode::QueueFull && !waiting.is_empty() => {
                        completed.push(self.next(waiting).await?)?;
                    }
                    other => break other?,
                }
            };
            // The work is kept: a part that must give its place to another tenant is queued again.
            waiting.push_back(WaitingPart::new(work, handle));
        }
        while !waiting.is_empty() {
            completed.push(self.next(waiting).await?)?;
        }
        Ok(())
    }

    /// The outcome of the part that has waited longest. If it had to give way to another tenant, it waits
    /// again: what ran of the request before is not lost.
    async fn next<'a>(
        &'a self,
        waiting: &mut VecDeque<WaitingPart<'a>>,
    ) -> Result<Completed, InferError> {
        let mut part = waiting.pop_front().expect("a part waits");
        loop {
            match part.outcome().await {
                Err(error) if error.code == ErrorCode::QueueFull => {
                    part.handle = Some(self.wait_again(&part.work, waiting).await?);
                }
                outcome => return outcome,
            }
        }
    }

    /// A place in the queue for a part that had to give way: if there is none now, as soon as a later
    /// part of the same request has left its own.
    async fn wait_again<'a>(
        &'a self,
        work: &Work,
        later: &mut VecDeque<WaitingPart<'a>>,
    ) -> Result<WorkHandle<'a>, InferError> {
        for part in later {
            match self.enqueue(work.share()) {
                Err(error) if error.code == ErrorCode::QueueFull => part.end().await,
                handle => return handle,
            }
        }
        self.enqueue(work.share())
    }

    /// Lets a request in, inline where that is cheaper than a hop to another thread, or refuses it.
    fn accept(&self, work: Work) -> Result<WorkHandle<'_>, InferError> {
        if self.inline.takes(&work) {
            self.join_inline(work)
        } else {
            self.enqueue(work)
        }
    }

    fn join_inline(&self, work: Work) -> Result<WorkHandle<'_>, InferError> {
        let (request, response) = AcceptedWork::new(work);
        let leader = self.inline.join(request)?;
        Ok(WorkHandle::inline(response, leader))
    }

    fn enqueue(&self, work: Work) -> Result<WorkHandle<'_>, InferError> {
        let (place, response) = self.pool.enqueue(work)?;
        Ok(WorkHandle::queued(response, place))
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The number of instances.
    pub fn instances(&self) -> usize {
        self.pool.size()
    }

    /// Requests that wait now.
    pub fn queued(&self) -> usize {
        self.pool.queued()
    }

    /// Adds a run time that was measured before the first request.
    pub(crate) fn learn(&self, bytes: usize, run_time: Duration) {
        self.run_times.learn(bytes, run_time);
        self.idle_run_times.learn(bytes, run_time);
    }

    /// A test, which may outlive the scheduler, of whether the instances are gone with their memory.
    pub(crate) fn gone(&self) -> impl Fn() -> bool + Send + use<> {
        let pool = Arc::downgrade(&self.pool);
        move || pool.strong_count() == 0
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        // Runner threads hold the pool: without this, its memory would stay until they have been
        // idle for long enough to end.
        self.pool.close();
    }
}

#[cfg(test)]
mod tests;
