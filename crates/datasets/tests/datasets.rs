//! Data sets as others make and read them.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{
    ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMillisecondArray, UInt32Array,
};
use tidegate_capture::{CaptureFolder, CaptureWriter, Hour, PartitionKey};
use tidegate_core::QualityTask;
use tidegate_datasets::{
    DatasetError, DatasetQuery, DatasetReference, Datasets, DatasetsContext, LabelTarget,
};
use tidegate_redaction::PrivacyConfig;
use tidegate_store::{Feedback, Store};
use uuid::Uuid;

const BEGIN_MS: u64 = 1_795_770_000_000;

/// The id of a prediction at a time.
fn id(at_ms: u64, number: u32) -> Uuid {
    Uuid::from_u128(u128::from(at_ms) << 80 | 7 << 76 | u128::from(number))
}

fn rows(numbers: std::ops::Range<u32>) -> RecordBatch {
    let at_ms = |number: u32| BEGIN_MS + u64::from(number);
    let ids = numbers
        .clone()
        .map(|number| id(at_ms(number), number).to_string());
    let times = numbers.clone().map(|number| at_ms(number) as i64);
    let times = TimestampMillisecondArray::from_iter_values(times).with_timezone("UTC");
    let outcome = |number: u32| if number == 13 { "timeout" } else { "answered" };
    let texts = |text: fn(u32) -> &'static str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(numbers.clone().map(text)))
    };
    let amounts = numbers.clone().map(f64::from);
    let columns: [(&str, ArrayRef); 9] = [
        (
            "prediction_id",
            Arc::new(StringArray::from_iter_values(ids)),
        ),
        (
            "row",
            Arc::new(UInt32Array::from_iter_values(numbers.clone().map(|_| 0))),
        ),
        ("time", Arc::new(times)),
        ("model", texts(|_| "fraud")),
        ("model_version", texts(|_| "1")),
        (
            "tenant",
            texts(|number| if number % 2 == 0 { "shop" } else { "" }),
        ),
        (
            "outcome",
            Arc::new(StringArray::from_iter_values(numbers.clone().map(outcome))),
        ),
        ("field.phone", texts(|_| "a number")),
        (
            "field.amount",
            Arc::new(Float64Array::from_iter_values(amounts)),
        ),
    ];
    RecordBatch::try_from_iter_with_nullable(
        columns
            .into_iter()
            .map(|(name, column)| (name, column, true)),
    )
    .unwrap()
}

/// Writes predictions as files of so many rows.
fn capture(folder: &Path, count: u32, of_file: u32) -> CaptureFolder {
    let folder = CaptureFolder::new(folder.join("captures"));
    let key = PartitionKey {
        endpoint: "fraud".into(),
        version: "1".into(),
        hour: Hour::of_ms(BEGIN_MS),
    };
    let target: Result<LabelTarget, String> = Ok(LabelTarget {
        output: "p".to_owned(),
        task: QualityTask::Classes,
        classes: vec!["legitimate".to_owned(), "fraud".to_owned()],
        positive: Some(1),
        threshold: 0.5,
    });
    folder
        .write_note(&key, &serde_json::to_vec(&target).unwrap())
        .unwrap();
    let mut begin = 0;
    while begin < count {
        let end = (begin + of_file).min(count);
        // Files have the order of their names, which begin with the time.
        std::thread::sleep(std::time::Duration::from_millis(2));
        let mut writer = CaptureWriter::new(folder.clone(), 1 << 30);
        writer.add(key.clone(), rows(begin..end));
        assert!(writer.flush().error.is_none());
        begin = end;
    }
    folder
}

fn label(number: u32, tenant: &str, label: &str) -> Feedback {
    let at_ms = BEGIN_MS + u64::from(number);
    Feedback {
        endpoint: "fraud".to_owned(),
        prediction_id: id(at_ms, number).to_string(),
        row: 0,
        tenant: tenant.to_owned(),
        prediction_ms: at_ms as i64,
        label: label.to_owned(),
        event_ms: Some(at_ms as i64 + 60_000),
        received_ms: 0,
        sent_by: "a".to_owned(),
    }
}

async fn datasets(folder: &Path, captures: CaptureFolder, fields: &[&str]) -> Datasets {
    Datasets::new(context(folder, captures, fields).await)
}

async fn context(folder: &Path, captures: CaptureFolder, fields: &[&str]) -> DatasetsContext {
    let store = Store::open(folder.join("registry.db").to_str().unwrap())
        .await
        .unwrap();
    let labels: Vec<Feedback> = (0..3000)
        .step_by(3)
        .map(|at| label(at, "", "true"))
        .collect();
    store.add_feedback(&labels).await.unwrap();
    DatasetsContext {
        folder: DatasetsContext::folder_in(folder),
        captures,
        labels: store.clone(),
        store,
        privacy: PrivacyConfig {
            fields: fields.iter().map(|&name| name.to_owned()).collect(),
            ..PrivacyConfig::default()
        },
        max_disk_bytes: 1 << 30,
    }
}

