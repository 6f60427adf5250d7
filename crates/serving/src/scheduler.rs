//! Who runs when: a bounded queue and the instances of one version.
//!
//! A request whose run is shorter than a thread hop runs on the thread that brought it, with what
//! else is ready there, if an instance is idle. Everything else joins the queue; runner threads,
//! started when there is work and gone when there is none for a while, take what waits as one
//! batch.

mod batch;
mod courtesy;
mod estimate;
mod here;
mod limits;
mod lobby;
mod queue;
mod work;

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use tidegate_core::{Tensor, TensorError};
use tidegate_engines::{Instance, LoadedArtifact};
use tokio::sync::oneshot;
use tracing::{error, warn};

use self::batch::Batch;
use self::courtesy::{Courtesy, LONG_ROW};
use self::estimate::RunTimes;
pub(crate) use self::limits::INLINE_RUN;
pub use self::limits::Limits;
use self::lobby::Lobbies;
use self::queue::{Job, Queue};
pub use self::work::{Completed, Timing, Work};
use crate::stats::VersionStats;
use crate::{ErrorCode, InferError};

/// Waits turn out longer than foreseen, answers take time to travel, and an answer that comes late
/// is worth nothing: so much of the foreseen wait is added to it before a request is let in.
const WAIT_MARGIN: f64 = 0.3;
/// An instance whose batch has just ended waits for those clients to come back, up to this share of
/// what their batch took ...
const RETURN_SHARE: u32 = 8;
/// ... and no longer than this.
const RETURN_AT_MOST: Duration = Duration::from_micros(300);
/// Fewer rows are not worth the wait: it was measured to cost as much as they gain.
const RETURN_ROWS: usize = 8;
/// A runner thread that found no work for this long ends.
const RUNNER_IDLE: Duration = Duration::from_secs(10);

/// The queue and the instances of one version. Dropping it finishes what waits and ends the
/// threads.
pub struct Scheduler {
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    limits: Limits,
    artifact: Arc<dyn LoadedArtifact>,
    instances: usize,
    may_run_inline: bool,
    lobbies: Lobbies,
    run_times: RunTimes,
    stats: Arc<VersionStats>,
    state: Mutex<State>,
    work: Condvar,
}

