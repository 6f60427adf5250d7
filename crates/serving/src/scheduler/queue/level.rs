//! One priority level: tenants take turns by what has run for each of them.
//!
//! This is start-time fair queueing (Goyal, Vin, Cheng, "Start-time Fair Queuing", SIGCOMM 1996). The
//! start tag of a request is the finish tag of the one before it of the same tenant, or the virtual
//! time if that is later; its finish tag is later by its rows divided by the tenant's weight. The
//! least start tag runs next, and the virtual time is the start tag of what was taken last. So tenants
//! that have requests waiting get rows in proportion to their weights, within one request of each,
//! however fast the instances are. Nothing is held back for a tenant that sends nothing.
//!
//! Tags are given to the first request of each tenant only, and are derived for those behind it. So a
//! request that leaves without a run costs its tenant nothing.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use tidegate_gateway::TenantShare;

use super::GrowingBatch;
use super::tenant_queue::{Tag, TenantQueue};
use crate::InferError;
use crate::scheduler::accepted_work::AcceptedWork;

/// A tenant; `None` for requests without one.
pub(super) type Tenant = Option<Arc<str>>;

/// Tenants without waiting requests whose finish tags are remembered, at most. One that is forgotten
/// early gets its last request for free.
const MAX_IDLE_TENANTS: usize = 1024;

/// The requests of one priority level, and the rows of all of them.
#[derive(Default)]
pub(super) struct Level {
    /// Those that have requests waiting.
    tenants: HashMap<Tenant, TenantQueue>,
    /// The finish tags of others, as far as they are later than the virtual time.
    idle: HashMap<Tenant, Tag>,
    requests: usize,
    rows: usize,
    virtual_time: Tag,
    /// What the last tenant left that has no more requests: where there is one tenant only, its memory
    /// is used again and again.
    spare: TenantQueue,
}

/// The next request of a tenant that a batch may take. The least is the first in order.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Cursor {
    start: Tag,
    /// Of two equal tags the earlier request runs first.
    sequence: u64,
    tenant: usize,
    at: usize,
}

impl Level {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.requests
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn requests(&self) -> impl Iterator<Item = &AcceptedWork> {
        self.tenants.values().flat_map(|tenant| &tenant.requests)
    }

    /// Waiting requests of each tenant.
    pub(super) fn tenants(&self) -> impl Iterator<Item = (&TenantShare, usize)> {
        self.tenants.values().filter_map(|tenant| {
            let first = tenant.requests.front()?;
            Some((&first.work.share, tenant.requests.len()))
        })
    }

    pub(super) fn push(&mut self, request: AcceptedWork) {
        self.requests += 1;
        self.rows += request.work.rows;
        let tenant = request.work.share.tenant();
        if let Some(waiting) = self.tenants.get_mut(tenant) {
            return waiting.push(request);
        }
        let finish = self.idle.remove(tenant).unwrap_or_default();
        let tenant = tenant.clone();
        let mut waiting = std::mem::take(&mut self.spare);
        waiting.begin(finish.max(self.virtual_time));
        waiting.push(request);
        self.tenants.insert(tenant, waiting);
    }

    /// The request that runs next.
    pub(super) fn front(&self) -> Option<&AcceptedWork> {
        let fronts = self.tenants.values().filter_map(first_in_order);
        let (_, _, tenant) = fronts.min_by_key(|(start, sequence, _)| (*start, *sequence))?;
        tenant.requests.front()
    }

    /// Takes the request that runs next.
    pub(super) fn pop_front(&mut self) -> Option<AcceptedWork> {
        let tenant = self.front()?.work.share.tenant().clone();
        let tenant = self.tenants.get_mut(&tenant)?;
        let start = tenant.start;
        let request = tenant.take(0)?;
        self.virtual_time = self.virtual_time.max(start);
        self.left(&request);
        Some(request)
    }

    /// Removes a request by its sequence number, if it is there.
    pub(super) fn remove(&mut self, tenant: &Tenant, sequence: u64) -> Option<AcceptedWork> {
        let request = self.tenants.get_mut(tenant)?.remove(sequence)?;
        self.left(&request);
        Some(request)
    }

    /// Removes the request of a tenant that came last.
    pub(super) fn remove_latest(&mut self, tenant: &Tenant) -> Option<AcceptedWork> {
        let latest = self.tenants.get(tenant)?.requests.back()?.sequence;
        self.remove(tenant, latest)
    }

    /// [Sheds](super::shed) requests of this level. How many they were.
    pub(super) fn shed(
        &mut self,
        refusal: &mut impl FnMut(&AcceptedWork) -> Option<InferError>,
    ) -> usize {
        let before = self.requests;
        (self.requests, self.rows) = (0, 0);
        for tenant in self.tenants.values_mut() {
            tenant.shed(refusal);
            self.requests += tenant.requests.len();
            self.rows += tenant.rows;
        }
        self.settle();
        before - self.requests
    }

