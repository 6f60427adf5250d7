//! What replicas tell each other, on SQLite and on PostgreSQL.

#![allow(clippy::unwrap_used, missing_docs, reason = "these are tests")]

#[path = "support/postgres.rs"]
mod postgres;
#[macro_use]
#[path = "support/suite.rs"]
mod suite;

use tidegate_store::{Addition, Note, SharedCount, Store, Tier};

suite!(
    counts_of_replicas_add_up,
    an_addition_is_made_once,
    many_counts_are_added_at_once,
    a_database_that_lost_additions_gets_back_what_replicas_know,
    additions_at_once_lose_nothing,
    news_are_what_changed_since,
    notes_are_replaced_and_taken_back,
    a_duty_has_one_holder,
    old_buckets_are_forgotten_by_number_and_age,
);

const MINUTE_MS: i64 = 60_000;
const YEARS_MS: i64 = 100 * 365 * 86_400_000;

fn counts(bucket: i64, good: i64, total: i64) -> SharedCount {
    SharedCount {
        objective: "o".to_owned(),
        width_ms: MINUTE_MS,
        bucket,
        good,
        total,
    }
}

fn addition<'a>(replica: &'a str, number: i64, counts: &'a [SharedCount]) -> Addition<'a> {
    Addition {
        group: "g",
        replica,
        name: "host:1",
        number,
        acknowledged: 0,
        seen: 0,
        counts,
    }
}

async fn sums(store: &Store, group: &str) -> Vec<SharedCount> {
    let mut counts = store.shared_news(group, 0).await.unwrap().counts;
    counts.sort_by_key(|count| count.bucket);
    counts
}

async fn counts_of_replicas_add_up(database: String) {
    let store = Store::open(&database).await.unwrap();
    store
        .add_counts(addition("a", 1, &[counts(1, 9, 10), counts(2, 1, 1)]))
        .await
        .unwrap();
    store
        .add_counts(addition("b", 1, &[counts(1, 5, 7)]))
        .await
        .unwrap();
    store.add_counts(addition("b", 2, &[])).await.unwrap();
    let other = Addition {
        group: "h",
        ..addition("a", 1, &[])
    };
    store
        .add_counts(Addition {
            counts: &[counts(1, 100, 100)],
            ..other
        })
        .await
        .unwrap();
    assert_eq!(
        sums(&store, "g").await,
        [counts(1, 14, 17), counts(2, 1, 1)]
    );
    assert_eq!(sums(&store, "h").await, [counts(1, 100, 100)]);
    let replicas = store.replicas("g", 60_000).await.unwrap();
    assert_eq!(
        replicas
            .iter()
            .map(|replica| replica.id.as_str())
            .collect::<Vec<_>>(),
        ["a", "b"]
    );
    assert!(
        store.replicas("g", -60_000).await.unwrap().is_empty(),
        "nobody was seen in the future"
    );
}

async fn an_addition_is_made_once(database: String) {
    let store = Store::open(&database).await.unwrap();
    assert_eq!(store.last_addition("g", "a").await.unwrap(), 0);
    for _ in 0..3 {
        store
            .add_counts(addition("a", 4, &[counts(1, 1, 1)]))
            .await
            .unwrap();
    }
    store
        .add_counts(addition("a", 3, &[counts(1, 1, 1)]))
        .await
        .unwrap();
    assert_eq!(sums(&store, "g").await, [counts(1, 1, 1)]);
    assert_eq!(store.last_addition("g", "a").await.unwrap(), 4);
}

async fn a_database_that_lost_additions_gets_back_what_replicas_know(database: String) {
    let store = Store::open(&database).await.unwrap();
    // The replica has made three additions; this database, an older state, knows of the first.
    store
        .add_counts(addition("a", 1, &[counts(1, 5, 5)]))
        .await
        .unwrap();
    let fourth = [counts(2, 1, 1)];
    let fourth = Addition {
        acknowledged: 3,
        ..addition("a", 4, &fourth)
    };
    assert!(!store.add_counts(fourth).await.unwrap());
    assert_eq!(
        sums(&store, "g").await,
        [counts(1, 5, 5)],
        "nothing is done"
    );
    let epoch = store.shared_news("g", 0).await.unwrap().epoch;
    let behind = Addition {
        seen: 99,
        ..addition("b", 1, &[])
    };
    assert!(
        !store.add_counts(behind).await.unwrap(),
        "older than what was read"
    );
    let known = [counts(1, 9, 10), counts(2, 3, 3)];
    store.raise_counts(fourth, &known).await.unwrap();
    // Another replica knows less.
    let other = addition("b", 0, &[]);
    store.raise_counts(other, &[counts(1, 8, 8)]).await.unwrap();
    assert!(store.add_counts(fourth).await.unwrap());
    assert_ne!(store.shared_news("g", 0).await.unwrap().epoch, epoch);
    assert_eq!(sums(&store, "g").await, [counts(1, 9, 10), counts(2, 4, 4)]);
}

async fn many_counts_are_added_at_once(database: String) {
    let store = Store::open(&database).await.unwrap();
    let many: Vec<SharedCount> = (0..1200).map(|bucket| counts(bucket, 1, 2)).collect();
    let twice = [many.clone(), many].concat();
    for number in 1..=2 {
        store
            .add_counts(addition("a", number, &twice))
            .await
            .unwrap();
    }
    let sums = sums(&store, "g").await;
    assert_eq!(sums.len(), 1200);
    assert!(sums.iter().all(|sum| (sum.good, sum.total) == (4, 8)));
}

