//! Captured predictions, written and read again.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use tidegate_capture::{CaptureFolder, CaptureWriter, Hour, PartitionKey, Subject};

const HOUR_MS: u64 = 3_600_000;

fn key(endpoint: &str, hour: u64) -> PartitionKey {
    PartitionKey {
        endpoint: endpoint.to_owned(),
        version: "7".to_owned(),
        hour: Hour::of_ms(hour * HOUR_MS),
    }
}

fn rows(numbers: &[i64]) -> RecordBatch {
    let amounts: ArrayRef = Arc::new(Int64Array::from(numbers.to_vec()));
    let texts = numbers.iter().map(|number| format!("row {number}"));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
    RecordBatch::try_from_iter([("amount", amounts), ("text", texts)]).unwrap()
}

fn read(folder: &CaptureFolder, key: &PartitionKey) -> Vec<i64> {
    let mut numbers = Vec::new();
    for batch in folder.read(key, Some(&["amount"])).unwrap() {
        let batch = batch.unwrap();
        assert_eq!(batch.num_columns(), 1, "only what was asked for is read");
        let column = batch.column(0).as_any().downcast_ref::<Int64Array>();
        numbers.extend(column.unwrap().values());
    }
    numbers
}

#[test]
fn rows_come_back_by_endpoint_version_and_hour() {
    let place = tempfile::tempdir().unwrap();
    let folder = CaptureFolder::new(place.path().join("captures"));
    let mut writer = CaptureWriter::new(folder.clone(), usize::MAX);
    writer.add(key("fraud", 5), rows(&[1, 2]));
    writer.add(key("digits", 5), rows(&[3]));
    writer.add(key("fraud", 6), rows(&[4]));
    assert_eq!(writer.rows(), 4);
    assert!(writer.flush().error.is_none());
    writer.add(key("fraud", 5), rows(&[5]));
    assert!(writer.flush().error.is_none());
    assert_eq!(read(&folder, &key("fraud", 5)), [1, 2, 5]);
    assert_eq!(read(&folder, &key("digits", 5)), [3]);
    assert_eq!(read(&folder, &key("digits", 6)), []);
    let hours = folder.partitions_of("fraud", Hour::of_ms(0), Hour::of_ms(5 * HOUR_MS));
    let hours: Vec<(PartitionKey, usize)> = hours
        .unwrap()
        .into_iter()
        .map(|partition| (partition.key, partition.files))
        .collect();
    assert_eq!(hours, [(key("fraud", 5), 2)]);
}

#[test]
fn rows_beyond_the_memory_are_written_at_once() {
    let place = tempfile::tempdir().unwrap();
    let folder = CaptureFolder::new(place.path());
    let mut writer = CaptureWriter::new(folder.clone(), 1);
    writer.add(key("fraud", 5), rows(&[1]));
    assert_eq!(
        (writer.rows(), read(&folder, &key("fraud", 5))),
        (0, vec![1])
    );
}

#[test]
fn old_hours_go_first_by_age_and_then_by_size() {
    let place = tempfile::tempdir().unwrap();
    let folder = CaptureFolder::new(place.path());
    let mut writer = CaptureWriter::new(folder.clone(), usize::MAX);
    for hour in 1..=4 {
        writer.add(key("fraud", hour), rows(&[1]));
    }
    assert!(writer.flush().error.is_none());
    let bytes = folder.partitions().unwrap()[0].bytes;
    // Hour 1 ended at 2 h.
    let removed = folder.retain(2 * HOUR_MS + 1, u64::MAX).unwrap();
    assert_eq!((removed.files, removed.bytes_left), (1, 3 * bytes));
    let removed = folder.retain(0, 2 * bytes).unwrap();
    assert_eq!((removed.files, removed.bytes_left), (1, 2 * bytes));
    let left = folder.partitions().unwrap();
    let left: Vec<PartitionKey> = left.into_iter().map(|one| one.key).collect();
    assert_eq!(left, [key("fraud", 3), key("fraud", 4)]);
    assert!(
        !place
            .path()
            .join("endpoint=fraud/version=7/dt=1970-01-01/hour=01")
            .exists()
    );
}

