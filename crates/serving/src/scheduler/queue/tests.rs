use std::collections::HashMap;

use proptest::prelude::*;
use tidegate_core::Batching;

use super::*;
use crate::scheduler::Work;
use crate::scheduler::accepted_work::Response;
use crate::scheduler::admission::deadline_exceeded;

const LARGEST: usize = 8;
const WEIGHTS: [u32; 3] = [1, 2, 5];

fn share(tenant: usize) -> TenantShare {
    TenantShare::new(format!("tenant-{tenant}"), WEIGHTS[tenant])
}

fn request(tenant: usize, level: usize, rows: usize) -> (AcceptedWork, Response) {
    AcceptedWork::new(Work {
        inputs: Vec::new(),
        rows,
        deadline: None,
        level,
        runs_alone: false,
        share: share(tenant),
    })
}

/// A request that can share no run with those of [`request`].
fn odd_request(tenant: usize, rows: usize) -> (AcceptedWork, Response) {
    let (mut request, response) = request(tenant, 0, rows);
    request.work.runs_alone = true;
    (request, response)
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
    let requests = levels.iter().flat_map(Level::requests);
    requests.map(|request| request.work.rows).sum()
}

fn tenant_of(request: &AcceptedWork) -> usize {
    let tenant = request.work.share.tenant().as_deref().unwrap();
    tenant.strip_prefix("tenant-").unwrap().parse().unwrap()
}

/// A queue whose batches are looked at.
struct Fixture {
    queue: Queue,
    responses: Vec<Response>,
    run_times: RunTimeModel,
}

impl Fixture {
    fn new() -> Self {
        Self {
            queue: Queue::new(3),
            responses: Vec::new(),
            run_times: RunTimeModel::default(),
        }
    }

    fn push(&mut self, (request, response): (AcceptedWork, Response)) -> Ticket {
        self.responses.push(response);
        self.queue.push(request)
    }

    /// The tenant and rows of each request of the next batch.
    fn take(&mut self, max_rows: usize) -> Vec<(usize, usize)> {
        let batch = self.queue.take_batch(&limits(max_rows), &self.run_times);
        let taken = batch
            .iter()
            .map(|taken| (tenant_of(taken), taken.work.rows));
        taken.collect()
    }

    /// All that waits, batch after batch.
    fn take_all(&mut self, max_rows: usize) -> Vec<(usize, usize)> {
        let mut taken = Vec::new();
        while !self.queue.is_empty() {
            taken.extend(self.take(max_rows));
        }
        taken
    }
}

/// Requests by tenant and rows.
fn requests(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<(usize, usize)>> {
    prop::collection::vec((0..WEIGHTS.len(), 1..=LARGEST), count)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn waiting_rows_and_requests_are_counted_through_every_change(
        steps in prop::collection::vec((0..6u8, 0..3usize, 1..9usize), 1..200),
    ) {
        let mut fixture = Fixture::new();
        let mut tickets = Vec::new();
        for (step, level, rows) in steps {
            match step {
                0 | 1 => tickets.push(fixture.push(request(rows % 3, level, rows))),
                2 if !tickets.is_empty() => {
                    let ticket = tickets.swap_remove(rows % tickets.len());
                    fixture.queue.remove(&ticket);
                }
                3 => drop(fixture.take(8)),
                4 => {
                    fixture.responses.truncate(fixture.responses.len() / 2);
                    let late = |request: &AcceptedWork| {
                        (request.work.rows == rows).then(|| deadline_exceeded("late"))
                    };
                    fixture.queue.shed(late);
                }
                5 => drop(fixture.queue.remove_latest(share(level).tenant())),
                _ => {}
            }
            let queue = &fixture.queue;
            let requests: usize = queue.levels.iter().map(Level::len).sum();
            prop_assert_eq!(queue.rows(), counted_rows(&queue.levels));
            prop_assert_eq!(queue.len(), requests);
            let counted: usize = queue.levels.iter().map(|level| level.requests().count()).sum();
            prop_assert_eq!(queue.len(), counted);
            let before = queue.rows_before(1, &share(0));
            prop_assert!(before >= counted_rows(&queue.levels[..1]));
            prop_assert!(before <= counted_rows(&queue.levels[..2]));
        }
    }

    /// The bound of the paper, between any two tenants that have requests waiting, and so the bound on
    /// what each has more or less than its share.
    #[test]
    fn tenants_get_rows_by_their_weights_within_one_request(
        sent in requests(1..120),
        max_rows in 1..32usize,
    ) {
        let mut fixture = Fixture::new();
        let mut waiting = HashMap::new();
        for (tenant, rows) in sent {
            fixture.push(request(tenant, 0, rows));
            *waiting.entry(tenant).or_insert(0) += 1;
        }
        let mut got = [0usize; WEIGHTS.len()];
        for (tenant, rows) in fixture.take_all(max_rows) {
            got[tenant] += rows;
            *waiting.get_mut(&tenant).unwrap() -= 1;
            let backlogged: Vec<usize> =
                waiting.iter().filter(|(_, left)| **left > 0).map(|(tenant, _)| *tenant).collect();
            for (one, other) in backlogged.iter().flat_map(|one| backlogged.iter().map(move |other| (*one, *other))) {
                let served = |tenant: usize| got[tenant] as f64 / f64::from(WEIGHTS[tenant]);
                let request = |tenant: usize| LARGEST as f64 / f64::from(WEIGHTS[tenant]);
                let difference = served(one) - served(other);
                prop_assert!(difference <= request(one) + request(other) + 1e-6, "{got:?}");
            }
        }
    }

    #[test]
    fn no_instance_idles_beside_waiting_rows_and_nothing_is_lost(
        sent in requests(1..120),
        max_rows in LARGEST..32usize,
    ) {
        let mut fixture = Fixture::new();
        for (tenant, rows) in &sent {
            fixture.push(request(*tenant, 0, *rows));
        }
        let mut taken = Vec::new();
        while !fixture.queue.is_empty() {
            let batch = fixture.take(max_rows);
            let rows: usize = batch.iter().map(|(_, rows)| rows).sum();
            prop_assert!(!batch.is_empty());
            // What waits on was too large for the rest of the batch.
            let next = fixture.queue.head().map_or(0, |head| head.work.rows);
            prop_assert!(next == 0 || rows + next > max_rows);
            taken.extend(batch);
        }
        for tenant in 0..WEIGHTS.len() {
            let of_tenant = |all: &[(usize, usize)]| -> Vec<usize> {
                all.iter().filter(|one| one.0 == tenant).map(|one| one.1).collect()
            };
            prop_assert_eq!(of_tenant(&taken), of_tenant(&sent), "in the order of arrival");
        }
    }

    /// However much the others send, before and after it.
    #[test]
    fn no_request_waits_for_more_than_the_share_of_the_others(
        before in requests(0..80),
        after in requests(0..200),
        rows in 1..=LARGEST,
    ) {
        let mut fixture = Fixture::new();
        let others = |all: Vec<(usize, usize)>| all.into_iter().filter(|one| one.0 > 0);
        for (tenant, rows) in others(before) {
            fixture.push(request(tenant, 0, rows));
        }
        fixture.take(LARGEST);
        fixture.push(request(0, 0, rows));
        let mut rows_before = 0;
        let mut after = others(after);
        'runs: loop {
            for (tenant, rows) in after.by_ref().take(9) {
                fixture.push(request(tenant, 0, rows));
            }
            for (tenant, rows) in fixture.take(LARGEST) {
                if tenant == 0 {
                    break 'runs;
                }
                rows_before += rows;
            }
        }
        // It starts at the virtual time. Each other tenant may be one request behind it.
        prop_assert!(rows_before <= 2 * LARGEST * (WEIGHTS.len() - 1), "{rows_before}");
    }
}

