//! Traffic policies on both databases.
#![allow(clippy::unwrap_used, reason = "these are tests")]

#[allow(dead_code, reason = "shared with other tests")]
#[path = "support/postgres.rs"]
mod postgres;

use tidegate_store::{NewTrafficChange, Store};

fn set<'a>(endpoint: &'a str, policy: &'a str) -> NewTrafficChange<'a> {
    NewTrafficChange {
        endpoint,
        action: "set",
        comment: "because",
        policy,
        assignment: "{}",
    }
}

async fn change(store: &Store, new: NewTrafficChange<'_>) -> i64 {
    let mut write = store.write("ada").await.unwrap();
    let revision = write.change_traffic(new).await.unwrap().revision;
    write.commit().await.unwrap();
    revision
}

async fn counts_revisions_of_each_endpoint(store: &Store) {
    assert_eq!(store.traffic_change().await.unwrap(), 0);
    for (endpoint, policy, revision) in [("a", "1", 1), ("b", "2", 1), ("a", "3", 2), ("a", "", 3)]
    {
        assert_eq!(change(store, set(endpoint, policy)).await, revision);
    }
    assert_eq!(store.traffic_change().await.unwrap(), 4);
    let newest = store.traffic().await.unwrap();
    let newest: Vec<_> = newest
        .iter()
        .map(|change| (change.endpoint.as_str(), change.policy.as_str()))
        .collect();
    assert_eq!(newest, [("a", ""), ("b", "2")]);
    let history = store.traffic_history("a", 2).await.unwrap();
    let revisions: Vec<i64> = history.iter().map(|change| change.revision).collect();
    assert_eq!(
        revisions,
        [3, 2],
        "the newest first, and no more than asked for"
    );
    assert_eq!(
        (history[0].actor.as_str(), history[0].comment.as_str()),
        ("ada", "because")
    );
    let at = store.traffic_at("a", 1).await.unwrap().unwrap();
    assert_eq!((at.policy.as_str(), at.revision), ("1", 1));
    assert_eq!(store.traffic_at("a", 0).await.unwrap(), None);
}

async fn a_change_that_is_not_committed_is_none(store: &Store) {
    let before = store.traffic_change().await.unwrap();
    let mut write = store.write("ada").await.unwrap();
    write.change_traffic(set("a", "9")).await.unwrap();
    assert_eq!(write.traffic_of("a").await.unwrap().unwrap().policy, "9");
    drop(write);
    assert_eq!(store.traffic_change().await.unwrap(), before);
    assert_eq!(
        store
            .traffic_at("a", i64::MAX)
            .await
            .unwrap()
            .unwrap()
            .policy,
        ""
    );
}

async fn keeps_a_thousand_changes(store: &Store) {
    let mut write = store.write("ada").await.unwrap();
    for _ in 0..1001 {
        write.change_traffic(set("many", "1")).await.unwrap();
    }
    write.commit().await.unwrap();
    let history = store.traffic_history("many", 2000).await.unwrap();
    assert_eq!((history.len(), history[0].revision), (1000, 1001));
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_policies_and_their_history() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("traffic.db").display().to_string();
    let store = Store::open(&path).await.unwrap();
    counts_revisions_of_each_endpoint(&store).await;
    a_change_that_is_not_committed_is_none(&store).await;
    keeps_a_thousand_changes(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_keeps_policies_and_their_history() {
    let server = postgres::Postgres::start();
    let store = Store::open(&server.database("traffic")).await.unwrap();
    counts_revisions_of_each_endpoint(&store).await;
    a_change_that_is_not_committed_is_none(&store).await;
    keeps_a_thousand_changes(&store).await;
}