fn query(labelled: bool) -> DatasetQuery {
    DatasetQuery {
        endpoint: "fraud".to_owned(),
        version: None,
        from_ms: BEGIN_MS,
        to_ms: BEGIN_MS + 2500,
        labelled,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_rows_are_the_same_bytes_however_they_were_captured() {
    let mut digests = Vec::new();
    for of_file in [3000, 1000, 137] {
        let folder = tempfile::tempdir().unwrap();
        let captures = capture(folder.path(), 3000, of_file);
        let datasets = datasets(folder.path(), captures, &[]).await;
        let (record, is_new) = datasets
            .create("fraud", query(false), "ada", true)
            .await
            .unwrap();
        assert!(is_new);
        let manifest = &record.manifest;
        // One of them was not answered; each third has a label.
        assert_eq!((manifest.rows, manifest.labels), (2499, 834));
        assert_eq!(manifest.lineage.unanswered, 1);
        assert_eq!(
            manifest.lineage.captured_files,
            u64::from(3000u32.div_ceil(of_file))
        );
        digests.push(manifest.digest.clone());
        let (again, is_new) = datasets
            .create("fraud", query(false), "bob", true)
            .await
            .unwrap();
        assert_eq!((again.version, is_new), (1, false));
        let (labelled, _) = datasets
            .create("fraud", query(true), "ada", true)
            .await
            .unwrap();
        assert_eq!((labelled.version, labelled.manifest.rows), (2, 834));
    }
    digests.dedup();
    assert_eq!(digests.len(), 1, "{digests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_of_the_tenant_counts_before_one_for_all_and_private_columns_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let captures = capture(folder.path(), 20, 20);
    let datasets = datasets(folder.path(), captures, &["phone"]).await;
    let store = Store::open(folder.path().join("registry.db").to_str().unwrap())
        .await
        .unwrap();
    // Of another tenant, of the tenant itself, and of no class.
    let labels = [
        label(1, "bank", "1"),
        label(6, "shop", "0"),
        label(8, "shop", "7"),
    ];
    store.add_feedback(&labels).await.unwrap();
    let (record, _) = datasets
        .create("fraud", query(false), "ada", true)
        .await
        .unwrap();
    assert_eq!(record.manifest.lineage.left_out_columns, ["field.phone"]);
    assert_eq!(record.manifest.lineage.unusable_labels, 1);
    let file = datasets.open(&record).unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file);
    let batch = reader.unwrap().build().unwrap().next().unwrap().unwrap();
    assert!(batch.column_by_name("field.phone").is_none());
    let labels: &StringArray = batch["label"].as_any().downcast_ref().unwrap();
    // Row 13 is missing: it was not answered.
    let found: Vec<Option<&str>> = labels.iter().take(10).collect();
    let fraud = Some("fraud");
    let wanted = [
        fraud,
        None,
        None,
        fraud,
        None,
        None,
        Some("legitimate"),
        None,
        None,
        fraud,
    ];
    assert_eq!(found, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_or_gone_is_not_handed_out() {
    let folder = tempfile::tempdir().unwrap();
    let captures = capture(folder.path(), 20, 20);
    let datasets = datasets(folder.path(), captures, &[]).await;
    let other = DatasetQuery {
        endpoint: "digits".to_owned(),
        ..query(false)
    };
    let nothing = datasets
        .create("digits", other, "ada", true)
        .await
        .unwrap_err();
    assert!(matches!(nothing, DatasetError::NotFound(_)), "{nothing}");
    let (record, _) = datasets
        .create("fraud", query(false), "ada", true)
        .await
        .unwrap();
    let path = folder
        .path()
        .join("datasets")
        .join(&record.manifest.digest)
        .join("data.parquet");
    let mut content = std::fs::read(&path).unwrap();
    content[100] ^= 1;
    std::fs::write(&path, content).unwrap();
    assert!(
        datasets
            .open(&record)
            .unwrap_err()
            .to_string()
            .contains("has the digest")
    );
    let reference: DatasetReference = "fraud@1".parse().unwrap();
    let deleted = datasets.delete(&reference, "ada", true).await.unwrap();
    assert!(deleted.deleted_ms.is_some() && !path.exists());
    assert!(
        datasets
            .open(&deleted)
            .unwrap_err()
            .to_string()
            .contains("was deleted")
    );
    assert_eq!(datasets.list(None).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_would_take_too_much_of_the_disk_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let captures = capture(folder.path(), 3000, 3000);
    let mut context = context(folder.path(), captures, &[]).await;
    let datasets = Datasets::new(context.clone());
    let made = datasets.create("fraud", query(true), "ada", true);
    let (record, _) = made.await.unwrap();
    let used = datasets.disk_bytes().await.unwrap();
    assert!(used > record.manifest.bytes, "the description counts too");
    context.max_disk_bytes = used + 1000;
    let datasets = Datasets::new(context);
    let refused = datasets.create("fraud", query(false), "ada", true).await;
    let refused = refused.unwrap_err();
    assert!(matches!(refused, DatasetError::Full { .. }), "{refused}");
    assert!(refused.to_string().contains("datasets.max_disk_bytes"));
    assert_eq!(datasets.disk_bytes().await.unwrap(), used);
    assert!(!folder.path().join("datasets/tmp").exists());
    let reference: DatasetReference = "fraud@1".parse().unwrap();
    datasets.delete(&reference, "ada", true).await.unwrap();
    assert_eq!(datasets.disk_bytes().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_without_a_record_are_removed_and_those_of_other_databases_stay() {
    let folder = tempfile::tempdir().unwrap();
    let captures = capture(folder.path(), 20, 20);
    let datasets = datasets(folder.path(), captures, &[]).await;
    let created = datasets.create("fraud", query(false), "ada", true);
    let digest = created.await.unwrap().0.manifest.digest;
    let root = folder.path().join("datasets");
    // As a process leaves it that is killed before its record is there.
    let copy = |name: &str, change: fn(String) -> String| {
        let to = root.join(name);
        std::fs::create_dir(&to).unwrap();
        let described = std::fs::read_to_string(root.join(&digest).join("dataset.json")).unwrap();
        std::fs::write(to.join("dataset.json"), change(described)).unwrap();
        to
    };
    let orphan = copy(&"ab".repeat(32), |text| text);
    let foreign = copy(&"cd".repeat(32), |text| {
        text.replace("\"records\": \"", "\"records\": \"another ")
    });
    assert_eq!(
        datasets.sweep(Duration::from_secs(3600)).await.unwrap(),
        Vec::<String>::new(),
        "it may be one that is being made"
    );
    let swept = datasets.sweep(Duration::ZERO).await.unwrap();
    assert_eq!(swept, ["ab".repeat(32)]);
    assert!(!orphan.exists() && foreign.exists() && root.join(&digest).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_erased_meanwhile_are_in_no_data_set() {
    let folder = tempfile::tempdir().unwrap();
    let captures = capture(folder.path(), 20, 20);
    let datasets = datasets(folder.path(), captures.clone(), &[]).await;
    let erasure = captures.begin_erasure().unwrap();
    let refused = datasets.create("fraud", query(false), "ada", true).await;
    let refused = refused.unwrap_err();
    assert!(matches!(refused, DatasetError::Changed(_)), "{refused}");
    drop(erasure);
    let made = datasets.create("fraud", query(false), "ada", true).await;
    assert!(made.unwrap().1);
    // The lock of names stands for whatever takes long between reading and the record.
    let names = std::fs::File::open(folder.path().join("datasets/.names.lock")).unwrap();
    names.lock().unwrap();
    let making = datasets.clone();
    let making = tokio::spawn(async move {
        let made = making.create("fraud", query(true), "ada", true).await;
        made.unwrap_err()
    });
    let unfinished = folder.path().join("datasets/tmp/data.parquet");
    while !std::fs::metadata(&unfinished).is_ok_and(|file| file.len() > 1000) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(captures.begin_erasure().unwrap());
    drop(names);
    let refused = making.await.unwrap();
    assert!(matches!(refused, DatasetError::Changed(_)), "{refused}");
    assert_eq!(datasets.list(None).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_path_on_another_machine_is_another_folder() {
    let folder = tempfile::tempdir().unwrap();
    let captures = capture(folder.path(), 20, 20);
    let datasets = datasets(folder.path(), captures, &[]).await;
    let created = datasets.create("fraud", query(false), "ada", true);
    let (record, _) = created.await.unwrap();
    assert!(!record.place_id.is_empty() && datasets.open(&record).is_ok());
    std::fs::write(folder.path().join("datasets/.id"), "another").unwrap();
    let refused = datasets.open(&record).unwrap_err().to_string();
    assert!(refused.contains("not here"), "{refused}");
    let reference: DatasetReference = "fraud@1".parse().unwrap();
    let refused = datasets.delete(&reference, "ada", true).await.unwrap_err();
    assert!(matches!(refused, DatasetError::NotFound(_)), "{refused}");
}
