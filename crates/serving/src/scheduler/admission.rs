//! Which requests are let in, and which are shed before they run.
//!
//! ```text
//!             check_parts      admit                           DeadlineCheck
//! Work ──────► fits into ────► queue has a place, ───► waits ────► can still be ───► runs
//!              the queue?      deadline can be met?                in time?
//!                 │                │                                  │
//!                 ▼                ▼                                  ▼
//!            shape_overflow   queue_full, deadline_exceeded      deadline_exceeded
//! ```
//!
//! A request that cannot be in time is refused at once: its client knows while there is time
//! to act, and no instance works for an answer that nobody can use.
//!
//! Invariants: admission only decides, it holds no request and no lock. It decides by estimates, and
//! lets in what it knows nothing about. A request that an estimate shed lowers that estimate, so that
//! none sheds for ever.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::accepted_work::AcceptedWork;
use super::queue::Queue;
use super::run_time_model::RunTimeModel;
use super::{Limits, Work};
use crate::{ErrorCode, InferError};

/// This share of the expected wait is added to it before a request is let in: waits turn out longer
/// than expected, answers take time to travel, and an answer that comes late is worth nothing.
const WAIT_MARGIN: f64 = 0.3;
/// The part of a run that is left, on average, of those under way when a request comes.
const RUN_UNDER_WAY: f64 = 0.5;

/// Decides which requests of one version may wait and run.
pub(super) struct Admission {
    /// The name of the version, for messages.
    name: String,
    limits: Arc<Limits>,
    instances: usize,
    run_times: Arc<RunTimeModel>,
}

/// How a request comes into the queue.
pub(super) enum Admitted {
    ToFreePlace,
    /// In place of the latest request of this tenant.
    InPlaceOf(Option<Arc<str>>),
}

/// The batch that a request is expected to run in.
pub(super) struct ExpectedBatch {
    pub(super) rows: usize,
    pub(super) run_time: Duration,
}

/// Finds waiting requests that can no longer be answered in time.
pub(super) struct DeadlineCheck<'a> {
    admission: &'a Admission,
    now: Instant,
    waiting_rows: usize,
    /// The rows and bytes a row of the last request, and its expected run. Requests are much alike:
    /// what was estimated for one of them mostly serves for the next.
    last_estimate: Option<((usize, usize), Duration)>,
}

impl Admission {
    pub(super) fn new(
        name: String,
        limits: Arc<Limits>,
        instances: usize,
        run_times: Arc<RunTimeModel>,
    ) -> Self {
        Self {
            name,
            limits,
            // The waiting rows are divided by it.
            instances: instances.max(1),
            run_times,
        }
    }

    /// The number of parts of `max_rows` rows that a request is cut into. Refuses one of more rows
    /// without elements than the queue has places.
    ///
    /// Rows with elements are bounded by the size of their request. This is not `queue_full`, because
    /// trying again never helps.
    pub(super) fn check_parts(&self, work: &Work, max_rows: usize) -> Result<usize, InferError> {
        let rows = work.rows;
        let parts = rows.div_ceil(max_rows);
        let max_parts = self.limits.max_queue_requests;
        if parts <= max_parts || work.row_bytes() > 0 {
            return Ok(parts);
        }
        let message = format!(
            "{rows} rows without elements make {parts} batches of {max_rows}, the maximum is {max_parts}"
        );
        Err(InferError::new(ErrorCode::ShapeOverflow, message))
    }

    /// Lets a request into the queue, or refuses it. Without a place left it may still come in where
    /// another tenant is more above its share: then one of that tenant gives way.
    pub(super) fn admit(
        &self,
        work: &Work,
        queue: &Queue,
        has_idle_instance: bool,
    ) -> Result<Admitted, InferError> {
        let admitted = if queue.len() < self.limits.max_queue_requests {
            Admitted::ToFreePlace
        } else {
            let places = self.limits.max_queue_requests;
            let gives_way = queue.gives_way_to(work.level, &work.share, places);
            Admitted::InPlaceOf(gives_way.ok_or_else(|| self.queue_full())?)
        };
        if let Some(deadline) = work.deadline {
            self.check_deadline(work, deadline, queue, has_idle_instance)?;
        }
        Ok(admitted)
    }

