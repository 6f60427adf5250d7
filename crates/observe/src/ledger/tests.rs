use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::window::DAY_MS;

/// A moment at the beginning of a day.
const START: u64 = 20_000 * DAY_MS;

type Addition = (u64, u64, u64);

fn ledger(additions: &[Addition]) -> Ledger {
    let mut ledger = Ledger::default();
    for &(at, good, total) in additions {
        ledger.add(START + at, good, total);
    }
    ledger
}

fn merged(a: &Ledger, b: &Ledger) -> Ledger {
    let mut sum = a.clone();
    sum.merge(b);
    sum
}

/// One request a minute, of which every tenth is bad.
fn steady(days: u64) -> Ledger {
    let minutes = 0..days * 24 * 60;
    ledger(
        &minutes
            .map(|minute| (minute * MINUTE_MS, u64::from(minute % 10 != 0), 1))
            .collect::<Vec<_>>(),
    )
}

#[test]
fn a_sum_takes_its_beginning_and_not_its_end() {
    let ledger = ledger(&[
        (0, 1, 1),
        (MINUTE_MS - 1, 1, 1),
        (MINUTE_MS, 0, 1),
        (5 * MINUTE_MS, 10, 10),
    ]);
    let sum = |since, until| ledger.sum(START + since, START + until);
    assert_eq!(sum(0, MINUTE_MS), Counts { good: 2, total: 2 });
    assert_eq!(sum(0, MINUTE_MS + 1), Counts { good: 2, total: 3 });
    assert_eq!(sum(MINUTE_MS, 5 * MINUTE_MS), Counts { good: 0, total: 1 });
    assert_eq!(
        sum(30_000, 6 * MINUTE_MS).total,
        13,
        "the minute that the window begins in counts whole"
    );
    assert_eq!(sum(6 * MINUTE_MS, HOUR_MS), Counts::default());
}

#[test]
fn long_windows_are_read_from_coarser_buckets() {
    let ledger = steady(100);
    let now = START + 100 * DAY_MS;
    let expected = |minutes: u64| Counts {
        good: minutes / 10 * 9,
        total: minutes,
    };
    for minutes in [10, 60, 360, 24 * 60, 72 * 60, 30 * 24 * 60, 90 * 24 * 60] {
        assert_eq!(
            ledger.sum(now - minutes * MINUTE_MS, now),
            expected(minutes),
            "{minutes}"
        );
    }
    assert_eq!(
        ledger.sum(now - 100 * DAY_MS, now),
        expected(2170 * 60),
        "older hours are gone"
    );
}

#[test]
fn size_is_bounded() {
    assert_eq!(steady(100).buckets(), 370 + 440 + 2170);
    assert_eq!(size_of::<(u32, Counts)>(), 24);
}

#[test]
fn few_requests_are_remembered_by_the_minute() {
    let ledger = ledger(&[(0, 1, 1), (30 * DAY_MS, 1, 1)]);
    assert_eq!(ledger.sum(START + MINUTE_MS, START + 31 * DAY_MS).total, 1);
}

#[test]
fn a_clock_that_runs_ahead_costs_little() {
    let mut ledger = steady(4);
    ledger.add(u64::MAX, 1, 1);
    let now = START + 4 * DAY_MS;
    assert_eq!(ledger.sum(now - 6 * HOUR_MS, now).total, 360);
    assert_eq!(ledger.sum(now - 3 * DAY_MS, now).total, 3 * 24 * 60);
}

#[test]
fn nothing_is_nothing() {
    let mut ledger = Ledger::default();
    ledger.add(START, 0, 0);
    assert_eq!(ledger, Ledger::default());
    assert_eq!(ledger.sum(0, u64::MAX).error_rate(), None);
}

#[test]
fn what_was_written_by_others_is_bounded_too() {
    let text = format!(
        "{{\"minutes\":[{}[7,9,3],[7,1,1]]}}",
        "[9,1,2],".repeat(1000)
    );
    let ledger: Ledger = serde_json::from_str(&text).unwrap();
    assert_eq!(ledger.buckets(), 2);
    assert_eq!(
        ledger.sum(7 * MINUTE_MS, 8 * MINUTE_MS),
        Counts { good: 4, total: 4 }
    );
}

/// Additions over 100 days, so that some of all kinds are forgotten.
fn additions() -> impl Strategy<Value = Vec<Addition>> {
    let near = (0..8 * HOUR_MS).prop_map(|at| 100 * DAY_MS - at);
    let at = prop_oneof![near, 0..100 * DAY_MS];
    vec((at, 0u64..5, 0u64..5), 0..600)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn merging_is_commutative(a in additions(), b in additions()) {
        let (a, b) = (ledger(&a), ledger(&b));
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
    }

    #[test]
    fn merging_is_associative(a in additions(), b in additions(), c in additions()) {
        let (a, b, c) = (ledger(&a), ledger(&b), ledger(&c));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
    }

    #[test]
    fn replicas_merge_to_what_one_would_have_counted(a in additions(), b in additions()) {
        let both: Vec<Addition> = a.iter().chain(&b).copied().collect();
        prop_assert_eq!(merged(&ledger(&a), &ledger(&b)), ledger(&both));
    }

    #[test]
    fn a_sum_is_that_of_the_additions(additions in additions(), minutes in 0u64..360) {
        let (since, until) = (100 * DAY_MS - minutes * MINUTE_MS, 100 * DAY_MS);
        let within = additions.iter().filter(|(at, ..)| (since..until).contains(at));
        let expected = within.fold(Counts::default(), |sum, &(_, good, total)| {
            Counts { good: sum.good + good.min(total), total: sum.total + total }
        });
        prop_assert_eq!(ledger(&additions).sum(START + since, START + until), expected);
    }

    #[test]
    fn a_restart_changes_nothing(additions in additions()) {
        let before = ledger(&additions);
        let text = serde_json::to_string(&before).unwrap();
        prop_assert_eq!(serde_json::from_str::<Ledger>(&text).unwrap(), before);
    }
}

#[test]
fn buckets_that_are_set_one_by_one_make_the_same_ledger() {
    let mut ledger = Ledger::default();
    for minute in 0..3000 {
        ledger.add(minute * 7 * MINUTE_MS, 9, 10);
    }
    let widths: Vec<(u64, usize)> = Ledger::TIERS
        .iter()
        .map(|&(width_ms, _)| {
            (
                width_ms,
                ledger
                    .iter()
                    .filter(|bucket| bucket.width_ms == width_ms)
                    .count(),
            )
        })
        .collect();
    assert_eq!(
        (widths[0], widths[1]),
        (Ledger::TIERS[0], Ledger::TIERS[1]),
        "both are full"
    );
    let mut copy = Ledger::default();
    // Twice: what is told again is not added.
    ledger
        .iter()
        .chain(ledger.iter())
        .for_each(|bucket| copy.raise(bucket));
    assert_eq!(copy, ledger);
    copy.raise(Bucket {
        width_ms: 7,
        index: 1,
        counts: Counts { good: 1, total: 1 },
    });
    assert_eq!(copy, ledger, "there is no tier of this width");
}
