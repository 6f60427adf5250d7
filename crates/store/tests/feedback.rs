//! Feedback on both databases.
#![allow(clippy::unwrap_used, reason = "these are tests")]

#[allow(dead_code, reason = "shared with other tests")]
#[path = "support/postgres.rs"]
mod postgres;

use tidegate_store::FeedbackOutcome::{Corrected, New, Same};
use tidegate_store::{Feedback, FeedbackMark, Store};

fn label(prediction: i64, row: i64, label: &str) -> Feedback {
    Feedback {
        endpoint: "fraud".to_owned(),
        prediction_id: format!("{prediction:08}"),
        row,
        tenant: String::new(),
        prediction_ms: prediction,
        label: label.to_owned(),
        event_ms: (row == 0).then_some(7),
        received_ms: 9,
        sent_by: "shop".to_owned(),
    }
}

async fn the_last_label_of_a_row_counts(store: &Store) {
    let first = [
        label(10, 0, "true"),
        label(10, 1, "false"),
        label(20, 0, "true"),
    ];
    assert_eq!(store.add_feedback(&first).await.unwrap(), [New, New, New]);
    let again = [label(10, 0, "true"), label(10, 1, "true")];
    assert_eq!(store.add_feedback(&again).await.unwrap(), [Same, Corrected]);
    let mark = store.feedback_mark("fraud", 0..20).await.unwrap();
    let expected = FeedbackMark {
        labels: 2,
        corrections: 1,
    };
    assert_eq!(mark, expected);
    assert_eq!(
        store.feedback_mark("other", 0..20).await.unwrap(),
        FeedbackMark::default()
    );
    let page = store.feedback("fraud", 0..21, None, 2).await.unwrap();
    assert_eq!(page, [label(10, 0, "true"), label(10, 1, "true")]);
    let last = page
        .last()
        .map(|one| (one.prediction_id.as_str(), one.row, one.tenant.as_str()));
    let rest = store.feedback("fraud", 0..21, last, 2).await.unwrap();
    assert_eq!(rest, [label(20, 0, "true")]);
    let other = Feedback {
        tenant: "other".to_owned(),
        ..label(20, 0, "false")
    };
    let added = store.add_feedback(std::slice::from_ref(&other)).await;
    assert_eq!(
        added.unwrap(),
        [New],
        "another tenant's label replaces none"
    );
    let both = store.feedback("fraud", 20..21, None, 9).await.unwrap();
    assert_eq!(both, [label(20, 0, "true"), other]);
    let after = Some((both[0].prediction_id.as_str(), 0, ""));
    assert_eq!(
        store
            .feedback("fraud", 20..21, after, 9)
            .await
            .unwrap()
            .len(),
        1
    );
    let row = [(both[0].prediction_id.clone(), 0)];
    assert_eq!(store.erase_feedback("fraud", &row).await.unwrap(), 2);
    store.add_feedback(&rest).await.unwrap();
    assert_eq!(store.forget_feedback(20).await.unwrap(), 2);
    assert_eq!(store.feedback("fraud", 0..99, None, 9).await.unwrap(), rest);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_label_counts_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = Store::open(path.to_str().unwrap()).await.unwrap();
    the_last_label_of_a_row_counts(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_label_counts_on_postgres() {
    let server = postgres::Postgres::start();
    let store = Store::open(&server.database("feedback")).await.unwrap();
    the_last_label_of_a_row_counts(&store).await;
}
