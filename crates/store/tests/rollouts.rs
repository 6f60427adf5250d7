//! Rollouts on both databases.
#![allow(clippy::unwrap_used, reason = "these are tests")]

#[allow(dead_code, reason = "shared with other tests")]
#[path = "support/postgres.rs"]
mod postgres;

use tidegate_store::{NewRolloutWindow, Store};

async fn keeps_the_state_and_counts_its_changes(store: &Store) {
    assert_eq!(store.rollouts().await.unwrap(), None);
    for (state, change) in [("one", 1), ("two", 2)] {
        let mut write = store.write("ada").await.unwrap();
        write.set_rollouts(state).await.unwrap();
        assert_eq!(write.rollouts().await.unwrap().as_deref(), Some(state));
        write.commit().await.unwrap();
        assert_eq!(store.rollouts_change().await.unwrap(), change);
    }
    let mut write = store.write("ada").await.unwrap();
    write.set_rollouts("three").await.unwrap();
    drop(write);
    assert_eq!(store.rollouts().await.unwrap().as_deref(), Some("two"));
}

async fn keeps_windows_of_servers_for_a_while(store: &Store) {
    let window = |version: &str| NewRolloutWindow {
        endpoint: "fraud".to_owned(),
        version: version.to_owned(),
        figures: "{}".to_owned(),
    };
    let windows = [window("7"), window("8")];
    for server in ["a", "b"] {
        store
            .add_rollout_windows(server, &windows, 60)
            .await
            .unwrap();
    }
    let all = store.rollout_windows(0, i64::MAX).await.unwrap();
    assert_eq!(all.len(), 4);
    let last = all.last().unwrap().second;
    assert!(
        store
            .rollout_windows(last, i64::MAX)
            .await
            .unwrap()
            .is_empty()
    );
    // Those of the same second are not older than no second at all.
    store.add_rollout_windows("c", &[], -60).await.unwrap();
    let left = store.rollout_windows(0, i64::MAX).await.unwrap();
    assert!(left.is_empty(), "{left:?}");
}

async fn keeps_fifty_of_those_that_are_over(store: &Store) {
    for number in 0..60 {
        let mut write = store.write("ada").await.unwrap();
        let state = number.to_string();
        write
            .archive_rollout("fraud", &format!("fraud-{number}"), &state)
            .await
            .unwrap();
        write.commit().await.unwrap();
        // They are told apart by the time at which they ended.
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let past = store.past_rollouts("fraud").await.unwrap();
    assert_eq!(
        (past.len(), past[0].as_str(), past[49].as_str()),
        (50, "59", "10")
    );
    assert!(store.past_rollouts("other").await.unwrap().is_empty());
    assert_eq!(store.last_rollouts(2).await.unwrap(), ["59", "58"]);
}

async fn check(store: &Store) {
    keeps_the_state_and_counts_its_changes(store).await;
    keeps_windows_of_servers_for_a_while(store).await;
    keeps_fifty_of_those_that_are_over(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_rollouts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rollouts.db").display().to_string();
    check(&Store::open(&path).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_keeps_rollouts() {
    let server = postgres::Postgres::start();
    let store = Store::open(&server.database("rollouts")).await.unwrap();
    check(&store).await;
}
