//! The caller's hold on accepted work, wherever it runs.
//!
//! ```text
//!             ┌ leader: runs the pending batch first ┐
//! WorkHandle ─┤                                      ├─► response ─► Outcome
//!             └ queue place: left if dropped         ┘
//! ```
//!
//! Invariant: dropping the handle gives the request up. One that has not started to run never will,
//! and its place is free.

use super::accepted_work::{Outcome, Response};
use super::admission::deadline_exceeded;
use super::inline_batcher::BatchLeader;
use super::worker_pool::QueuePlace;

/// Waits for the outcome of accepted work. A request that neither leads nor is queued runs with the
/// batch of another leader.
pub(super) struct WorkHandle<'a> {
    // Fields are dropped in this order: a leader that is given up finds its own request abandoned,
    // and leaves only those of others behind.
    response: Response,
    leader: Option<BatchLeader>,
    queue_place: Option<QueuePlace<'a>>,
}

impl<'a> WorkHandle<'a> {
    pub(super) fn inline(response: Response, leader: Option<BatchLeader>) -> Self {
        Self {
            response,
            leader,
            queue_place: None,
        }
    }

    pub(super) fn queued(response: Response, place: QueuePlace<'a>) -> Self {
        Self {
            response,
            leader: None,
            queue_place: Some(place),
        }
    }

    /// Waits until the request was answered, or its deadline passes.
    pub(super) async fn outcome(mut self) -> Outcome {
        if let Some(leader) = &mut self.leader {
            leader.run_first_turn().await;
        }
        if let Some(leader) = self.leader.take() {
            leader.finish();
        }
        let Some(outcome) = self.response.received().await else {
            let error = deadline_exceeded("the deadline passed before the model answered");
            return Err(match self.give_up() {
                true => error.after_run(),
                false => error,
            });
        };
        if let Some(place) = self.queue_place.take() {
            place.vacated();
        }
        outcome
    }

    /// Gives the request up. Whether it has run, or runs now, or may: only of one that waits in the
    /// queue is it known that it never will.
    pub(super) fn give_up(mut self) -> bool {
        let place = self.queue_place.take();
        if place.is_some_and(QueuePlace::leave) {
            return false;
        }
        match self.response.received_already() {
            Some(Err(error)) => error.has_run,
            Some(Ok(_)) | None => true,
        }
    }
}
