//! Requests that wait for an instance: first come, first served within a priority level.
//!
//! ```text
//!            front (next to run)         back
//! level 0  [ #7 2 rows | #9 1 row  ]                 ◄── push
//! level 1  [ #3 1 row  | #4 8 rows | #8 1 row ]
//!             │
//!             └─► take_batch: the head, then in order all that can share its run,
//!                 from its level to the least urgent, up to the rows that pay
//! ```
//!
//! Invariants: sequence numbers ascend within a level, so that a request is found by binary search.
//! `Level::rows` and `Queue::requests` equal what a count of the levels would give. The queue itself
//! is not bounded: [`Admission`](super::admission::Admission) bounds it before anything is pushed.

use std::collections::VecDeque;
use std::time::Instant;

use super::Limits;
use super::accepted_work::AcceptedWork;
use super::run_time_model::RunTimeModel;
use crate::InferError;

/// Waiting requests by priority level, the most urgent first.
pub(super) struct Queue {
    levels: Vec<Level>,
    requests: usize,
    next_sequence: u64,
}

/// Identifies a queued request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    level: usize,
    sequence: u64,
}

/// The requests of one priority level, and the rows of all of them.
#[derive(Default)]
struct Level {
    requests: VecDeque<AcceptedWork>,
    rows: usize,
}

/// A batch that is being taken from the queue. Never empty.
struct GrowingBatch {
    requests: Vec<AcceptedWork>,
    rows: usize,
    max_rows: usize,
}

impl Queue {
    pub(super) fn new(levels: usize) -> Self {
        Self {
            levels: (0..levels.max(1)).map(|_| Level::default()).collect(),
            requests: 0,
            next_sequence: 0,
        }
    }

    /// The number of waiting requests.
    pub(super) fn len(&self) -> usize {
        self.requests
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requests == 0
    }

    /// The rows of all waiting requests.
    pub(super) fn rows(&self) -> usize {
        self.levels.iter().map(|level| level.rows).sum()
    }

    /// The rows that run before a new request of `level`.
    pub(super) fn rows_before(&self, level: usize) -> usize {
        let as_urgent = self.levels.iter().take(level + 1);
        as_urgent.map(|level| level.rows).sum()
    }

    /// The request that runs next.
    pub(super) fn head(&self) -> Option<&AcceptedWork> {
        self.levels.iter().find_map(|level| level.requests.front())
    }

    pub(super) fn push(&mut self, mut request: AcceptedWork) -> Ticket {
        let level = request.work.level.min(self.levels.len() - 1);
        let sequence = self.next_sequence;
        request.sequence = sequence;
        self.next_sequence += 1;
        self.requests += 1;
        self.levels[level].push(request);
        Ticket { level, sequence }
    }

    /// Removes a request whose caller has gone. Nothing happens if a batch has taken it already.
    pub(super) fn remove(&mut self, ticket: Ticket) {
        if self.levels[ticket.level].remove(ticket.sequence) {
            self.requests -= 1;
        }
    }

    /// [Sheds](shed) requests of all levels.
    pub(super) fn shed(&mut self, mut refusal: impl FnMut(&AcceptedWork) -> Option<InferError>) {
        for level in &mut self.levels {
            self.requests -= level.shed(&mut refusal);
        }
    }

    /// Answers every waiting request with the same error.
    pub(super) fn refuse_all(&mut self, error: &InferError) {
        self.shed(|_| Some(error.clone()));
    }

    /// When the head may run; `None` for at once. With a configured delay it waits for others until
    /// the oldest request has waited that long, or until enough rows are there.
    pub(super) fn ready_at(&self, limits: &Limits) -> Option<Instant> {
        let head = self.head()?;
        if limits.queue_delay.is_zero() {
            return None;
        }
        let max_rows = limits.batch_rows()?.get();
        let smallest_preferred = limits.preferred_rows.first();
        let enough_rows = smallest_preferred.map_or(max_rows, |rows| max_rows.min(*rows));
        if self.rows_for_run_with(head) >= enough_rows {
            return None;
        }
        Some(self.oldest(head) + limits.queue_delay)
    }

    /// Takes the head and what can run with it, in order, up to the largest batch that pays, or to
    /// the largest preferred size that can be filled.
    pub(super) fn take_batch(
        &mut self,
        limits: &Limits,
        run_times: &RunTimeModel,
    ) -> Vec<AcceptedWork> {
        let mut levels = self.levels.iter_mut().enumerate();
        let head = levels.find_map(|(at, level)| Some((at, level.pop_front()?)));
        let Some((first, head)) = head else {
            return Vec::new();
        };
        self.requests -= 1;
        let Some(max_rows) = limits.batch_rows() else {
            return vec![head];
        };
        let mut batch = GrowingBatch {
            rows: head.work.rows,
            max_rows: self.batch_rows(&head, limits, max_rows.get(), run_times),
            requests: vec![head],
        };
        // From the level of the head: more urgent ones are empty.
        for level in &mut self.levels[first..] {
            if !level.move_into(&mut batch) {
                break;
            }
        }
        // The head is counted already.
        self.requests -= batch.requests.len() - 1;
        batch.requests
    }

    /// The rows to take for a run with the head, which is out of the queue already.
    fn batch_rows(
        &self,
        head: &AcceptedWork,
        limits: &Limits,
        max_rows: usize,
        run_times: &RunTimeModel,
    ) -> usize {
        if limits.preferred_rows.is_empty() {
            return run_times.efficient_rows(head.work.row_bytes(), max_rows);
        }
        let available = self.rows_for_run_with(head) + head.work.rows;
        let largest_filled = limits
            .preferred_rows
            .iter()
            .rev()
            .find(|rows| **rows <= available && **rows <= max_rows);
        largest_filled.copied().unwrap_or(max_rows)
    }