    /// The rows that run before a new request of a tenant, about.
    pub(super) fn rows_before(&self, share: &TenantShare) -> usize {
        let (own_rows, finish) = match self.tenants.get(share.tenant()) {
            Some(own) => (own.rows, Some(own.finish())),
            None => (0, self.idle.get(share.tenant()).copied()),
        };
        let start = finish.unwrap_or_default().max(self.virtual_time);
        let others = self
            .tenants
            .iter()
            .filter(|(tenant, _)| *tenant != share.tenant());
        let rows = others.map(|(_, tenant)| tenant.rows_before(start));
        own_rows + rows.sum::<usize>()
    }

    /// When the oldest of the requests that are the first of their tenants was accepted.
    pub(super) fn oldest(&self) -> Option<Instant> {
        let fronts = self.tenants.values();
        let fronts = fronts.filter_map(|tenant| tenant.requests.front());
        fronts.map(|request| request.accepted_at).min()
    }

    /// Moves what can share the run of a batch into it, in order. Whether less urgent levels may
    /// fill what is left: they may not once a request is too large for it. If smaller ones could
    /// overtake it again and again, it might never run.
    pub(super) fn move_into(&mut self, batch: &mut GrowingBatch) -> bool {
        let is_open = self.fill(batch);
        self.settle();
        is_open
    }

    fn fill(&mut self, batch: &mut GrowingBatch) -> bool {
        let mut waiting: Vec<&mut TenantQueue> = self.tenants.values_mut().collect();
        let mut cursors = BinaryHeap::with_capacity(waiting.len());
        for (index, tenant) in waiting.iter().enumerate() {
            cursors.extend(cursor(tenant, index, 0, tenant.start));
        }
        while batch.rows < batch.max_rows {
            let Some(Reverse(next)) = cursors.pop() else {
                return true;
            };
            let tenant = &mut *waiting[next.tenant];
            let request = &tenant.requests[next.at];
            let rows = request.work.rows;
            let start_behind = match next.at {
                0 => tenant.second_start(rows),
                _ => next.start.after(rows, tenant.weight),
            };
            let mut at_behind = next.at + 1;
            if batch.requests[0].can_share_run_with(request) {
                if batch.rows + rows > batch.max_rows {
                    return false;
                }
                batch.rows += rows;
                batch.requests.extend(tenant.take(next.at));
                self.requests -= 1;
                self.rows -= rows;
                self.virtual_time = self.virtual_time.max(next.start);
                at_behind = next.at;
            }
            cursors.extend(cursor(tenant, next.tenant, at_behind, start_behind));
        }
        false
    }

    /// Counts a request that is gone.
    fn left(&mut self, request: &AcceptedWork) {
        self.requests -= 1;
        self.rows -= request.work.rows;
        let tenant = request.work.share.tenant();
        let waiting = self.tenants.get(tenant);
        if waiting.is_some_and(|waiting| waiting.requests.is_empty())
            && let Some(waiting) = self.tenants.remove(tenant)
        {
            self.set_idle(tenant.clone(), waiting);
        }
    }

    /// Puts away the tenants that have no more requests.
    fn settle(&mut self) {
        let emptied = self
            .tenants
            .extract_if(|_, waiting| waiting.requests.is_empty());
        let emptied: Vec<(Tenant, TenantQueue)> = emptied.collect();
        for (tenant, waiting) in emptied {
            self.set_idle(tenant, waiting);
        }
    }

    /// Remembers until when a tenant has had its share.
    fn set_idle(&mut self, tenant: Tenant, emptied: TenantQueue) {
        if emptied.start > self.virtual_time {
            self.forget_idle_tenants();
            self.idle.insert(tenant, emptied.start);
        }
        self.spare = emptied;
    }

    /// Makes room: forgets those whose finish tag has passed, which changes nothing, and all of them if
    /// they are still too many.
    fn forget_idle_tenants(&mut self) {
        if self.idle.len() < MAX_IDLE_TENANTS {
            return;
        }
        let now = self.virtual_time;
        // A tenant without a tag begins at the virtual time, as it would with one that has passed.
        self.idle.retain(|_, finish| *finish > now);
        if self.idle.len() >= MAX_IDLE_TENANTS / 2 {
            self.idle.clear();
        }
    }

    #[cfg(test)]
    pub(super) fn known_tenants(&self) -> usize {
        self.tenants.len() + self.idle.len()
    }
}

fn first_in_order(tenant: &TenantQueue) -> Option<(Tag, u64, &TenantQueue)> {
    let first = tenant.requests.front()?;
    Some((tenant.start, first.sequence, tenant))
}

/// A cursor to a request of a tenant, if there is one at this position.
fn cursor(tenant: &TenantQueue, index: usize, at: usize, start: Tag) -> Option<Reverse<Cursor>> {
    let request = tenant.requests.get(at)?;
    Some(Reverse(Cursor {
        start,
        sequence: request.sequence,
        tenant: index,
        at,
    }))
}
