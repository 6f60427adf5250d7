//! Taking the rows of a subject out of written files.

use std::fs::{self, File};
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::{Array, BooleanArray, RecordBatch};
use arrow_cast::display::array_value_to_string;
use arrow_select::filter::filter_record_batch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::writer::new_writer;
use crate::{CaptureError, CaptureFolder, PartitionKey};

/// What was erased.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Rows.
    pub rows: u64,
    /// The values that they had in another column, such as the ids of predictions.
    pub ids: Vec<String>,
}

/// Which rows are erased.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The column.
    pub column: &'a str,
    /// Its value, as text.
    pub value: &'a str,
    /// The column whose values of erased rows are returned.
    pub id_column: &'a str,
}

impl CaptureFolder {
    /// Erases the rows of a partition that have a value in a column. Each file is replaced by one without
    /// them; a process that is killed meanwhile leaves each file as it was or without them, so that erasing
    /// again completes it.
    ///
    /// # Errors
    /// [`CaptureError`] of the first file that cannot be read or replaced.
    pub fn erase(&self, key: &PartitionKey, subject: Subject<'_>) -> Result<Erased, CaptureError> {
        let mut erased = Erased::default();
        for path in self.files_of(key)? {
            self.erase_in(&path, subject, &mut erased)?;
        }
        Ok(erased)
    }

    fn erase_in(
        &self,
        path: &Path,
        subject: Subject<'_>,
        erased: &mut Erased,
    ) -> Result<(), CaptureError> {
        let before = erased.rows;
        let unreadable = |problem: String| CaptureError::content(path, problem);
        let file = File::open(path).map_err(|error| CaptureError::io(path, error))?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file)
            .map_err(|error| unreadable(error.to_string()))?;
        let schema = builder.schema().clone();
        if schema.column_with_name(subject.column).is_none() {
            return Ok(());
        }
        let reader = builder.build();
        let reader = reader.map_err(|error| unreadable(error.to_string()))?;
        let mut left = Vec::new();
        for batch in reader {
            let batch = batch.map_err(|error| unreadable(error.to_string()))?;
            let kept = kept_rows(&batch, subject, erased).map_err(unreadable)?;
            left.push(kept);
        }
        if erased.rows == before {
            return Ok(());
        }
        if left.iter().all(|batch| batch.num_rows() == 0) {
            return fs::remove_file(path).map_err(|error| CaptureError::io(path, error));
        }
        let (file, unfinished) = self.create_unfinished()?;
        let mut writer = new_writer(&unfinished, file, schema)?;
        for batch in &left {
            let written = writer.write(batch);
            written.map_err(|error| CaptureError::content(&unfinished, error))?;
        }
        let file = writer.into_inner();
        let file = file.map_err(|error| CaptureError::content(&unfinished, error))?;
        let replaced = file.sync_all().and_then(|()| fs::rename(&unfinished, path));
        replaced.map_err(|error| CaptureError::io(path, error))
    }
}

fn kept_rows(
    batch: &RecordBatch,
    subject: Subject<'_>,
    erased: &mut Erased,
) -> Result<RecordBatch, String> {
    let column = batch
        .column_by_name(subject.column)
        .ok_or("a column is missing")?;
    let mut keeps = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let is_null = column.is_null(row);
        let value = array_value_to_string(column, row).map_err(|error| error.to_string())?;
        let is_kept = is_null || value != subject.value;
        if !is_kept {
            erased.rows += 1;
            erased.ids.extend(text(batch, subject.id_column, row));
        }
        keeps.push(is_kept);
    }
    filter_record_batch(batch, &BooleanArray::from(keeps)).map_err(|error| error.to_string())
}

fn text(batch: &RecordBatch, column: &str, row: usize) -> Option<String> {
    let texts = batch.column_by_name(column)?.as_string_opt::<i32>()?;
    Some(texts.value(row).to_owned())
}
