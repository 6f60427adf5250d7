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

    fn counts(&self) -> Vec<SharedCount> {
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

    fn last(&self, state: &PersistedState) -> i64 {
        let replica = &state.membership.as_ref().unwrap().replica;
        self.last.get(replica).copied().unwrap_or(0)
    }
}

fn joined() -> PersistedState {
    let mut state = PersistedState::default();
    state.join(Some("g"));
    let _ = state.of(&slo());
    state
}

fn written(state: &PersistedState) -> Vec<u8> {
    serde_json::to_vec(state).unwrap()
}

/// The process that follows one which left this file.
fn restarted(file: &[u8]) -> PersistedState {
    let mut state: PersistedState = serde_json::from_slice(file).unwrap();
    state.join(Some("g"));
    let _ = state.of(&slo());
    state
}

fn counted(state: &mut PersistedState) -> u64 {
    state.of(&slo()).counted.all().sum(0, u64::MAX).total
}

fn count(state: &mut PersistedState, total: u64) {
    state.count(&slo(), 60_000, Counts { good: total, total });
}

/// What a server may do next.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// It counts so many requests.
    Count(u64),
    /// An addition is made, and the server gets the answer.
    Exchange,
    /// An addition is made, and the answer is lost.
    AnswerLost,
    /// An addition does not arrive.
    RequestLost,
    /// The file is written.
    Write,
    /// The process is killed and starts again from its file.
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1u64..9).prop_map(Step::Count),
        Just(Step::Exchange),
        Just(Step::AnswerLost),
        Just(Step::RequestLost),
        Just(Step::Write),
        Just(Step::Kill),
    ]
}

proptest! {
    /// At the end the store has everything that was counted and not lost with a killed process,
    /// once: a process loses at most what it counted since its file was written.
    #[test]
    fn every_request_is_counted_once_whatever_is_interrupted(steps in proptest::collection::vec(step(), 0..60)) {
        let (mut store, mut state) = (Store::default(), joined());
        let mut file = written(&state);
        // What was counted in all, and what of it is neither in the file nor in the store.
        let (mut least, mut most, mut at_risk, mut has_lost) = (0, 0, 0, false);
        for step in steps.into_iter().chain([Step::Exchange]) {
            if matches!(step, Step::Exchange | Step::AnswerLost | Step::RequestLost)
                && !state.membership.as_ref().unwrap().is_reconciled
            {
                state.reconcile(store.last(&state));
                file = written(&state);
                least += at_risk;
                at_risk = 0;
            }
            match step {
                Step::Count(total) => {
                    count(&mut state, total);
                    most += total;
                    at_risk += total;
                }
                Step::Exchange => {
                    store.add(&state.outgoing().unwrap());
                    state.receive(store.counts());
                }
                Step::AnswerLost => store.add(&state.outgoing().unwrap()),
                Step::RequestLost => drop(state.outgoing()),
                Step::Write => {
                    file = written(&state);
                    least += at_risk;
                    at_risk = 0;
                }
                Step::Kill => {
                    state = restarted(&file);
                    has_lost |= at_risk > 0;
                    at_risk = 0;
                }
            }
        }
        // An addition may still have been on its way.
        store.add(&state.outgoing().unwrap());
        state.receive(store.counts());
        store.add(&state.outgoing().unwrap());
        state.receive(store.counts());
        let total = counted(&mut state);
        prop_assert!((least..=most).contains(&total), "{total} of {least} to {most}");
        prop_assert!(has_lost || total == most, "{total} of {most}, and nothing was lost");
        let stored: i64 = store.counts.iter().filter(|((_, width, _), _)| *width == 60_000).map(|(_, sum)| sum.1).sum();
        prop_assert_eq!(i64::try_from(total).unwrap(), stored);
    }
}

#[test]
fn replicas_see_what_all_of_them_counted() {
    let (mut store, mut one, mut other) = (Store::default(), joined(), joined());
    for (state, total) in [(&mut one, 10), (&mut other, 5)] {
        state.reconcile(0);
        count(state, total);
        store.add(&state.outgoing().unwrap());
        state.receive(store.counts());
    }
    one.receive(store.counts());
    assert_eq!((counted(&mut one), counted(&mut other)), (15, 15));
    count(&mut one, 1);
    assert_eq!(
        (counted(&mut one), counted(&mut other)),
        (16, 15),
        "what is not yet sent counts here"
    );
}

#[test]
fn counts_from_before_a_group_join_and_leave_with_their_server() {
    let (mut store, mut state) = (Store::default(), PersistedState::default());
    count(&mut state, 7);
    state.join(Some("g"));
    assert_eq!(counted(&mut state), 7);
    state.reconcile(0);
    store.add(&state.outgoing().unwrap());
    state.receive(store.counts());
    count(&mut state, 1);
    state.join(None);
    assert_eq!(counted(&mut state), 8);
    count(&mut state, 1);
    assert_eq!(
        (
            counted(&mut state),
            state.of(&slo()).counted.ledger.sum(0, u64::MAX).total
        ),
        (9, 9)
    );
    state.join(Some("g"));
    assert_eq!(counted(&mut state), 0, "the group has most of that already");
}

#[test]
fn another_group_gets_only_what_the_first_one_has_not() {
    let (mut store, mut state) = (Store::default(), joined());
    state.reconcile(0);
    count(&mut state, 7);
    store.add(&state.outgoing().unwrap());
    state.receive(store.counts());
    count(&mut state, 2);
    state.join(Some("h"));
    assert_eq!(counted(&mut state), 2);
}
