//! Requests that wait for an instance: within a priority level, tenants take turns, and the requests of
//! one tenant are first come, first served.
//!
//! ```text
//!            front (next to run)              back
//! level 0  acme [ #7 2 rows | #9 1 row  ]             ◄── push
//! level 1  acme [ #3 1 row  | #4 8 rows | #8 1 row ]
//!          shop [ #5 1 row ]
//!             │
//!             └─► take_batch: the head, then in order all that can share its run,
//!                 from its level to the least urgent, up to the rows that pay
//! ```
//!
//! Invariants: sequence numbers ascend for the requests of a tenant in a level, so that a request is
//! found by binary search. `Queue::requests` equals what a count of the levels would give. The queue
//! itself is not bounded: [`Admission`](super::admission::Admission) bounds it before anything is
//! pushed.

mod level;
mod tenant_queue;

use std::collections::VecDeque;
use std::time::Instant;

use tidegate_gateway::TenantShare;

use self::level::{Level, Tenant};
pub(super) use self::tenant_queue::Tag;
use super::Limits;
use super::accepted_work::AcceptedWork;
use super::fair_share::WaitingByTenant;
use super::run_time_model::RunTimeModel;
use crate::InferError;

/// Waiting requests by priority level, the most urgent first.
pub(super) struct Queue {
    levels: Vec<Level>,
    requests: usize,
    next_sequence: u64,
}

/// Identifies a queued request.
#[derive(Clone, Debug)]
pub(super) struct Ticket {
    level: usize,
    tenant: Tenant,
    sequence: u64,
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
        self.levels.iter().map(Level::rows).sum()
    }

    /// The rows that run before a new request of `level` and a tenant.
    pub(super) fn rows_before(&self, level: usize, share: &TenantShare) -> usize {
        let level = level.min(self.levels.len() - 1);
        let more_urgent = self.levels[..level].iter().map(Level::rows);
        more_urgent.sum::<usize>() + self.levels[level].rows_before(share)
    }

    /// The request that runs next.
    pub(super) fn head(&self) -> Option<&AcceptedWork> {
        self.levels.iter().find_map(Level::front)
    }

    pub(super) fn push(&mut self, mut request: AcceptedWork) -> Ticket {
        let level = request.work.level.min(self.levels.len() - 1);
        let sequence = self.next_sequence;
        request.sequence = sequence;
        self.next_sequence += 1;
        self.requests += 1;
        let tenant = request.work.share.tenant().clone();
        self.levels[level].push(request);
        Ticket {
            level,
            tenant,
            sequence,
        }
    }

    /// Removes a request whose caller has gone. Whether it was there: a batch may have taken it.
    pub(super) fn remove(&mut self, ticket: &Ticket) -> bool {
        let level = &mut self.levels[ticket.level];
        let is_queued = level.remove(&ticket.tenant, ticket.sequence).is_some();
        self.requests -= usize::from(is_queued);
        is_queued
    }

    /// The tenant whose latest request gives way to a new one where none of the `places` is left, if
    /// one does.
    pub(super) fn gives_way_to(
        &self,
        level: usize,
        newcomer: &TenantShare,
        places: usize,
    ) -> Option<Tenant> {
        let newcomers_level = level.min(self.levels.len() - 1);
        let mut waiting = WaitingByTenant::default();
        for (level, requests) in self.levels.iter().enumerate() {
            for (share, requests) in requests.tenants() {
                waiting.add(share, requests, level >= newcomers_level);
            }
        }
        waiting.gives_way_to(newcomer, places).cloned()
    }

    /// Removes the least urgent of a tenant's requests, of these the one that came last.
    pub(super) fn remove_latest(&mut self, tenant: &Tenant) -> Option<AcceptedWork> {
        let mut levels = self.levels.iter_mut().rev();
        let removed = levels.find_map(|level| level.remove_latest(tenant))?;
        self.requests -= 1;
        Some(removed)
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
            .flat_map(Level::requests)
            .filter(|request| head.can_share_run_with(request))
            .map(|request| request.work.rows)
            .sum()
    }

    /// When the oldest request was accepted: those of a tenant in a level are in order of age.
    fn oldest(&self, head: &AcceptedWork) -> Instant {
        self.levels
            .iter()
            .filter_map(Level::oldest)
            .min()
            .unwrap_or(head.accepted_at)
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
mod tests;
