//! The requests that arrived on one thread and have not run yet.
//!
//! ```text
//! thread 1 ─ join ─► [ slot 0: PendingBatch { requests, has_leader, batches_of_one } ]
//! thread 2 ─ join ─► [ slot 1: ...                                                   ]
//!   ...              [ ...                                                           ]
//! ```
//!
//! Invariants: a slot with requests has a leader, which takes them sooner or later. A slot belongs
//! to one thread, and to several only where there are more threads than slots: its lock is nearly
//! never contended. No engine runs under it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::scheduler::accepted_work::AcceptedWork;
use crate::scheduler::fair_share::WaitingByTenant;

/// After so many batches in a row that nobody joined, most leaders do not look for others any more:
/// where requests come one at a time, looking is pure delay.
const BATCHES_OF_ONE: u32 = 8;
/// One in so many leaders still looks, to notice when requests come together again.
const LOOK_AGAIN: u32 = 16;

/// The pending batches of all threads.
pub(super) struct PendingBatches(Box<[Slot]>);

/// Aligned to a cache line: a neighbour's thread must not slow this one down.
#[derive(Default)]
#[repr(align(64))]
struct Slot(Mutex<PendingBatch>);

#[derive(Default)]
struct PendingBatch {
    requests: Vec<AcceptedWork>,
    has_leader: bool,
    /// Batches in a row of at most one request.
    batches_of_one: u32,
    /// The tenant and level that were refused last, while the requests are the same. Nobody of that
    /// tenant gets a place that is no more urgent, so that refusals under load look at one request.
    refused: Option<(Option<Arc<str>>, usize)>,
}

/// The task of a leader: to take the requests of a slot.
pub(super) struct Leadership {
    pub(super) slot: usize,
    /// Whether it is likely that others are ready in the same turn of the event loop.
    pub(super) expects_others: bool,
}

/// A request that joined.
pub(super) struct Joined {
    /// If it is the first.
    pub(super) leadership: Option<Leadership>,
    /// The request that had to leave, as its tenant had more than its share.
    pub(super) displaced: Option<Box<AcceptedWork>>,
}

/// As many requests are pending as may wait.
pub(super) struct PendingBatchFull;

impl PendingBatches {
    pub(super) fn new(slots: usize) -> Self {
        Self((0..slots.max(1)).map(|_| Slot::default()).collect())
    }

    /// Adds a request to those of the calling thread. The first one is to lead.
    pub(super) fn join(
        &self,
        request: AcceptedWork,
        max_requests: usize,
    ) -> Result<Joined, PendingBatchFull> {
        let slot = thread_number() % self.0.len();
        let mut pending = self.0[slot].0.lock();
        let mut displaced = None;
        if pending.requests.len() >= max_requests {
            let gives_way = pending.displace_or_refuse(&request, max_requests)?;
            // Boxed: where there is a place, as nearly always, no place is carried for it.
            displaced = Some(Box::new(gives_way));
        }
        pending.refused = None;
        pending.requests.push(request);
        let batches_of_one = pending.batches_of_one;
        let leadership = pending.claim_leadership().then(|| Leadership {
            slot,
            expects_others: batches_of_one < BATCHES_OF_ONE
                || batches_of_one.is_multiple_of(LOOK_AGAIN),
        });
        Ok(Joined {
            leadership,
            displaced,
        })
    }

    /// Takes all requests of a slot and ends the leadership.
    pub(super) fn take(&self, slot: usize) -> Vec<AcceptedWork> {
        let mut pending = self.0[slot].0.lock();
        pending.has_leader = false;
        pending.refused = None;
        pending.batches_of_one = if pending.requests.len() > 1 {
            0
        } else {
            pending.batches_of_one.wrapping_add(1)
        };
        std::mem::take(&mut pending.requests)
    }

    /// Puts requests back that did not run, before those that came since. Whether the caller leads
    /// again: it does not if another one leads by now.
    pub(super) fn put_back(&self, slot: usize, mut requests: Vec<AcceptedWork>) -> bool {
        let mut pending = self.0[slot].0.lock();
        pending.refused = None;
        requests.append(&mut pending.requests);
        pending.requests = requests;
        pending.claim_leadership()
    }
}

impl PendingBatch {
    fn claim_leadership(&mut self) -> bool {
        !std::mem::replace(&mut self.has_leader, true)
    }

