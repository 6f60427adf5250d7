//! Taking the rows of a subject out of written files.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow_cast::display::array_value_to_string;
use arrow_select::filter::filter_record_batch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::folder::sync_folders;
use crate::{CaptureError, CaptureFolder, PartitionKey};

/// The rows of a subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubjectRows {
    /// Each with what names it: the values of [`Subject::id_columns`].
    pub ids: Vec<[String; 2]>,
    /// Whether a file has the column at all.
    pub has_column: bool,
}

/// Which rows are erased.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The column.
    pub column: &'a str,
    /// Its value. Numbers are compared as numbers.
    pub value: &'a str,
    /// The columns that name a row.
    pub id_columns: [&'a str; 2],
}

impl CaptureFolder {
    /// The rows of a partition that have a value in a column.
    ///
    /// # Errors
    /// [`CaptureError`] of the first file that cannot be read.
    pub fn find(
        &self,
        key: &PartitionKey,
        subject: Subject<'_>,
    ) -> Result<SubjectRows, CaptureError> {
        let mut found = SubjectRows::default();
        let columns = [subject.column, subject.id_columns[0], subject.id_columns[1]];
        for batch in self.read(key, Some(&columns))? {
            let batch = batch?;
            let Some(column) = batch.column_by_name(subject.column) else {
                continue;
            };
            found.has_column = true;
            let unreadable = |problem: String| CaptureError::content(self.root(), problem);
            for row in 0..batch.num_rows() {
                if subject.is_in(column, row).map_err(unreadable)? {
                    let id = subject.id_columns.map(|name| text(&batch, name, row));
                    found.ids.push(id);
                }
            }
        }
        Ok(found)
    }

    /// Erases the rows of a partition that have a value in a column; how many. Each file is replaced by one
    /// without them; a process that is killed meanwhile leaves each file as it was or without them, so that
    /// erasing again completes it.
    ///
    /// # Errors
    /// [`CaptureError`] of the first file that cannot be read or replaced.
    pub fn erase(&self, key: &PartitionKey, subject: Subject<'_>) -> Result<u64, CaptureError> {
        let mut rows = 0;
        for path in self.files_of(key)? {
            match self.erase_in(&path, subject) {
                Ok(erased) => rows += erased,
                // Its hour has become too old meanwhile.
                Err(CaptureError::Io { error, .. }) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(rows)
    }

    fn erase_in(&self, path: &Path, subject: Subject<'_>) -> Result<u64, CaptureError> {
        let unreadable = |problem: String| CaptureError::content(path, problem);
        let file = File::open(path).map_err(|error| CaptureError::io(path, error))?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file)
            .map_err(|error| unreadable(error.to_string()))?;
        let schema = builder.schema().clone();
        if schema.column_with_name(subject.column).is_none() {
            return Ok(0);
        }
        let reader = builder.build();
        let reader = reader.map_err(|error| unreadable(error.to_string()))?;
        let (mut left, mut erased) = (Vec::new(), 0);
        for batch in reader {
            let batch = batch.map_err(|error| unreadable(error.to_string()))?;
            let kept = subject.others(&batch).map_err(unreadable)?;
            erased += (batch.num_rows() - kept.num_rows()) as u64;
            left.push(kept);
        }
        let folder = path.parent().unwrap_or(self.root());
        let is_empty = left.iter().all(|batch| batch.num_rows() == 0);
        let replaced = match (erased, is_empty) {
            (0, _) => return Ok(0),
            (_, true) => fs::remove_file(path),
            (_, false) => {
                let unfinished = self.write_unfinished(&schema, &left)?;
                fs::rename(&unfinished, path)
            }
        };
        let durable = replaced.and_then(|()| sync_folders(folder, self.root()));
        durable.map_err(|error| CaptureError::io(path, error))?;
        Ok(erased)
    }
}

impl Subject<'_> {
    fn is_in(&self, column: &ArrayRef, row: usize) -> Result<bool, String> {
        if column.is_null(row) {
            return Ok(false);
        }
        let text = array_value_to_string(column, row).map_err(|error| error.to_string())?;
        let numbers = (text.parse::<f64>(), self.value.parse::<f64>());
        let is_number = column.data_type().is_numeric();
        Ok(match numbers {
            (Ok(found), Ok(wanted)) if is_number => found == wanted,
            _ => text == self.value,
        })
    }

    /// The rows of a batch that are of others.
    fn others(&self, batch: &RecordBatch) -> Result<RecordBatch, String> {
        let column = batch.column_by_name(self.column);
        let column = column.ok_or("a column is missing")?;
        let rows = 0..batch.num_rows();
        let keeps = rows.map(|row| self.is_in(column, row).map(|is_in| !is_in));
        let keeps: Vec<bool> = keeps.collect::<Result<_, _>>()?;
        filter_record_batch(batch, &BooleanArray::from(keeps)).map_err(|error| error.to_string())
    }
}

fn text(batch: &RecordBatch, column: &str, row: usize) -> String {
    let column = batch.column_by_name(column);
    let text = column.map(|column| array_value_to_string(column, row).unwrap_or_default());
    text.unwrap_or_default()
}
