//! Quotas on both databases.
#![allow(clippy::unwrap_used, reason = "these are tests")]

#[allow(dead_code, reason = "shared with other tests")]
#[path = "support/postgres.rs"]
mod postgres;

use tidegate_store::{QuotaLease, QuotaUse, Store};

fn ask(want: u64, owed: u64) -> QuotaUse<'static> {
    QuotaUse {
        quota: "shop",
        period_ms: 0,
        limit: 100,
        want,
        least: 1,
        owed,
    }
}

async fn gives_what_is_left(store: &Store) {
    let lease = store.lease_quota(ask(60, 0)).await.unwrap();
    assert_eq!(
        lease,
        QuotaLease {
            granted: 60,
            used: 60
        }
    );
    let lease = store.lease_quota(ask(60, 5)).await.unwrap();
    assert_eq!(
        lease,
        QuotaLease {
            granted: 35,
            used: 100
        }
    );
    let lease = store.lease_quota(ask(1, 7)).await.unwrap();
    assert_eq!(
        lease,
        QuotaLease {
            granted: 0,
            used: 107
        }
    );
    store.give_back_quota("shop", 0, 20).await.unwrap();
    let lease = store.lease_quota(ask(50, 0)).await.unwrap();
    assert_eq!(
        lease,
        QuotaLease {
            granted: 13,
            used: 100
        }
    );
    let more_than_is_left = QuotaUse {
        least: 6,
        ..ask(6, 0)
    };
    store.give_back_quota("shop", 0, 5).await.unwrap();
    let lease = store.lease_quota(more_than_is_left).await.unwrap();
    let nothing = QuotaLease {
        granted: 0,
        used: 95,
    };
    assert_eq!(lease, nothing);
    let other_day = QuotaUse {
        period_ms: 86_400_000,
        owed: 300,
        ..ask(5, 0)
    };
    let lease = store.lease_quota(other_day).await.unwrap();
    assert_eq!(
        lease,
        QuotaLease {
            granted: 0,
            used: 300
        }
    );
}

/// Many who lease at once get exactly the quota.
async fn is_exact_under_a_race(store: &Store) {
    let tasks = (0..64).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let ask = QuotaUse {
                quota: "race",
                ..ask(3, 0)
            };
            store.lease_quota(ask).await.unwrap().granted
        })
    });
    let mut granted = 0;
    for task in tasks.collect::<Vec<_>>() {
        granted += task.await.unwrap();
    }
    assert_eq!(granted, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_gives_a_quota_to_the_last_and_no_further() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("quotas.db").display().to_string();
    let store = Store::open(&path).await.unwrap();
    gives_what_is_left(&store).await;
    is_exact_under_a_race(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_gives_a_quota_to_the_last_and_no_further() {
    let server = postgres::Postgres::start();
    let store = Store::open(&server.database("quotas")).await.unwrap();
    gives_what_is_left(&store).await;
    is_exact_under_a_race(&store).await;
}
