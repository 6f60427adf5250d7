//! Short runs on the thread that serves the connection.
//!
//! ```text
//! event loop of one thread
//! ├─ request A arrives: joins the pending batch, leads, yields once ──┐
//! ├─ request B arrives: joins                                         │ one turn
//! ├─ request C arrives: joins                                         │
//! ├─ leader: take A, B, C ─► shed late ─► idle instance ─► run ◄──────┘
//! │            │                 │
//! │            │                 └ none for some turns ──► queue of the worker pool
//! │            └ a batch that is much cheaper, but long ─► queue of the worker pool
//! └─ next turn: what there was no time for
//! ```
//!
//! A run of some microseconds is not worth a hop to another thread and back. But requests that are
//! ready in the same turn of an event loop are worth one run together: a batch costs little more
//! than a row. So the first of them leads: it lets the thread poll what else is ready, once, and
//! then runs all that joined. Where nobody ever joins, it does not wait either.
//!
//! Requests stay on the thread if at all possible. Once handed to runner threads, short runs keep
//! these busy, and they contend with the event loops for processors.
//!
//! Invariants:
//! - Only runs that were seen to be short, now and over many runs, are inline. Graphs with loops
//!   never are: their time does not follow from the size of their inputs.
//! - One turn takes about [`Limits::inline_run`]: after that, no new run starts in it.
//! - A leader that is dropped leaves the requests of others to the queue; none is lost.
//! - Pending requests of one thread are bounded like the queue, and tenants share its places alike.

mod pending_batch;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use self::pending_batch::{Leadership, PendingBatchFull, PendingBatches};
use super::accepted_work::AcceptedWork;
use super::admission::Admission;
use super::batch::Batch;
use super::queue::shed;
use super::run_time_model::RunTimeModel;
use super::worker_pool::WorkerPool;
use super::{Limits, Work, fair_share};
use crate::InferError;

/// After so many turns in a row without an idle instance, requests are left to the runners. Fewer
/// would put them there whenever another event loop has the instance for a moment.
const MAX_TURNS_WITHOUT_RUN: u32 = 4;

/// Runs short requests inline, as one batch for each turn of an event loop.
pub(super) struct InlineBatcher {
    /// Whether this version may ever run inline.
    is_allowed: bool,
    limits: Arc<Limits>,
    admission: Arc<Admission>,
    run_times: Arc<RunTimeModel>,
    pool: Arc<WorkerPool>,
    pending: PendingBatches,
}

/// The request that runs a pending batch. If it is dropped before, as when its client hangs up, the
/// others are left to the queue.
pub(super) struct BatchLeader {
    batcher: Arc<InlineBatcher>,
    slot: usize,
    expects_others: bool,
    /// Turns in a row in which nothing could run.
    turns_without_run: u32,
    is_done: bool,
}