async fn additions_at_once_lose_nothing(database: String) {
    let mut tasks = tokio::task::JoinSet::new();
    for replica in 0..4 {
        let database = database.clone();
        tasks.spawn(async move {
            let store = Store::open(&database).await.unwrap();
            for number in 1..=10 {
                let replica = replica.to_string();
                store
                    .add_counts(addition(&replica, number, &[counts(1, 1, 2)]))
                    .await
                    .unwrap();
            }
        });
    }
    tasks.join_all().await;
    let store = Store::open(&database).await.unwrap();
    assert_eq!(sums(&store, "g").await, [counts(1, 40, 80)]);
    assert_eq!(store.shared_news("g", 0).await.unwrap().change, 40);
}

async fn news_are_what_changed_since(database: String) {
    let store = Store::open(&database).await.unwrap();
    store
        .add_counts(addition("a", 1, &[counts(1, 1, 1), counts(2, 1, 1)]))
        .await
        .unwrap();
    let seen = store.shared_news("g", 0).await.unwrap();
    assert_eq!(seen.counts.len(), 2);
    store
        .add_counts(addition("b", 1, &[counts(2, 1, 1)]))
        .await
        .unwrap();
    let news = store.shared_news("g", seen.change).await.unwrap();
    assert_eq!(
        news.counts,
        [counts(2, 2, 2)],
        "as it is now, not what was added"
    );
    let none = store.shared_news("g", news.change).await.unwrap();
    assert_eq!((none.counts, none.change), (vec![], news.change));
}

async fn notes_are_replaced_and_taken_back(database: String) {
    let store = Store::open(&database).await.unwrap();
    let note = |name: &str, body: Option<&str>| Note {
        kind: "silence".to_owned(),
        name: name.to_owned(),
        body: body.map(str::to_owned),
    };
    store.leave_note("g", &note("a", Some("1"))).await.unwrap();
    store.leave_note("g", &note("b", Some("1"))).await.unwrap();
    store.leave_note("g", &note("a", Some("2"))).await.unwrap();
    let news = store.shared_news("g", 0).await.unwrap();
    assert_eq!(news.notes, [note("b", Some("1")), note("a", Some("2"))]);
    store.leave_note("g", &note("b", None)).await.unwrap();
    assert_eq!(
        store.shared_news("g", news.change).await.unwrap().notes,
        [note("b", None)]
    );
    assert!(store.shared_news("h", 0).await.unwrap().notes.is_empty());
}

async fn a_duty_has_one_holder(database: String) {
    let store = Store::open(&database).await.unwrap();
    let hold = async |holder: &str, length_ms| {
        store
            .hold_lease("g", "alerts", holder, length_ms)
            .await
            .unwrap()
    };
    assert_eq!(hold("a", 60_000).await, "a");
    assert_eq!(hold("b", 60_000).await, "a");
    assert_eq!(
        store.hold_lease("h", "alerts", "b", 60_000).await.unwrap(),
        "b"
    );
    assert_eq!(hold("a", 0).await, "a", "renewed, and over at once");
    assert_eq!(hold("b", 60_000).await, "b");
    store.release_lease("g", "alerts", "a").await.unwrap();
    assert_eq!(
        hold("a", 60_000).await,
        "b",
        "only the holder gives it back"
    );
    store.release_lease("g", "alerts", "b").await.unwrap();
    assert_eq!(hold("a", 60_000).await, "a");
}

async fn old_buckets_are_forgotten_by_number_and_age(database: String) {
    let store = Store::open(&database).await.unwrap();
    let all: Vec<SharedCount> = (1..=6).map(|bucket| counts(bucket, 1, 1)).collect();
    let wide = SharedCount {
        width_ms: 10 * MINUTE_MS,
        ..counts(1, 1, 1)
    };
    let other = SharedCount {
        objective: "p".to_owned(),
        ..counts(1, 1, 1)
    };
    store
        .add_counts(addition(
            "a",
            1,
            &[all.clone(), vec![wide.clone(), other.clone()]].concat(),
        ))
        .await
        .unwrap();
    let tiers = [
        Tier {
            width_ms: MINUTE_MS,
            buckets: 4,
        },
        Tier {
            width_ms: 10 * MINUTE_MS,
            buckets: 4,
        },
    ];
    store.prune_shared("g", &tiers, YEARS_MS).await.unwrap();
    let left = store.shared_news("g", 0).await.unwrap().counts;
    assert_eq!(
        left.iter()
            .filter(|count| count.objective == "o" && count.width_ms == MINUTE_MS)
            .count(),
        4
    );
    assert!(
        left.contains(&all[2]) && !left.contains(&all[1]),
        "the newest four"
    );
    assert!(
        left.contains(&wide) && left.contains(&other),
        "each objective and width for itself"
    );
    store.prune_shared("g", &tiers, 86_400_000).await.unwrap();
    assert!(
        store.shared_news("g", 0).await.unwrap().counts.is_empty(),
        "all of them are from 1970"
    );
}
