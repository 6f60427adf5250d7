//! Fairness between tenants where requests have no queue of their own: who gives way when there is no
//! place left, and in which order those run that are ready at the same time.

use std::collections::HashMap;
use std::sync::Arc;

use tidegate_gateway::TenantShare;

use super::accepted_work::AcceptedWork;
use super::queue::Tag;

/// Waiting requests by tenant.
#[derive(Default)]
pub(super) struct WaitingByTenant<'a>(HashMap<&'a Option<Arc<str>>, Waiting>);

#[derive(Clone, Copy)]
struct Waiting {
    requests: usize,
    weight: u32,
    /// Whether one of them is no more urgent than the newcomer, and so may leave.
    may_leave: bool,
}

impl Waiting {
    /// Whether it has less for its weight than another.
    fn is_below(self, other: Self) -> bool {
        let own = self.requests as u128 * u128::from(other.weight);
        own < other.requests as u128 * u128::from(self.weight)
    }
}

impl<'a> WaitingByTenant<'a> {
    /// Adds requests of a tenant. `may_leave` if they are no more urgent than the newcomer: all of them
    /// count, but a more urgent one gives way to nobody.
    pub(super) fn add(&mut self, share: &'a TenantShare, requests: usize, may_leave: bool) {
        let waiting = self.0.entry(share.tenant()).or_insert(Waiting {
            requests: 0,
            weight: share.weight(),
            may_leave: false,
        });
        waiting.requests += requests;
        waiting.may_leave |= may_leave;
    }

    /// The tenant that is most above its share of those that have a request that may leave, if it has
    /// to give way to a newcomer: if the newcomer's tenant has less for its weight even with one request
    /// more. So no place changes hands twice.
    pub(super) fn gives_way_to(&self, newcomer: &TenantShare) -> Option<&'a Option<Arc<str>>> {
        let waiting = self.0.get(newcomer.tenant());
        let own = Waiting {
            requests: waiting.map_or(0, |own| own.requests) + 1,
            weight: newcomer.weight(),
            may_leave: false,
        };
        let mut most: Option<(&'a Option<Arc<str>>, Waiting)> = None;
        let others = self.0.iter().filter(|(_, waiting)| waiting.may_leave);
        for (tenant, waiting) in others {
            let is_more = most.is_none_or(|(name, most)| {
                // By name where two are equal: the same requests give way each time.
                most.is_below(*waiting) || !waiting.is_below(most) && *tenant < name
            });
            if is_more {
                most = Some((tenant, *waiting));
            }
        }
        let (tenant, most) = most?;
        own.is_below(most).then_some(tenant)
    }
}

/// Orders requests that are ready at the same time: the most urgent first; of the equally urgent ones,
/// tenants take turns by rows and weight; those of one tenant stay in the order of their arrival.
pub(super) fn sort(requests: &mut Vec<AcceptedWork>) {
    if requests.len() < 2 {
        return;
    }
    let is_of_one_tenant = requests
        .windows(2)
        .all(|pair| pair[0].work.share.tenant() == pair[1].work.share.tenant());
    if is_of_one_tenant {
        // A stable sort, as below.
        requests.sort_by_key(|request| request.work.level);
        return;
    }
    let mut finished: HashMap<(usize, Option<Arc<str>>), Tag> = HashMap::new();
    let mut tagged: Vec<((usize, Tag), AcceptedWork)> = Vec::with_capacity(requests.len());
    for request in requests.drain(..) {
        let (level, share) = (request.work.level, &request.work.share);
        let finish = finished.entry((level, share.tenant().clone())).or_default();
        let start = *finish;
        *finish = start.after(request.work.rows, share.weight());
        tagged.push(((level, start), request));
    }
    tagged.sort_by_key(|(order, _)| *order);
    requests.extend(tagged.into_iter().map(|(_, request)| request));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::Work;

    fn request(tenant: &str, level: usize, rows: usize) -> AcceptedWork {
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

    fn sorted(mut requests: Vec<AcceptedWork>) -> Vec<(String, usize)> {
        sort(&mut requests);
        let named = requests.iter().map(|request| {
            let tenant = request.work.share.tenant().as_deref();
            (tenant.unwrap_or_default().to_owned(), request.work.rows)
        });
        named.collect()
    }

    #[test]
    fn tenants_take_turns_among_requests_that_are_ready_together() {
        let mut requests: Vec<AcceptedWork> = (1..=3).map(|rows| request("a", 1, rows)).collect();
        requests.push(request("b", 1, 4));
        requests.push(request("a", 0, 9));
        let expected = [("a", 9), ("a", 1), ("b", 4), ("a", 2), ("a", 3)];
        let expected = expected.map(|(tenant, rows)| (tenant.to_owned(), rows));
        assert_eq!(sorted(requests), expected);
    }

    #[test]
    fn a_tenant_gives_way_only_to_one_that_has_less_for_its_weight() {
        let gives_way = |counts: &[(&str, u32, usize)], newcomer: (&str, u32)| {
            let shares: Vec<(TenantShare, usize)> = counts
                .iter()
                .map(|(name, weight, count)| (TenantShare::new(*name, *weight), *count))
                .collect();
            let mut waiting = WaitingByTenant::default();
            for (share, count) in &shares {
                waiting.add(share, *count, true);
            }
            let tenant = waiting.gives_way_to(&TenantShare::new(newcomer.0, newcomer.1));
            tenant.map(|tenant| tenant.as_deref().unwrap().to_owned())
        };
        assert_eq!(gives_way(&[("a", 1, 8)], ("b", 1)), Some("a".into()));
        assert_eq!(gives_way(&[("a", 1, 8)], ("a", 1)), None);
        let shared = [("a", 1, 4), ("b", 1, 4)];
        assert_eq!(gives_way(&shared, ("a", 1)), None);
        assert_eq!(gives_way(&shared, ("b", 1)), None);
        let nearly = [("a", 1, 5), ("b", 1, 3)];
        assert_eq!(gives_way(&nearly, ("b", 1)), Some("a".into()));
        // Half of the places are the share of weight 2 beside two of weight 1.
        let weighted = [("a", 2, 4), ("b", 1, 3), ("c", 1, 1)];
        assert_eq!(gives_way(&weighted, ("c", 1)), Some("b".into()));
        assert_eq!(gives_way(&weighted, ("a", 2)), Some("b".into()));
        assert_eq!(gives_way(&weighted, ("b", 1)), None);
    }

    #[test]
    fn a_tenant_whose_requests_are_all_more_urgent_gives_way_to_nobody() {
        let shares = ["a", "b", "c"].map(|name| TenantShare::new(name, 1));
        let [a, b, newcomer] = &shares;
        let mut waiting = WaitingByTenant::default();
        waiting.add(a, 8, false);
        assert_eq!(waiting.gives_way_to(newcomer), None);
        waiting.add(b, 3, true);
        assert_eq!(waiting.gives_way_to(newcomer), Some(b.tenant()));
        waiting.add(a, 1, true);
        assert_eq!(waiting.gives_way_to(newcomer), Some(a.tenant()));
    }
}
