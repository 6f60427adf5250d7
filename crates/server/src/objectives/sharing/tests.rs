//! Every way in which a replica can end between two steps, against a store that counts each
//! addition once.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tidegate_observe::{Objective, Slo};

use super::*;

fn slo() -> Slo {
    Objective {
        name: "x".to_owned(),
        ..Objective::default()
    }
    .parse()
    .unwrap()
}

/// What the store does with additions.
#[derive(Default)]
struct Store {
    last: BTreeMap<String, i64>,
    counts: BTreeMap<(String, i64, i64), (i64, i64)>,
}

impl Store {
    fn add(&mut self, outgoing: &Outgoing) {
        let last = self.last.entry(outgoing.replica.clone()).or_default();
        if outgoing.number > *last {
            *last = outgoing.number;
            for count in &outgoing.counts {
                let key = (count.objective.clone(), count.width_ms, count.bucket);
                let sum = self.counts.entry(key).or_default();
                *sum = (sum.0 + count.good, sum.1 + count.total);
            }
        }
    }

    fn news(&self) -> Vec<SharedCount> {
        let count =
            |((objective, width_ms, bucket), (good, total)): (&(String, i64, i64), &(i64, i64))| {
                SharedCount {
                    objective: objective.clone(),
                    width_ms: *width_ms,
                    bucket: *bucket,
                    good: *good,
                    total: *total,
                }
            };
        self.counts.iter().map(count).collect()
    }

    fn last(&self, kept: &Kept) -> i64 {
        let replica = &kept.membership.as_ref().unwrap().replica;
        self.last.get(replica).copied().unwrap_or(0)
    }
}

fn joined() -> Kept {
    let mut kept = Kept::default();
    kept.join(Some("g"));
    let _ = kept.of(&slo());
    kept
}

fn written(kept: &Kept) -> Vec<u8> {
    serde_json::to_vec(kept).unwrap()
}

/// The process that follows one which left this file.
fn restarted(file: &[u8]) -> Kept {
    let mut kept: Kept = serde_json::from_slice(file).unwrap();
    kept.join(Some("g"));
    let _ = kept.of(&slo());
    kept
}

fn counted(kept: &mut Kept) -> u64 {
    kept.of(&slo()).counted.all().sum(0, u64::MAX).total
}

fn count(kept: &mut Kept, total: u64) {
    kept.count(&slo(), 60_000, Counts { good: total, total });
}

/// What a server may do next.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// It counts so many requests.
    Count(u64),
    /// An addition is made, and the server hears of it.
    Exchange,
    /// An addition is made, and the answer is lost.
    Unheard,
    /// An addition does not arrive.
    Lost,
    /// The file is written.
    Keep,
    /// The process is killed and starts again from its file.
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1u64..9).prop_map(Step::Count),
        Just(Step::Exchange),
        Just(Step::Unheard),
        Just(Step::Lost),
        Just(Step::Keep),
        Just(Step::Kill),
    ]
}

proptest! {
    /// At the end the store has everything that was counted and not lost with a killed process,
    /// once: a process loses at most what it counted since its file was written.
    #[test]
    fn every_request_is_counted_once_whatever_is_cut_off(steps in proptest::collection::vec(step(), 0..60)) {
        let (mut store, mut kept) = (Store::default(), joined());
        let mut file = written(&kept);
        // What was counted in all, and what of it is neither in the file nor in the store.
        let (mut least, mut most, mut at_risk, mut has_lost) = (0, 0, 0, false);
        for step in steps.into_iter().chain([Step::Exchange]) {
            if matches!(step, Step::Exchange | Step::Unheard | Step::Lost)
                && !kept.membership.as_ref().unwrap().is_settled
            {
                kept.settle(store.last(&kept));
                file = written(&kept);
                least += at_risk;
                at_risk = 0;
            }
            match step {
                Step::Count(total) => {
                    count(&mut kept, total);
                    most += total;
                    at_risk += total;
                }
                Step::Exchange => {
                    store.add(&kept.outgoing().unwrap());
                    kept.receive(store.news());
                }
                Step::Unheard => store.add(&kept.outgoing().unwrap()),
                Step::Lost => drop(kept.outgoing()),
                Step::Keep => {
                    file = written(&kept);
                    least += at_risk;
                    at_risk = 0;
                }
                Step::Kill => {
                    kept = restarted(&file);
                    has_lost |= at_risk > 0;
                    at_risk = 0;
                }
            }
        }
        // An addition may still have been on its way.
        store.add(&kept.outgoing().unwrap());
        kept.receive(store.news());
        store.add(&kept.outgoing().unwrap());
        kept.receive(store.news());
        let total = counted(&mut kept);
        prop_assert!((least..=most).contains(&total), "{total} of {least} to {most}");
        prop_assert!(has_lost || total == most, "{total} of {most}, and nothing was lost");
        let stored: i64 = store.counts.iter().filter(|((_, width, _), _)| *width == 60_000).map(|(_, sum)| sum.1).sum();
        prop_assert_eq!(i64::try_from(total).unwrap(), stored);
    }
}

#[test]
fn replicas_see_what_all_of_them_counted() {
    let (mut store, mut one, mut other) = (Store::default(), joined(), joined());
    for (kept, total) in [(&mut one, 10), (&mut other, 5)] {
        kept.settle(0);
        count(kept, total);
        store.add(&kept.outgoing().unwrap());
        kept.receive(store.news());
    }
    one.receive(store.news());
    assert_eq!((counted(&mut one), counted(&mut other)), (15, 15));
    count(&mut one, 1);
    assert_eq!(
        (counted(&mut one), counted(&mut other)),
        (16, 15),
        "what is not yet sent counts here"
    );
}

#[test]
fn what_was_counted_alone_joins_and_leaves_with_its_server() {
    let (mut store, mut kept) = (Store::default(), Kept::default());
    count(&mut kept, 7);
    kept.join(Some("g"));
    assert_eq!(counted(&mut kept), 7);
    kept.settle(0);
    store.add(&kept.outgoing().unwrap());
    kept.receive(store.news());
    count(&mut kept, 1);
    kept.join(None);
    assert_eq!(counted(&mut kept), 8);
    count(&mut kept, 1);
    assert_eq!(
        (
            counted(&mut kept),
            kept.of(&slo()).counted.ledger.sum(0, u64::MAX).total
        ),
        (9, 9)
    );
    kept.join(Some("g"));
    assert_eq!(counted(&mut kept), 0, "the group has most of that already");
}

#[test]
fn another_group_gets_only_what_the_first_one_has_not() {
    let (mut store, mut kept) = (Store::default(), joined());
    kept.settle(0);
    count(&mut kept, 7);
    store.add(&kept.outgoing().unwrap());
    kept.receive(store.news());
    count(&mut kept, 2);
    kept.join(Some("h"));
    assert_eq!(counted(&mut kept), 2);
}