    /// Makes a place for a newcomer, if somebody gives way to it.
    fn displace_or_refuse(
        &mut self,
        newcomer: &AcceptedWork,
        places: usize,
    ) -> Result<AcceptedWork, PendingBatchFull> {
        let (tenant, level) = (newcomer.work.share.tenant(), newcomer.work.level);
        if let Some((refused, from)) = &self.refused
            && refused == tenant
            && level >= *from
        {
            return Err(PendingBatchFull);
        }
        let displaced = self.displace_for(newcomer, places);
        if displaced.is_none() {
            self.refused = Some((tenant.clone(), level));
        }
        displaced.ok_or(PendingBatchFull)
    }

    /// Removes the least urgent and then latest request of the tenant that is most above its share, if
    /// the newcomer's is below its own.
    fn displace_for(&mut self, newcomer: &AcceptedWork, places: usize) -> Option<AcceptedWork> {
        let own = newcomer.work.share.tenant();
        let mut requests = self.requests.iter();
        // The usual case, and the lock is held: nothing is counted where there is one tenant only.
        if requests.all(|request| request.work.share.tenant() == own) {
            return None;
        }
        let mut waiting = WaitingByTenant::default();
        for request in &self.requests {
            let is_less_urgent = request.work.level >= newcomer.work.level;
            waiting.add(&request.work.share, 1, is_less_urgent);
        }
        let tenant = waiting.gives_way_to(&newcomer.work.share, places)?;
        let requests = self.requests.iter().enumerate();
        let of_tenant = requests.filter(|(_, request)| request.work.share.tenant() == tenant);
        let (leaves, _) = of_tenant.max_by_key(|(at, request)| (request.work.level, *at))?;
        Some(self.requests.remove(leaves))
    }
}

/// A small number for the calling thread.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    NUMBER.with(|number| *number)
}

#[cfg(test)]
mod tests {
    use tidegate_gateway::TenantShare;

    use super::*;
    use crate::scheduler::Work;

    fn request(tenant: &str, rows: usize) -> AcceptedWork {
        request_of_level(tenant, rows, 0)
    }

    fn request_of_level(tenant: &str, rows: usize, level: usize) -> AcceptedWork {
        let work = Work {
            inputs: Vec::new(),
            rows,
            deadline: None,
            level,
            runs_alone: false,
            share: TenantShare::new(tenant, 1),
        };
        AcceptedWork::new(work).0
    }

    #[test]
    fn a_tenant_that_fills_the_pending_batch_gives_way_to_another() {
        let pending = PendingBatches::new(1);
        for rows in 1..=3 {
            assert!(pending.join(request("a", rows), 3).is_ok());
        }
        assert!(pending.join(request("a", 4), 3).is_err());
        let joined = pending.join(request("b", 5), 3).ok().unwrap();
        assert_eq!(joined.displaced.unwrap().work.rows, 3);
        let rows: Vec<usize> = pending.take(0).iter().map(|left| left.work.rows).collect();
        assert_eq!(rows, [1, 2, 5]);
    }

    #[test]
    fn urgent_requests_beyond_the_share_of_their_tenant_give_way_too() {
        let pending = PendingBatches::new(1);
        for rows in 1..=4 {
            assert!(pending.join(request_of_level("a", rows, 0), 4).is_ok());
        }
        let displaced_by = |rows| {
            let joined = pending.join(request_of_level("b", rows, 2), 4).ok()?;
            joined.displaced.map(|displaced| displaced.work.rows)
        };
        assert_eq!(displaced_by(5), Some(4));
        assert_eq!(displaced_by(6), Some(3));
        assert_eq!(displaced_by(7), None, "half of the places are its share");
    }

    #[test]
    fn the_least_urgent_request_of_a_tenant_gives_way_first() {
        let pending = PendingBatches::new(1);
        for (rows, level) in [(1, 0), (2, 1), (3, 0)] {
            assert!(pending.join(request_of_level("a", rows, level), 3).is_ok());
        }
        let joined = pending.join(request_of_level("b", 5, 1), 3).ok().unwrap();
        assert_eq!(joined.displaced.unwrap().work.rows, 2);
    }

    #[test]
    fn who_was_refused_gets_a_place_once_there_is_one() {
        let pending = PendingBatches::new(1);
        for tenant in ["a", "b"] {
            assert!(pending.join(request(tenant, 1), 2).is_ok());
        }
        for _ in 0..2 {
            assert!(pending.join(request("b", 1), 2).is_err());
        }
        // Another tenant is looked at: it may have three times as much.
        let mut heavy = request("c", 1);
        heavy.work.share = TenantShare::new("c", 3);
        assert!(pending.join(heavy, 2).is_ok());
        assert!(pending.join(request("b", 1), 2).is_err());
        pending.take(0);
        assert!(pending.join(request("b", 1), 2).is_ok());
    }
}
