//! Data sets and triggers on both databases.
#![allow(clippy::unwrap_used, reason = "these are tests")]

#[macro_use]
#[path = "support/suite.rs"]
mod suite;

#[allow(dead_code, reason = "shared with other tests")]
#[path = "support/postgres.rs"]
mod postgres;

use tidegate_store::{
    Dataset, DatasetPlace, Feedback, NewDataset, RetrainTrigger, Store, TriggerState, Write,
};

suite! {
    the_same_content_is_the_same_data_set,
    a_trigger_goes_from_state_to_state,
    what_no_event_has_told_is_found_again,
    a_person_decides_once,
    one_server_has_the_lease,
    labels_and_triggers_are_counted_by_time,
}

fn new<'a>(name: &'a str, digest: &'a str) -> NewDataset<'a> {
    NewDataset {
        name,
        digest,
        rows: 10,
        labels: 5,
        bytes: 100,
        place: DatasetPlace {
            path: "/data/datasets",
            id: "one",
        },
        manifest: "{}",
    }
}

async fn the_same_content_is_the_same_data_set(database: String) {
    let store = Store::open(&database).await.unwrap();
    let mut write = store.write("ada").await.unwrap();
    let (first, is_new) = write.add_dataset(new("fraud", "aa")).await.unwrap();
    assert!(is_new);
    assert_eq!(
        (first.reference().as_str(), first.created_by.as_str()),
        ("fraud@1", "ada")
    );
    let again = write.add_dataset(new("fraud", "aa")).await.unwrap();
    assert_eq!(again, (first.clone(), false));
    let (second, _) = write.add_dataset(new("fraud", "bb")).await.unwrap();
    let (other, is_new) = write.add_dataset(new("digits", "aa")).await.unwrap();
    assert_eq!((second.version, other.version, is_new), (2, 1, true));
    write.commit().await.unwrap();
    assert_eq!(
        store.datasets(Some("fraud")).await.unwrap(),
        [first, second]
    );
    assert_eq!(store.datasets(None).await.unwrap().len(), 3);

    let mut write = store.write("bob").await.unwrap();
    assert!(write.delete_dataset("fraud", 2).await.unwrap());
    assert!(!write.delete_dataset("fraud", 2).await.unwrap());
    let (third, _) = write.add_dataset(new("fraud", "bb")).await.unwrap();
    assert_eq!(third.version, 3, "a number is not given again");
    write.commit().await.unwrap();
    assert!(
        store
            .dataset("fraud", 2)
            .await
            .unwrap()
            .unwrap()
            .deleted_ms
            .is_some()
    );
    let place = |path, id| DatasetPlace { path, id };
    let (here, moved) = (place("/data/datasets", "one"), place("/moved", "one"));
    assert!(store.needs_dataset(here, "bb").await.unwrap());
    assert!(store.needs_dataset(moved, "bb").await.unwrap());
    // The same path on another machine.
    let other = place("/data/datasets", "two");
    assert!(!store.needs_dataset(other, "bb").await.unwrap());
    assert!(third.is_in(moved) && !third.is_in(other));
    let earlier = Dataset {
        place_id: String::new(),
        ..third
    };
    assert!(earlier.is_in(other) && !earlier.is_in(moved));
}

fn trigger(id: &str, fired_ms: i64) -> RetrainTrigger {
    RetrainTrigger {
        id: id.to_owned(),
        rule: "drift".to_owned(),
        endpoint: "fraud".to_owned(),
        state: TriggerState::Preparing,
        reason: "{}".to_owned(),
        fired_ms,
        changed_ms: fired_ms,
        dataset: String::new(),
        dataset_digest: String::new(),
        attempts: 0,
        next_ms: 0,
        problem: String::new(),
        decided_by: String::new(),
        closed_by: String::new(),
    }
}

async fn a_trigger_goes_from_state_to_state(database: String) {
    let store = Store::open(&database).await.unwrap();
    let mut write = store.write("retrain:drift").await.unwrap();
    write.add_trigger(&trigger("drift-1", 1000)).await.unwrap();
    let waiting = RetrainTrigger {
        state: TriggerState::Waiting,
        dataset: "fraud@1".to_owned(),
        attempts: 2,
        problem: "no rows".to_owned(),
        ..trigger("drift-1", 1000)
    };
    assert!(
        write
            .change_trigger(TriggerState::Preparing, &waiting)
            .await
            .unwrap()
    );
    assert!(
        !write
            .change_trigger(TriggerState::Preparing, &waiting)
            .await
            .unwrap()
    );
    write.commit().await.unwrap();
    assert_eq!(
        store.trigger("drift-1").await.unwrap(),
        Some(waiting.clone())
    );
    assert_eq!(
        store.triggers_in(TriggerState::Waiting, 9).await.unwrap(),
        std::slice::from_ref(&waiting)
    );
    assert_eq!(store.trigger("drift-2").await.unwrap(), None);

    let mut write = store.write("ada").await.unwrap();
    let close = async |write: &mut Write, id: &str, model: &str| {
        let closed = write.close_trigger(id, model, "fraud:8");
        closed.await.unwrap()
    };
    assert!(
        !close(&mut write, "drift-1", "fraud").await,
        "it waits for a person"
    );
    let open = RetrainTrigger {
        state: TriggerState::Open,
        ..waiting.clone()
    };
    let changed = write.change_trigger(TriggerState::Waiting, &open);
    assert!(changed.await.unwrap());
    assert!(!close(&mut write, "drift-1", "churn").await);
    assert!(close(&mut write, "drift-1", "fraud").await);
    assert!(!close(&mut write, "drift-1", "fraud").await);
    assert!(!close(&mut write, "drift-2", "fraud").await);
    write.commit().await.unwrap();
    let closed = store.trigger("drift-1").await.unwrap().unwrap();
    assert_eq!(
        (closed.state, closed.closed_by.as_str()),
        (TriggerState::Closed, "fraud:8")
    );
}