#[test]
fn a_tenant_that_returns_gets_no_credit_for_its_absence() {
    let mut fixture = Fixture::new();
    for _ in 0..100 {
        fixture.push(request(0, 0, 1));
    }
    fixture.take(50);
    for _ in 0..50 {
        fixture.push(request(0, 0, 1));
        let (mut other, response) = request(0, 0, 1);
        other.work.share = TenantShare::new("tenant-1", 1);
        fixture.push((other, response));
    }
    let batch = fixture.take(40);
    let of_other = batch.iter().filter(|(tenant, _)| *tenant == 1).count();
    assert!((19..=21).contains(&of_other), "{of_other} of 40");
}

#[test]
fn requests_that_leave_without_a_run_cost_their_tenant_nothing() {
    let mut fixture = Fixture::new();
    for _ in 0..1000 {
        fixture.push(request(0, 0, 8));
    }
    fixture.responses.clear();
    fixture.queue.shed(|_| None);
    assert!(fixture.queue.is_empty());
    fixture.push(request(1, 0, 1));
    fixture.push(request(1, 0, 1));
    fixture.push(request(0, 0, 1));
    assert_eq!(fixture.take_all(1)[..2], [(1, 1), (0, 1)]);
}

#[test]
fn a_request_that_shares_no_run_is_not_overtaken_for_ever() {
    let mut fixture = Fixture::new();
    fixture.push(request(1, 0, 1));
    fixture.push(odd_request(0, 7));
    let mut batches = 0;
    loop {
        for tenant in [0, 0, 1, 1] {
            fixture.push(request(tenant, 0, 3));
        }
        let batch = fixture.take(LARGEST);
        batches += 1;
        if batch == [(0, 7)] {
            break;
        }
        assert!(batches < 4, "still not run after {batches} batches");
    }
}

#[test]
fn tenants_for_whom_nothing_waits_are_forgotten() {
    let mut fixture = Fixture::new();
    for tenant in 0..3000 {
        let (mut request, response) = request(0, 0, 1);
        request.work.share = TenantShare::new(format!("tenant-{tenant}"), 1);
        fixture.push((request, response));
        fixture.take(1);
        assert!(fixture.queue.levels[0].known_tenants() <= 1024);
    }
}

#[test]
fn the_estimate_of_rows_ahead_is_that_of_the_tenants_turn() {
    let mut fixture = Fixture::new();
    for _ in 0..100 {
        fixture.push(request(0, 0, 1));
    }
    assert_eq!(fixture.queue.rows_before(0, &share(0)), 100);
    assert_eq!(fixture.queue.rows_before(0, &share(1)), 1);
}
