//! The waiting requests of one tenant, and its place in the virtual time of their level.

use std::collections::VecDeque;

use crate::InferError;
use crate::scheduler::accepted_work::AcceptedWork;
use crate::scheduler::queue::shed;

/// Parts of a row that tags count: weights divide rows.
const ROW: u32 = 32;

/// A moment in the virtual time of a level, counted in rows by weight. It never overflows: rows that
/// ran are counted, and nobody runs 2^96 of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::scheduler) struct Tag(u128);

impl Tag {
    /// The tag when so many rows more have run for somebody of this weight.
    pub(in crate::scheduler) fn after(self, rows: usize, weight: u32) -> Self {
        Self(self.0 + ((rows as u128) << ROW) / u128::from(weight.max(1)))
    }

    fn after_cost(self, cost: Self) -> Self {
        Self(self.0 + cost.0)
    }

    /// The rows that somebody of this weight runs between two tags.
    fn rows_until(self, later: Self, weight: u32) -> usize {
        let rows = (later.0.saturating_sub(self.0) * u128::from(weight)) >> ROW;
        usize::try_from(rows).unwrap_or(usize::MAX)
    }
}

/// See the module's description.
#[derive(Default)]
pub(super) struct TenantQueue {
    pub(super) weight: u32,
    /// First come, first served.
    pub(super) requests: VecDeque<AcceptedWork>,
    pub(super) rows: usize,
    /// The start tag of the first request; where none waits, the finish tag of the last that ran.
    pub(super) start: Tag,
    /// What has run from behind the first request, which could not share their run. It is counted
    /// once the first has left: its own tag must not grow, or it might never be the least.
    overtaken: Tag,
}

impl TenantQueue {
    /// A tenant whose first request has this start tag.
    pub(super) fn begin(&mut self, start: Tag) {
        self.start = start;
    }

    pub(super) fn push(&mut self, request: AcceptedWork) {
        self.weight = request.work.share.weight();
        self.rows += request.work.rows;
        self.requests.push_back(request);
    }

    /// Takes a request that runs now, by its position.
    pub(super) fn take(&mut self, at: usize) -> Option<AcceptedWork> {
        let request = self.requests.remove(at)?;
        let rows = request.work.rows;
        self.rows -= rows;
        if at == 0 {
            self.start = self.second_start(rows);
            self.overtaken = Tag::default();
        } else {
            self.overtaken = self.overtaken.after(rows, self.weight);
        }
        Some(request)
    }

    /// The start tag of the second request, behind a first one of so many rows.
    pub(super) fn second_start(&self, rows: usize) -> Tag {
        self.start
            .after(rows, self.weight)
            .after_cost(self.overtaken)
    }

    /// The finish tag of the last request.
    pub(super) fn finish(&self) -> Tag {
        self.second_start(self.rows)
    }

    /// Removes a request that does not run, by its sequence number. The tenant pays nothing for it.
    pub(super) fn remove(&mut self, sequence: u64) -> Option<AcceptedWork> {
        let found = self
            .requests
            .binary_search_by_key(&sequence, |request| request.sequence);
        let at = found.ok()?;
        let request = self.requests.remove(at)?;
        self.rows -= request.work.rows;
        if at == 0 {
            self.forget_first();
        }
        Some(request)
    }

    /// [Sheds](shed) requests.
    pub(super) fn shed(&mut self, refusal: &mut impl FnMut(&AcceptedWork) -> Option<InferError>) {
        let first = self.first_sequence();
        shed(&mut self.requests, refusal);
        self.rows = self.requests.iter().map(|request| request.work.rows).sum();
        if self.first_sequence() != first {
            self.forget_first();
        }
    }

    /// The rows that run before a request of another tenant with this start tag, about.
    pub(super) fn rows_before(&self, tag: Tag) -> usize {
        let Some(first) = self.requests.front().filter(|_| self.start <= tag) else {
            return 0;
        };
        // The request that is at the tag runs whole.
        let rows = self.start.rows_until(tag, self.weight) + first.work.rows;
        rows.min(self.rows)
    }

    /// The first request has left without a run.
    fn forget_first(&mut self) {
        self.start = self.start.after_cost(self.overtaken);
        self.overtaken = Tag::default();
    }

    fn first_sequence(&self) -> Option<u64> {
        self.requests.front().map(|request| request.sequence)
    }
}