struct State {
    queue: Queue,
    idle: Vec<Box<dyn Instance>>,
    /// Instances in existence, idle or running.
    alive: usize,
    /// Runner threads in existence.
    runners: usize,
    /// Runner threads that wait for work.
    waiting: usize,
    /// When the last batch ended, and its rows.
    ended: Option<(Instant, usize)>,
    /// Rows that a runner waits for before it takes a batch.
    wanted: Option<usize>,
    closed: bool,
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
        let count = instances.len();
        let state = State {
            queue: Queue::new(limits.levels),
            idle: instances,
            alive: count,
            runners: 0,
            waiting: 0,
            ended: None,
            wanted: None,
            closed: false,
        };
        let shared = Shared {
            name,
            may_run_inline: limits.queue_delay.is_zero() && artifact.run_time_is_bounded(),
            // Threads of the runtime, and as many of other runtimes that may share the process.
            lobbies: Lobbies::new(2 * std::thread::available_parallelism().map_or(1, usize::from)),
            limits,
            artifact,
            instances: count,
            run_times: RunTimes::default(),
            stats,
            state: Mutex::new(state),
            work: Condvar::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Tells how long a run over inputs of so many bytes took, before the first request.
    pub(crate) fn learn(&self, bytes: usize, took: Duration) {
        self.shared.run_times.learn(bytes, took);
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// How many instances there are.
    pub fn instances(&self) -> usize {
        self.shared.instances
    }

    /// Tells, also once this is dropped, whether the instances are gone with their memory.
    pub(crate) fn gone(&self) -> impl Fn() -> bool + Send + use<> {
        let shared = Arc::downgrade(&self.shared);
        move || shared.strong_count() == 0
    }

    /// Requests that wait now.
    pub fn queued(&self) -> usize {
        self.shared.state.lock().queue.len()
    }

    /// Runs a request, alone or with others, and gives its own rows back in order. Dropping the
    /// future gives its place in the queue to the next.
    ///
    /// # Errors
    /// [`ErrorCode::QueueFull`], [`ErrorCode::DeadlineExceeded`], or what the engine says.
    pub async fn submit(&self, work: Work) -> Result<Completed, InferError> {
        match self.shared.limits.max_batch_rows {
            Some(most) if work.rows > most.get() => self.submit_split(work, most.get()).await,
            _ => self.submit_one(work).await,
        }
    }

    /// A request larger than the largest batch: parts that run here one after the other where all
    /// of them are short, or are queued together; joined in order.
    async fn submit_split(&self, work: Work, most: usize) -> Result<Completed, InferError> {
        let batches = work.rows.div_ceil(most);
        let may_wait = self.shared.limits.max_queue_requests;
        if batches > may_wait {
            // Not `queue_full`: it would never fit. Rows without elements come in any number,
            // whatever the body's size.
            let message = format!(
                "{} rows make {batches} batches of {most}, at most {may_wait} may wait",
                work.rows
            );
            return Err(InferError::new(ErrorCode::ShapeOverflow, message));
        }
        let parts = (0..work.rows).step_by(most).map(|first| {
            let rows = most.min(work.rows - first);
            let slice = |tensor: &Option<Tensor>| {
                tensor.as_ref().map(|tensor| tensor.slice_rows(first, rows))
            };
            Work {
                inputs: work.inputs.iter().map(slice).collect(),
                rows,
                ..work
            }
        });
        let mut completed = Vec::with_capacity(batches);
        if self.shared.is_short(batches, most * work.row_bytes()) {
            for part in parts {
                completed.push(self.submit_one(part).await?);
            }
        } else {
            for part in parts
                .map(|part| self.enqueue(part))
                .collect::<Result<Vec<_>, _>>()?
            {
                completed.push(part.answer().await?);
            }
        }
        join(&completed)
            .map_err(|error| InferError::new(ErrorCode::ExecutionFailed, error.to_string()))
    }

    async fn submit_one(&self, work: Work) -> Result<Completed, InferError> {
        if !self.shared.may_run_here(&work) {
            return self.enqueue(work)?.answer().await;
        }
        let deadline = work.deadline;
        let (job, answer) = Job::new(work);
        let lead = self
            .shared
            .lobbies
            .join(&self.shared, job)
            .map_err(|_| self.shared.queue_full())?;
        // Dropped after the answer's receiver: a leader whose client hangs up does not leave its
        // own request behind.
        let lead = async {
            if let Some(lead) = lead {
                lead.run().await;
            }
        };
        let lead = pin!(lead);
        let answer = answer;
        lead.await;
        in_time(answer, deadline)
            .await
            .unwrap_or_else(|| Err(unanswered_in_time()))
    }

    fn enqueue(&self, work: Work) -> Result<Queued, InferError> {
        let shared = &self.shared;
        let deadline = work.deadline;
        let mut state = shared.state.lock();
        if state.queue.len() >= shared.limits.max_queue_requests {
            return Err(shared.queue_full());
        }
        if let Some(deadline) = deadline {
            shared.reachable(&state, &work, deadline)?;
        }
        let (job, answer) = Job::new(work);
        let ticket = state.queue.push(job);
        shared.wake_runner(state);
        Ok(Queued {
            shared: shared.clone(),
            ticket: Some(ticket),
            deadline,
            answer,
        })
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.shared.state.lock().closed = true;
        self.shared.work.notify_all();
    }
}

/// The outputs of the parts of one request, joined in order.
fn join(parts: &[Completed]) -> Result<Completed, TensorError> {
    let outputs = parts.first().map_or(0, |part| part.outputs.len());
    let joined = (0..outputs).map(|output| {
        let slices: Vec<&Tensor> = parts.iter().map(|part| &part.outputs[output]).collect();
        Tensor::concat_rows(&slices)
    });
    let timing = parts
        .iter()
        .map(|part| part.timing)
        .reduce(Timing::join)
        .unwrap_or_default();
    Ok(Completed {
        outputs: joined.collect::<Result<_, _>>()?,
        timing,
    })
}

/// A request in the queue, or taken from it. Dropping it leaves the queue.
struct Queued {
    shared: Arc<Shared>,
    ticket: Option<queue::Ticket>,
    deadline: Option<Instant>,
    answer: oneshot::Receiver<Result<Completed, InferError>>,
}

impl Queued {
    async fn answer(mut self) -> Result<Completed, InferError> {
        let answer = in_time(&mut self.answer, self.deadline)
            .await
            .ok_or_else(unanswered_in_time)?;
        self.ticket = None;
        answer
    }
}

/// What a request is answered; `None` if its deadline passes before.
async fn in_time(
    answer: impl Future<Output = Result<Result<Completed, InferError>, oneshot::error::RecvError>>,
    deadline: Option<Instant>,
) -> Option<Result<Completed, InferError>> {
    let answer = match deadline {
        None => answer.await,
        Some(deadline) => tokio::time::timeout_at(deadline.into(), answer)
            .await
            .ok()?,
    };
    Some(answer.unwrap_or_else(|_| Err(runner_gone())))
}

fn unanswered_in_time() -> InferError {
    too_late("the deadline passed before the model answered")
}

impl Drop for Queued {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.shared.state.lock().queue.remove(ticket);
        }
    }
}