    /// The rows that wait and can share a run with `head`.
    fn rows_for_run_with(&self, head: &AcceptedWork) -> usize {
        self.levels
            .iter()
            .flat_map(|level| &level.requests)
            .filter(|request| head.can_share_run_with(request))
            .map(|request| request.work.rows)
            .sum()
    }

    /// When the oldest request was accepted: within a level, requests are in order of age.
    fn oldest(&self, head: &AcceptedWork) -> Instant {
        self.levels
            .iter()
            .filter_map(|level| level.requests.front())
            .map(|request| request.accepted_at)
            .min()
            .unwrap_or(head.accepted_at)
    }
}

impl Level {
    fn push(&mut self, request: AcceptedWork) {
        self.rows += request.work.rows;
        self.requests.push_back(request);
    }

    fn pop_front(&mut self) -> Option<AcceptedWork> {
        let request = self.requests.pop_front()?;
        self.rows -= request.work.rows;
        Some(request)
    }

    /// Removes a request by its sequence number. Whether it was there.
    fn remove(&mut self, sequence: u64) -> bool {
        let found = self
            .requests
            .binary_search_by_key(&sequence, |request| request.sequence);
        let Some(request) = found.ok().and_then(|at| self.requests.remove(at)) else {
            return false;
        };
        self.rows -= request.work.rows;
        true
    }

    /// [Sheds](shed) requests of this level. How many they were.
    fn shed(&mut self, refusal: &mut impl FnMut(&AcceptedWork) -> Option<InferError>) -> usize {
        let before = self.requests.len();
        shed(&mut self.requests, refusal);
        let shed = before - self.requests.len();
        if shed > 0 {
            // Counted anew, because the removed requests are gone and cannot be subtracted.
            self.rows = self.requests.iter().map(|request| request.work.rows).sum();
        }
        shed
    }

    /// Moves what can share the run of a batch into it, in order. Whether less urgent levels may
    /// fill what is left: they may not once a request is too large for it. If smaller ones could
    /// overtake it again and again, it might never run.
    fn move_into(&mut self, batch: &mut GrowingBatch) -> bool {
        let mut at = 0;
        while batch.rows < batch.max_rows {
            let Some(request) = self.requests.get(at) else {
                return true;
            };
            let rows = request.work.rows;
            if !batch.requests[0].can_share_run_with(request) {
                at += 1;
                continue;
            }
            if batch.rows + rows > batch.max_rows {
                return false;
            }
            batch.rows += rows;
            self.rows -= rows;
            let request = self.requests.remove(at);
            batch.requests.extend(request);
        }
        false
    }
}

/// Removes requests whose callers have gone, and refuses each for which `refusal` has an error.
pub(super) fn shed(
    requests: &mut VecDeque<AcceptedWork>,
    mut refusal: impl FnMut(&AcceptedWork) -> Option<InferError>,
) {
    requests.retain(|request| !request.is_abandoned());
    let mut at = 0;
    while let Some(request) = requests.get(at) {
        let Some(error) = refusal(request) else {
            at += 1;
            continue;
        };
        if let Some(request) = requests.remove(at) {
            request.respond(Err(error));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidegate_core::Batching;

    use super::*;
    use crate::scheduler::Work;
    use crate::scheduler::accepted_work::Response;
    use crate::scheduler::admission::deadline_exceeded;

    fn request(level: usize, rows: usize) -> (AcceptedWork, Response) {
        AcceptedWork::new(Work {
            inputs: Vec::new(),
            rows,
            deadline: None,
            level,
            runs_alone: false,
        })
    }

    fn limits(max_batch_rows: usize) -> Limits {
        Limits {
            levels: 3,
            ..Limits::new(
                &Batching::default(),
                std::num::NonZeroUsize::new(max_batch_rows),
            )
        }
    }

    fn counted_rows(levels: &[Level]) -> usize {
        let requests = levels.iter().flat_map(|level| &level.requests);
        requests.map(|request| request.work.rows).sum()
    }

    proptest! {
        #[test]
        fn waiting_rows_and_requests_are_counted_through_every_change(
            steps in prop::collection::vec((0..5u8, 0..3usize, 1..9usize), 1..200),
        ) {
            let mut queue = Queue::new(3);
            let mut tickets = Vec::new();
            let mut responses = Vec::new();
            let run_times = RunTimeModel::default();
            for (step, level, rows) in steps {
                match step {
                    0 | 1 => {
                        let (request, response) = request(level, rows);
                        tickets.push(queue.push(request));
                        responses.push(response);
                    }
                    2 if !tickets.is_empty() => queue.remove(tickets.swap_remove(rows % tickets.len())),
                    3 => drop(queue.take_batch(&limits(8), &run_times)),
                    4 => {
                        responses.truncate(responses.len() / 2);
                        queue.shed(|request| (request.work.rows == rows).then(|| deadline_exceeded("late")));
                    }
                    _ => {}
                }
                let requests: usize = queue.levels.iter().map(|level| level.requests.len()).sum();
                prop_assert_eq!(queue.rows(), counted_rows(&queue.levels));
                prop_assert_eq!(queue.rows_before(1), counted_rows(&queue.levels[..2]));
                prop_assert_eq!(queue.len(), requests);
            }
        }
    }
}
