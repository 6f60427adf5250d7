//! A request that was let in, and the way back to its caller.
//!
//! ```text
//!                  ┌► AcceptedWork ─ pending batch or queue ─► Batch ┐
//! Work ─ admitted ─┤                                                 │ respond
//!                  └► Response ◄─────────────────────────────────────┘
//! ```
//!
//! Invariants: each accepted request gets exactly one outcome, or its sender is dropped, which the
//! caller sees as an internal error. A caller that goes away drops its [`Response`]; its request is
//! then [abandoned](AcceptedWork::is_abandoned) and does not run.

use std::time::Instant;

use tokio::sync::oneshot;

use super::{Completed, Work};
use crate::{ErrorCode, InferError};

pub(super) type Outcome = Result<Completed, InferError>;

/// A request that was let in. It is the same whether it runs inline or waits in the queue.
pub(super) struct AcceptedWork {
    pub(super) work: Work,
    pub(super) accepted_at: Instant,
    /// Its number among the queued requests; 0 while it is not queued.
    pub(super) sequence: u64,
    outcome: oneshot::Sender<Outcome>,
}

/// The caller's end: receives the outcome of an [`AcceptedWork`].
pub(super) struct Response {
    outcome: oneshot::Receiver<Outcome>,
    deadline: Option<Instant>,
}

impl AcceptedWork {
    pub(super) fn new(work: Work) -> (Self, Response) {
        let (sender, receiver) = oneshot::channel();
        let response = Response {
            outcome: receiver,
            deadline: work.deadline,
        };
        let accepted = Self {
            work,
            accepted_at: Instant::now(),
            sequence: 0,
            outcome: sender,
        };
        (accepted, response)
    }

    /// Whether two requests can share a run: they agree in everything but the number of rows.
    pub(super) fn can_share_run_with(&self, other: &Self) -> bool {
        if self.work.runs_alone || other.work.runs_alone {
            return false;
        }
        let mut pairs = self.work.inputs.iter().zip(&other.work.inputs);
        pairs.all(|pair| match pair {
            (None, None) => true,
            (Some(one), Some(two)) => one.shape().get(1..) == two.shape().get(1..),
            _ => false,
        })
    }

    /// Whether the caller has gone.
    pub(super) fn is_abandoned(&self) -> bool {
        self.outcome.is_closed()
    }

    pub(super) fn respond(self, outcome: Outcome) {
        // An error means that the caller has gone: there is nobody left to tell.
        let _ = self.outcome.send(outcome);
    }
}

impl Response {
    /// Waits for the outcome; `None` if the deadline passes first.
    pub(super) async fn received(&mut self) -> Option<Outcome> {
        let received = match self.deadline {
            None => (&mut self.outcome).await,
            Some(deadline) => tokio::time::timeout_at(deadline.into(), &mut self.outcome)
                .await
                .ok()?,
        };
        Some(received.unwrap_or_else(|_| Err(dropped_by_scheduler())))
    }

    /// The outcome, if it is there.
    pub(super) fn received_already(&mut self) -> Option<Outcome> {
        self.outcome.try_recv().ok()
    }
}

fn dropped_by_scheduler() -> InferError {
    InferError::new(
        ErrorCode::Internal,
        "the request was dropped by the scheduler",
    )
}
