#![allow(clippy::unwrap_used, reason = "these are tests")]

use tidegate_core::{FeatureValue, KeyValue};

use super::*;

fn store(folder: &tempfile::TempDir) -> Embedded {
    Embedded::new(folder.path().join("sub/features.db"), Embedded::MAX_BYTES)
}

fn row(driver: i64, rate: f64) -> FeatureRow {
    let json = serde_json::json!({
        "view": "driver", "entity": {"driver_id": driver}, "features": {"rate": rate, "trips": driver},
    });
    serde_json::from_value(json).unwrap()
}

fn query(drivers: &[i64]) -> FeatureQuery {
    FeatureQuery {
        view: "driver".into(),
        join_keys: ["driver_id".into()].into(),
        features: ["trips".into(), "rate".into(), "trips".into(), "no".into()].into(),
        entities: drivers
            .iter()
            .map(|driver| vec![KeyValue::Int64(*driver)])
            .collect(),
    }
}

#[tokio::test]
async fn many_entities_keep_the_order_of_the_query() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let rows: Vec<_> = (0..1000)
        .map(|driver| row(driver, driver as f64 / 2.0))
        .collect();
    let outcome = store.put(&rows, 5).await.unwrap();
    assert_eq!((outcome.written, outcome.older), (2000, 0));
    let drivers: Vec<i64> = (0..1000).rev().chain([-1]).collect();
    let found = store.query(&query(&drivers)).await.unwrap();
    assert_eq!(found.len(), 4 * 1001);
    for (driver, features) in drivers.iter().zip(found.chunks(4)) {
        if *driver < 0 {
            assert!(
                features
                    .iter()
                    .all(|feature| *feature == Feature::default())
            );
            continue;
        }
        assert_eq!(features[0].value, FeatureValue::Integer(*driver));
        assert_eq!(
            features[1].value,
            FeatureValue::Number(*driver as f64 / 2.0)
        );
        assert_eq!(features[2], features[0]);
        assert_eq!(features[3], Feature::default());
        assert_eq!(features[0].event_ms, Some(5));
    }
}

#[tokio::test]
async fn an_older_value_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    store.put(&[row(1, 0.5)], 1000).await.unwrap();
    let outcome = store.put(&[row(1, 0.1)], 999).await.unwrap();
    assert_eq!((outcome.written, outcome.older), (0, 2));
    store.put(&[row(1, 0.7)], 1000).await.unwrap();
    let found = store.query(&query(&[1])).await.unwrap();
    assert_eq!(found[1].value, FeatureValue::Number(0.7));
}

#[tokio::test]
async fn a_wrong_row_leaves_nothing_of_its_change() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let mut wrong = row(2, 0.5);
    wrong.entity.clear();
    let error = store.put(&[row(1, 0.5), wrong], 0).await.unwrap_err();
    assert!(
        matches!(error, EmbeddedError::Row { row: 1, .. }),
        "{error}"
    );
    assert!(store.get(&row(1, 0.0)).await.unwrap().is_empty());
}

#[tokio::test]
async fn keys_of_32_bits_find_what_was_put() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    store.put(&[row(7, 0.5)], 0).await.unwrap();
    let narrow = FeatureQuery {
        entities: vec![vec![KeyValue::Int32(7)]],
        ..query(&[])
    };
    assert_eq!(
        store.query(&narrow).await.unwrap()[0].value,
        FeatureValue::Integer(7)
    );
}

#[tokio::test]
async fn entities_and_views_can_be_removed() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    store.put(&[row(1, 0.5), row(2, 0.5)], 0).await.unwrap();
    assert_eq!(store.delete(&row(1, 0.0)).await.unwrap(), 2);
    let left = store.get(&row(2, 0.0)).await.unwrap();
    assert_eq!(left[0].feature, "rate");
    assert_eq!(left[0].value, 0.5);
    let mut view = row(1, 0.0);
    view.entity.clear();
    assert_eq!(store.delete(&view).await.unwrap(), 2);
}

#[tokio::test]
async fn what_was_put_is_there_for_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    store(&folder).put(&[row(1, 0.5)], 3).await.unwrap();
    let found = store(&folder).query(&query(&[1])).await.unwrap();
    assert_eq!(found[1].value, FeatureValue::Number(0.5));
}

#[tokio::test]
async fn a_full_store_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let store = Embedded::new(folder.path().join("features.db"), 64 << 10);
    let rows: Vec<_> = (0..5000).map(|driver| row(driver, 0.5)).collect();
    assert_eq!(store.put(&rows, 0).await.unwrap_err(), EmbeddedError::Full);
    assert!(
        store.query(&query(&[1])).await.is_ok(),
        "it can still be read"
    );
}