impl InlineBatcher {
    pub(super) fn new(
        run_time_is_bounded: bool,
        limits: Arc<Limits>,
        admission: Arc<Admission>,
        run_times: Arc<RunTimeModel>,
        pool: Arc<WorkerPool>,
    ) -> Self {
        // Threads of the runtime, and as many of other runtimes that may share the process.
        let slots = 2 * std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            // A delay asks for batches that are larger than what one turn of the loop brings.
            is_allowed: limits.queue_delay.is_zero() && run_time_is_bounded,
            limits,
            admission,
            run_times,
            pool,
            pending: PendingBatches::new(slots),
        }
    }

    /// Whether a request should run on the thread that it arrived on. Not if some wait already:
    /// they would be overtaken.
    pub(super) fn takes(&self, work: &Work) -> bool {
        self.is_allowed
            && work
                .deadline
                .is_none_or(|deadline| deadline > Instant::now())
            && self
                .run_times
                .stays_below(self.limits.inline_run, work.bytes())
            && self.pool.queued() == 0
    }

    /// Whether so many runs over inputs of so many bytes are short even one after the other.
    pub(super) fn takes_all(&self, runs: usize, bytes: usize) -> bool {
        let limit_each = self.limits.inline_run / u32::try_from(runs).unwrap_or(u32::MAX);
        self.is_allowed && self.run_times.stays_below(limit_each, bytes)
    }

    /// Adds a request to the pending batch of the calling thread. The first one becomes its leader
    /// and must run it.
    pub(super) fn join(
        self: &Arc<Self>,
        request: AcceptedWork,
    ) -> Result<Option<BatchLeader>, InferError> {
        let joined = self.pending.join(request, self.limits.max_queue_requests);
        let joined = joined.map_err(|PendingBatchFull| self.admission.queue_full())?;
        if let Some(displaced) = joined.displaced {
            displaced.respond(Err(self.admission.displaced()));
        }
        let leadership = joined.leadership;
        Ok(leadership.map(|leadership| BatchLeader::new(self.clone(), &leadership)))
    }

    /// Runs requests on this thread, the most urgent first, as long as an instance is idle and all
    /// of it stays short. Gives the rest back.
    fn run_inline(&self, requests: Vec<AcceptedWork>) -> Vec<AcceptedWork> {
        let began = Instant::now();
        let mut waiting = self.shed_late(requests, began);
        if self.is_worth_handover(&waiting) {
            self.pool.enqueue_accepted(waiting);
            return Vec::new();
        }
        fair_share::sort(&mut waiting);
        let mut is_first = true;
        // One batch always runs: a turn that spent its time on the checks above would else make no
        // progress. A run that has begun cannot be stopped, so time is checked between runs.
        while !waiting.is_empty() && (is_first || began.elapsed() < self.limits.inline_run) {
            is_first = false;
            let Some(instance) = self.pool.take_idle_instance() else {
                break;
            };
            let batch = self.take_short_batch(&mut waiting);
            self.pool.run(instance, Batch::new(batch));
        }
        waiting
    }

    fn shed_late(&self, requests: Vec<AcceptedWork>, now: Instant) -> Vec<AcceptedWork> {
        // Most turns have neither deadlines nor clients that hung up, and need no estimates.
        if !requests.iter().any(may_be_shed) {
            return requests;
        }
        let rows = requests.iter().map(|request| request.work.rows).sum();
        let mut check = self.admission.deadline_check(rows, now);
        let mut requests = VecDeque::from(requests);
        shed(&mut requests, |request| check.refusal(request));
        Vec::from(requests)
    }

    /// Whether rows are much cheaper in a batch that is too long for this thread.
    fn is_worth_handover(&self, waiting: &[AcceptedWork]) -> bool {
        let [first, others @ ..] = waiting else {
            return false;
        };
        // Alone, a request gets no larger batch from a runner thread either.
        if others.is_empty() {
            return false;
        }
        let inline_limit = self.limits.inline_run;
        let rows_beside = others.iter().map(|request| request.work.rows).sum();
        let Some(batch) = self.admission.expected_batch(&first.work, rows_beside) else {
            return false;
        };
        let row_bytes = first.work.row_bytes();
        batch.run_time > inline_limit
            && self
                .run_times
                .is_worth_handover(row_bytes, batch.rows, inline_limit)
    }

    /// Takes the first request and those that can run with it, up to the largest batch that is
    /// short.
    fn take_short_batch(&self, waiting: &mut Vec<AcceptedWork>) -> Vec<AcceptedWork> {
        // By far the most frequent case, and this one allocates nothing.
        if waiting.len() == 1 {
            return std::mem::take(waiting);
        }
        let (mut rows, mut bytes) = (0, 0);
        let mut batch: Vec<AcceptedWork> = Vec::with_capacity(waiting.len());
        let mut rest = Vec::new();
        for request in waiting.drain(..) {
            let rows_with = rows + request.work.rows;
            let bytes_with = bytes + request.work.bytes();
            let joins = match batch.first() {
                None => true,
                Some(first) => {
                    first.can_share_run_with(&request)
                        && rows_with <= self.limits.max_rows()
                        && self.is_expected_short(bytes_with)
                }
            };
            if joins {
                (rows, bytes) = (rows_with, bytes_with);
                batch.push(request);
            } else {
                rest.push(request);
            }
        }
        *waiting = rest;
        batch
    }

    fn is_expected_short(&self, bytes: usize) -> bool {
        let expected = self.run_times.expected(bytes);
        expected.is_none_or(|run| run <= self.limits.inline_run)
    }
}

fn may_be_shed(request: &AcceptedWork) -> bool {
    request.work.deadline.is_some() || request.is_abandoned()
}

impl BatchLeader {
    fn new(batcher: Arc<InlineBatcher>, leadership: &Leadership) -> Self {
        Self {
            batcher,
            slot: leadership.slot,
            expects_others: leadership.expects_others,
            turns_without_run: 0,
            is_done: false,
        }
    }

    /// Lets the thread poll once for what else is ready, and runs what has joined.
    pub(super) async fn run_first_turn(&mut self) {
        if self.expects_others {
            tokio::task::yield_now().await;
        }
        self.run_turn();
    }

    /// Leaves what the first turn could not run to a task of its own: the leader's own answer must
    /// not wait for those of others, which may come without end.
    pub(super) fn finish(mut self) {
        if !self.is_done {
            tokio::spawn(async move {
                while !self.is_done {
                    tokio::task::yield_now().await;
                    self.run_turn();
                }
            });
        }
    }

    /// Runs as much as the thread has time for.
    fn run_turn(&mut self) {
        let batcher = &self.batcher;
        let requests = batcher.pending.take(self.slot);
        let before = requests.len();
        let left = batcher.run_inline(requests);
        self.turns_without_run = if left.len() < before {
            0
        } else {
            self.turns_without_run + 1
        };
        self.is_done = if left.is_empty() {
            true
        } else if self.turns_without_run >= MAX_TURNS_WITHOUT_RUN {
            batcher.pool.enqueue_accepted(left);
            true
        } else {
            !batcher.pending.put_back(self.slot, left)
        };
    }
}

impl Drop for BatchLeader {
    fn drop(&mut self) {
        if !self.is_done {
            let stranded = self.batcher.pending.take(self.slot);
            self.batcher.pool.enqueue_accepted(stranded);
        }
    }
}