fn too_late(message: &'static str) -> InferError {
    InferError::new(ErrorCode::DeadlineExceeded, message)
}

fn runner_gone() -> InferError {
    InferError::new(
        ErrorCode::Internal,
        "the request was dropped by the scheduler",
    )
}

impl Shared {
    /// Leaves requests that were accepted already to the runners.
    fn queue(self: &Arc<Self>, jobs: Vec<Job>) {
        let mut state = self.state.lock();
        for job in jobs {
            state.queue.push(job);
        }
        self.wake_runner(state);
    }

    fn queue_full(&self) -> InferError {
        let most = self.limits.max_queue_requests;
        InferError::new(
            ErrorCode::QueueFull,
            format!(
                "{most} requests wait for {}, as many as may wait",
                self.name
            ),
        )
    }

    /// Refuses at once what cannot be answered in time, so that the client hears it while there is
    /// time to act.
    fn reachable(&self, state: &State, work: &Work, deadline: Instant) -> Result<(), InferError> {
        let now = Instant::now();
        if deadline <= now {
            return Err(too_late(
                "the deadline passed before the request was queued",
            ));
        }
        let ahead = state.queue.rows_before(work.level);
        if ahead == 0 && !state.idle.is_empty() {
            return Ok(());
        }
        let Some((batch, run)) = self.batch(work, ahead) else {
            return Ok(());
        };
        // The instances are half way through their runs, on average, and share what is ahead.
        let batches = 0.5 + ahead as f64 / (batch * self.instances.max(1)) as f64;
        let wait = run.mul_f64(batches);
        if now + wait.mul_f64(1.0 + WAIT_MARGIN) + run <= deadline {
            return Ok(());
        }
        Err(InferError::new(
            ErrorCode::DeadlineExceeded,
            format!(
                "{} requests are ahead, the answer would take {:.1} ms, the deadline is in {:.1} ms",
                state.queue.len(),
                (wait + run).as_secs_f64() * 1e3,
                (deadline - now).as_secs_f64() * 1e3,
            ),
        ))
    }

    /// The rows of the batch that a request would run in, with so many rows that wait beside it,
    /// and its expected time.
    fn batch(&self, work: &Work, waiting: usize) -> Option<(usize, Duration)> {
        let most = self.limits.most_rows();
        let row_bytes = work.row_bytes();
        let efficient = self.run_times.efficient_rows(row_bytes, most);
        let rows = (waiting + work.rows).min(efficient).max(work.rows);
        Some((rows, self.run_times.expected(row_bytes * rows)?))
    }

    /// Sees to it that a runner takes what waits, if an instance is free for it.
    fn wake_runner(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        if state.idle.is_empty() && state.alive > 0 {
            return; // Whoever gives an instance back looks at the queue.
        }
        if state
            .wanted
            .is_some_and(|wanted| state.queue.rows() < wanted)
        {
            return; // A runner looks again when as many are there, or in a moment.
        }
        if state.waiting > 0 {
            drop(state);
            self.work.notify_one();
            return;
        }
        if state.runners >= self.instances.max(1) {
            return;
        }
        state.runners += 1;
        drop(state);
        let shared = self.clone();
        let spawned = std::thread::Builder::new()
            .name(format!("run {}", self.name))
            .spawn(move || shared.runner());
        if let Err(cause) = spawned {
            error!(model = self.name, %cause, "no thread could be started to run the model");
            let mut state = self.state.lock();
            state.runners -= 1;
            if state.runners == 0 {
                let refused = InferError::new(
                    ErrorCode::Internal,
                    "no thread could be started to run the model",
                );
                state.queue.refuse_all(&refused);
            }
        }
    }

    /// The life of a runner thread.
    fn runner(self: Arc<Self>) {
        let mut courtesy = Courtesy::default();
        while let Some((instance, batch)) = self.next_batch() {
            courtesy.consider(|| self.run_times.stays_above(LONG_ROW, batch.row_bytes()));
            self.run(instance, batch);
        }
    }