async fn what_no_event_has_told_is_found_again(database: String) {
    let store = Store::open(&database).await.unwrap();
    let mut write = store.write("retrain:drift").await.unwrap();
    write.add_trigger(&trigger("drift-1", 1000)).await.unwrap();
    write.commit().await.unwrap();
    assert_eq!(store.untold_triggers(9).await.unwrap().len(), 1);
    store
        .mark_told("drift-1", TriggerState::Preparing)
        .await
        .unwrap();
    assert_eq!(store.untold_triggers(9).await.unwrap(), []);
    let open = RetrainTrigger {
        state: TriggerState::Open,
        ..trigger("drift-1", 1000)
    };
    let mut write = store.write("retrain:drift").await.unwrap();
    let changed = write.change_trigger(TriggerState::Preparing, &open);
    assert!(changed.await.unwrap());
    let closed = write.close_trigger("drift-1", "fraud", "fraud:8");
    assert!(closed.await.unwrap());
    write.commit().await.unwrap();
    let untold = store.untold_triggers(9).await.unwrap();
    assert_eq!(untold[0].state, TriggerState::Closed);
}

async fn a_person_decides_once(database: String) {
    let store = Store::open(&database).await.unwrap();
    let mut write = store.write("ada").await.unwrap();
    write.add_trigger(&trigger("drift-1", 1000)).await.unwrap();
    let early = write.decide_trigger("drift-1", true).await.unwrap();
    assert_eq!(early.unwrap_err(), "the trigger drift-1 is preparing");
    let waiting = RetrainTrigger {
        state: TriggerState::Waiting,
        ..trigger("drift-1", 1000)
    };
    write
        .change_trigger(TriggerState::Preparing, &waiting)
        .await
        .unwrap();
    let approved = write
        .decide_trigger("drift-1", true)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (approved.state, approved.decided_by.as_str()),
        (TriggerState::Approved, "ada")
    );
    let dismissed = write
        .decide_trigger("drift-1", false)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(dismissed.state, TriggerState::Dismissed);
    assert!(
        write
            .decide_trigger("drift-1", true)
            .await
            .unwrap()
            .is_err()
    );
    assert!(
        write
            .decide_trigger("drift-2", true)
            .await
            .unwrap()
            .is_err()
    );
    write.commit().await.unwrap();
}

async fn one_server_has_the_lease(database: String) {
    let store = Store::open(&database).await.unwrap();
    assert!(store.hold_retrain_lease("a", 60_000).await.unwrap());
    assert!(store.hold_retrain_lease("a", 60_000).await.unwrap());
    assert!(!store.hold_retrain_lease("b", 60_000).await.unwrap());
    store.release_retrain_lease("b").await.unwrap();
    assert!(!store.hold_retrain_lease("b", 60_000).await.unwrap());
    store.release_retrain_lease("a").await.unwrap();
    assert!(store.hold_retrain_lease("b", -1).await.unwrap());
    assert!(
        store.hold_retrain_lease("c", 60_000).await.unwrap(),
        "that of b is over"
    );
}

async fn labels_and_triggers_are_counted_by_time(database: String) {
    let store = Store::open(&database).await.unwrap();
    let mut write = store.write("retrain:drift").await.unwrap();
    for (id, fired_ms) in [("drift-1", 1000), ("drift-2", 2000), ("drift-3", 3000)] {
        write.add_trigger(&trigger(id, fired_ms)).await.unwrap();
    }
    write.commit().await.unwrap();
    assert_eq!(store.fired_since("drift", 2000).await.unwrap(), 2);
    assert_eq!(store.fired_since("other", 0).await.unwrap(), 0);
    let newest = store.triggers(Some("drift"), 2).await.unwrap();
    let ids: Vec<&str> = newest.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(ids, ["drift-3", "drift-2"]);
    let since_ms = store.rule_since("drift").await.unwrap();
    assert_eq!(store.rule_since("drift").await.unwrap(), since_ms);

    let label = |row, received_ms| Feedback {
        endpoint: "fraud".to_owned(),
        prediction_id: "p".to_owned(),
        row,
        tenant: String::new(),
        prediction_ms: 1,
        label: "1".to_owned(),
        event_ms: None,
        received_ms,
        sent_by: "shop".to_owned(),
    };
    let labels = [label(0, 10), label(1, 20), label(2, 30)];
    store.add_feedback(&labels).await.unwrap();
    assert_eq!(store.labels_after("fraud", 10, 9).await.unwrap(), 2);
    assert_eq!(store.labels_after("fraud", 0, 2).await.unwrap(), 2);
    assert_eq!(store.labels_after("digits", 0, 9).await.unwrap(), 0);
}