#[test]
fn half_written_files_are_not_read_and_removed_at_the_next_start() {
    let place = tempfile::tempdir().unwrap();
    let folder = CaptureFolder::new(place.path());
    let unfinished = place.path().join("tmp/1-2-3.parquet");
    std::fs::create_dir_all(unfinished.parent().unwrap()).unwrap();
    std::fs::write(&unfinished, b"PAR1").unwrap();
    assert_eq!(folder.partitions().unwrap(), []);
    let _lock = folder.lock().unwrap();
    assert!(!unfinished.exists());
}

#[test]
fn a_damaged_file_is_an_error_that_names_it() {
    let place = tempfile::tempdir().unwrap();
    let folder = CaptureFolder::new(place.path());
    let mut writer = CaptureWriter::new(folder.clone(), usize::MAX);
    writer.add(key("fraud", 5), rows(&[1]));
    assert!(writer.flush().error.is_none());
    let hour = place
        .path()
        .join("endpoint=fraud/version=7/dt=1970-01-01/hour=05");
    let file = std::fs::read_dir(hour)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    std::fs::write(&file, b"nothing").unwrap();
    let error = folder.read(&key("fraud", 5), None).unwrap_err().to_string();
    assert!(error.contains(file.to_str().unwrap()), "{error}");
}

#[test]
fn names_never_lead_out_of_the_folder() {
    let place = tempfile::tempdir().unwrap();
    let folder = CaptureFolder::new(place.path());
    let mut writer = CaptureWriter::new(folder.clone(), usize::MAX);
    for endpoint in ["../x", "", "a/b", &"x".repeat(200)] {
        assert!(
            writer.add(key(endpoint, 5), rows(&[1])).error.is_some(),
            "{endpoint}"
        );
        assert!(folder.write_note(&key(endpoint, 5), b"{}").is_err());
        assert_eq!(folder.read(&key(endpoint, 5), None).unwrap().count(), 0);
    }
}

#[test]
fn a_note_replaces_the_earlier_one() {
    let place = tempfile::tempdir().unwrap();
    let folder = CaptureFolder::new(place.path());
    assert_eq!(folder.read_note(&key("fraud", 1)).unwrap(), None);
    folder.write_note(&key("fraud", 1), b"one").unwrap();
    folder.write_note(&key("fraud", 2), b"two").unwrap();
    let note = folder.read_note(&key("fraud", 3)).unwrap();
    assert_eq!(note.as_deref(), Some(b"two".as_slice()));
}

#[test]
fn the_rows_of_a_subject_are_erased_and_no_others() {
    let place = tempfile::tempdir().unwrap();
    let folder = CaptureFolder::new(place.path());
    let mut writer = CaptureWriter::new(folder.clone(), usize::MAX);
    for numbers in [[1, 2], [2, 2], [3, 4]] {
        writer.add(key("fraud", 5), rows(&numbers));
        assert!(writer.flush().error.is_none());
    }
    let subject = Subject {
        column: "amount",
        value: "2.0",
        id_columns: ["text", "amount"],
    };
    let found = folder.find(&key("fraud", 5), subject).unwrap();
    assert!(found.has_column && found.ids == [["row 2", "2"]; 3]);
    assert_eq!(folder.erase(&key("fraud", 5), subject).unwrap(), 3);
    assert_eq!(read(&folder, &key("fraud", 5)), [1, 3, 4]);
    let files = folder.partitions().unwrap()[0].files;
    assert_eq!(files, 2, "a file without rows is removed");
    assert_eq!(folder.erase(&key("fraud", 5), subject).unwrap(), 0);
    let other = Subject {
        column: "customer",
        ..subject
    };
    assert!(!folder.find(&key("fraud", 5), other).unwrap().has_column);
}

#[test]
fn one_process_writes_into_a_folder() {
    let place = tempfile::tempdir().unwrap();
    let folder = CaptureFolder::new(place.path().join("captures"));
    let lock = folder.lock().unwrap();
    let error = folder.lock().unwrap_err().to_string();
    assert!(error.contains("another server"), "{error}");
    drop(lock);
    assert!(folder.lock().is_ok());
}