    /// Waits for a batch and an instance; `None` when the runner should end.
    fn next_batch(&self) -> Option<(Box<dyn Instance>, Batch)> {
        let mut state = self.state.lock();
        let idle_until = Instant::now() + RUNNER_IDLE;
        loop {
            let now = Instant::now();
            let State {
                queue,
                idle,
                closed,
                ended,
                wanted,
                ..
            } = &mut *state;
            self.shed(queue, now);
            *wanted = None;
            let mut wait_until = idle_until;
            if !idle.is_empty() && !queue.is_empty() {
                let ready = queue.ready_at(&self.limits);
                let returning = if ready.is_none() {
                    self.returning(queue, *ended)
                } else {
                    None
                };
                match ready.or(returning.map(|(until, _)| until)) {
                    Some(ready) if ready > now && !*closed => {
                        wait_until = ready;
                        *wanted = returning.map(|(_, rows)| rows);
                    }
                    _ => {
                        let instance = idle.pop().expect("there is an idle instance");
                        let jobs = queue.take(&self.limits, &self.run_times);
                        return Some((instance, Batch::new(jobs)));
                    }
                }
            }
            let done = queue.is_empty() && (*closed || now >= idle_until);
            if done {
                state.runners -= 1;
                return None;
            }
            state.waiting += 1;
            self.work
                .wait_until(&mut state, wait_until.max(now + Duration::from_micros(1)));
            state.waiting -= 1;
        }
    }

    /// Until when, and for how many rows, an instance waits for the clients of the batch that has
    /// just ended: what they ask next makes a larger batch, whose rows are cheaper. `None` where no
    /// more rows would pay, or as many are there.
    fn returning(
        &self,
        queue: &Queue,
        ended: Option<(Instant, usize)>,
    ) -> Option<(Instant, usize)> {
        let (ended, rows) = ended?;
        let row_bytes = queue.head()?.work.row_bytes();
        let wanted = self
            .run_times
            .efficient_rows(row_bytes, self.limits.most_rows())
            .min(rows);
        if wanted < RETURN_ROWS || queue.rows() >= wanted {
            return None;
        }
        let run = self.run_times.expected(row_bytes * rows)?;
        Some((ended + (run / RETURN_SHARE).min(RETURN_AT_MOST), wanted))
    }

    /// Drops what nobody waits for and refuses what can no longer be in time.
    fn shed(&self, queue: &mut Queue, now: Instant) {
        let waiting = queue.rows();
        queue.shed(self.late(waiting, now));
    }

    /// Why a request should not run, with so many rows that wait, its own among them: its deadline
    /// would pass before it is answered. Requests are much alike: what one of them is expected to
    /// take is not worked out for the next.
    fn late(&self, waiting: usize, now: Instant) -> impl FnMut(&Job) -> Option<InferError> {
        let mut last = None;
        move |job| {
            let deadline = job.work.deadline?;
            let size = (job.work.rows, job.work.row_bytes());
            let expected = match last {
                Some((known, expected)) if known == size => expected,
                _ => {
                    self.batch(&job.work, waiting.saturating_sub(job.work.rows))
                        .unwrap_or_default()
                        .1
                }
            };
            last = Some((size, expected));
            if now + expected <= deadline {
                return None;
            }
            if deadline > now {
                // Shed on a guess alone: let the guess shrink, or a single slow run would shed for
                // ever.
                self.run_times.doubt(job.work.bytes());
                last = None;
            }
            Some(too_late("the deadline would pass before the model answers"))
        }
    }

    /// Runs a batch, answers its requests and gives the instance back.
    fn run(self: &Arc<Self>, mut instance: Box<dyn Instance>, batch: Batch) {
        let batched = self.limits.max_batch_rows.is_some();
        let rows = batch.rows();
        let outcome = batch.run(&mut *instance, batched, &self.run_times, &self.stats);
        let instance = match outcome {
            batch::Outcome::Sound => Some(instance),
            batch::Outcome::Panicked => self.replace(instance),
        };
        let mut state = self.state.lock();
        state.ended = Some((Instant::now(), rows));
        match instance {
            Some(instance) => state.idle.push(instance),
            None => {
                state.alive -= 1;
                if state.alive == 0 {
                    let refused = InferError::new(
                        ErrorCode::ExecutionFailed,
                        "the model's last instance is gone",
                    );
                    state.queue.refuse_all(&refused);
                }
            }
        }
        if !state.queue.is_empty() {
            self.wake_runner(state);
        }
    }

    /// An instance that panicked may be in any state: it is not used again.
    fn replace(&self, panicked: Box<dyn Instance>) -> Option<Box<dyn Instance>> {
        drop(panicked);
        warn!(model = self.name, "an instance panicked and is replaced");
        match self.artifact.instance() {
            Ok(instance) => Some(instance),
            Err(cause) => {
                error!(model = self.name, %cause, "the instance could not be replaced");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
