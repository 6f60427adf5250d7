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
    /// Whether one of them is no more urgent than the newcomer.
    has_less_urgent: bool,
}

impl Waiting {
    /// Whether it has less for its weight than another.
    fn is_below(self, other: Self) -> bool {
        let own = self.requests as u128 * u128::from(other.weight);
        own < other.requests as u128 * u128::from(self.weight)
    }

    /// Whether it has more than its share of so many places, by the weights of all tenants.
    fn is_above_share(self, places: usize, weights: u64) -> bool {
        let share = places as u128 * u128::from(self.weight);
        self.requests as u128 * u128::from(weights) > share
    }
}

impl<'a> WaitingByTenant<'a> {
    /// Adds requests of a tenant. `has_less_urgent` if they are no more urgent than the newcomer.
    pub(super) fn add(&mut self, share: &'a TenantShare, requests: usize, has_less_urgent: bool) {
        let waiting = self.0.entry(share.tenant()).or_insert(Waiting {
            requests: 0,
            weight: share.weight(),
            has_less_urgent: false,
        });
        waiting.requests += requests;
        waiting.has_less_urgent |= has_less_urgent;
    }

    /// The tenant that is most above its share, if it has to give way to a newcomer: if the newcomer's
    /// tenant has less for its weight even with one request more. So no place changes hands twice.
    ///
    /// A tenant whose requests are all more urgent than the newcomer keeps its share of the `places`.
    /// What it has above that it loses: anybody may call their requests urgent.
    pub(super) fn gives_way_to(
        &self,
        newcomer: &TenantShare,
        places: usize,
    ) -> Option<&'a Option<Arc<str>>> {
        let waiting = self.0.get(newcomer.tenant());
        let own = Waiting {
            requests: waiting.map_or(0, |own| own.requests) + 1,
            weight: newcomer.weight(),
            has_less_urgent: false,
        };
        let new_weight = waiting.map_or(own.weight, |_| 0);
        let weights = self.0.values().map(|waiting| u64::from(waiting.weight));
        let weights = weights.sum::<u64>() + u64::from(new_weight);
        let mut most: Option<(&'a Option<Arc<str>>, Waiting)> = None;
        let others = self.0.iter().filter(|(_, waiting)| {
            waiting.has_less_urgent || waiting.is_above_share(places, weights)
        });
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
            let newcomer = TenantShare::new(newcomer.0, newcomer.1);
            let tenant = waiting.gives_way_to(&newcomer, 8);
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
    fn urgency_protects_no_more_than_the_share_of_a_tenant() {
        let shares = [("a", 1), ("b", 1), ("c", 2)];
        let [a, b, newcomer] = shares.map(|(name, weight)| TenantShare::new(name, weight));
        let mut waiting = WaitingByTenant::default();
        // A quarter of the places, as that of the newcomer weighs twice as much.
        waiting.add(&a, 3, false);
        waiting.add(&b, 2, true);
        assert_eq!(waiting.gives_way_to(&newcomer, 12), Some(b.tenant()));
        assert_eq!(waiting.gives_way_to(&newcomer, 11), Some(a.tenant()));
        let mut waiting = WaitingByTenant::default();
        waiting.add(&a, 3, true);
        assert_eq!(waiting.gives_way_to(&newcomer, 12), Some(a.tenant()));
    }
}