    /// The error of a request that had to leave the queue to a tenant below its share.
    pub(super) fn displaced(&self) -> InferError {
        let max_requests = self.limits.max_queue_requests;
        let name = &self.name;
        let message = format!(
            "the queue of {name} is full: {max_requests} requests wait, and those of the tenant are \
             more than its share"
        );
        InferError::new(ErrorCode::QueueFull, message)
    }

    pub(super) fn queue_full(&self) -> InferError {
        let max_requests = self.limits.max_queue_requests;
        let name = &self.name;
        let message = format!("the queue of {name} is full: {max_requests} requests wait");
        InferError::new(ErrorCode::QueueFull, message)
    }

    /// The batch that a request would run in beside so many waiting rows; `None` where nothing is
    /// known of run times.
    pub(super) fn expected_batch(&self, work: &Work, rows_beside: usize) -> Option<ExpectedBatch> {
        let row_bytes = work.row_bytes();
        let efficient_rows = self
            .run_times
            .efficient_rows(row_bytes, self.limits.max_rows());
        // No run has less than the whole request.
        let rows = (rows_beside + work.rows).min(efficient_rows).max(work.rows);
        Some(ExpectedBatch {
            rows,
            run_time: self.run_times.expected(row_bytes * rows)?,
        })
    }

    /// A check of requests that wait, whose rows together are `waiting_rows`.
    pub(super) fn deadline_check(&self, waiting_rows: usize, now: Instant) -> DeadlineCheck<'_> {
        DeadlineCheck {
            admission: self,
            now,
            waiting_rows,
            last_estimate: None,
        }
    }

    fn check_deadline(
        &self,
        work: &Work,
        deadline: Instant,
        queue: &Queue,
        has_idle_instance: bool,
    ) -> Result<(), InferError> {
        let now = Instant::now();
        if deadline <= now {
            return Err(deadline_exceeded(
                "the deadline passed before the request was queued",
            ));
        }
        let rows_ahead = queue.rows_before(work.level, &work.share);
        // It need not wait, so that no estimate of a wait may refuse it.
        if rows_ahead == 0 && has_idle_instance {
            return Ok(());
        }
        let Some(batch) = self.expected_batch(work, rows_ahead) else {
            return Ok(());
        };
        // The instances share the rows ahead.
        let batches_ahead = rows_ahead as f64 / (batch.rows * self.instances) as f64;
        let wait = batch.run_time.mul_f64(RUN_UNDER_WAY + batches_ahead);
        // The margin is for the wait alone: run times are measured, waits depend on others.
        if now + wait.mul_f64(1.0 + WAIT_MARGIN) + batch.run_time <= deadline {
            return Ok(());
        }
        let message = format!(
            "{} requests are ahead, the answer would take {:.1} ms, the deadline is in {:.1} ms",
            queue.len(),
            (wait + batch.run_time).as_secs_f64() * 1e3,
            (deadline - now).as_secs_f64() * 1e3,
        );
        Err(InferError::new(ErrorCode::DeadlineExceeded, message))
    }
}

impl DeadlineCheck<'_> {
    /// The error for a request that would be answered after its deadline.
    pub(super) fn refusal(&mut self, request: &AcceptedWork) -> Option<InferError> {
        let deadline = request.work.deadline?;
        if self.now + self.expected_run(&request.work) <= deadline {
            return None;
        }
        if deadline > self.now {
            // It is shed by an estimate alone.
            self.admission
                .run_times
                .decay_estimate(request.work.bytes());
            self.last_estimate = None;
        }
        Some(deadline_exceeded(
            "the deadline would pass before the model answers",
        ))
    }

    /// The expected time of the run that a waiting request takes part in; zero if unknown.
    fn expected_run(&mut self, work: &Work) -> Duration {
        let size = (work.rows, work.row_bytes());
        if let Some((known_size, run_time)) = self.last_estimate
            && known_size == size
        {
            return run_time;
        }
        // Its own rows wait, too.
        let rows_beside = self.waiting_rows.saturating_sub(work.rows);
        let batch = self.admission.expected_batch(work, rows_beside);
        let run_time = batch.map_or(Duration::ZERO, |batch| batch.run_time);
        self.last_estimate = Some((size, run_time));
        run_time
    }
}

pub(super) fn deadline_exceeded(message: &'static str) -> InferError {
    InferError::new(ErrorCode::DeadlineExceeded, message)
}
