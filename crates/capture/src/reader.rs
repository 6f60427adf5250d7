//! Reading the rows of a partition.

use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::CaptureError;

/// Rows that are in memory at once: those of images take much.
const BATCH_ROWS: usize = 1024;

/// The rows of a partition, file after file, in bounded memory. Files may differ in their columns.
#[derive(Debug)]
pub struct CaptureReader {
    left: VecDeque<PathBuf>,
    columns: Option<Vec<String>>,
    current: Option<(PathBuf, ParquetRecordBatchReader)>,
}

impl CaptureReader {
    pub(crate) fn new(
        paths: VecDeque<PathBuf>,
        columns: Option<&[&str]>,
    ) -> Result<Self, CaptureError> {
        let columns = columns.map(|names| names.iter().map(|&name| name.to_owned()).collect());
        let mut reader = Self {
            left: paths,
            columns,
            current: None,
        };
        reader.open_next()?;
        Ok(reader)
    }

    fn open_next(&mut self) -> Result<(), CaptureError> {
        self.current = None;
        if let Some(path) = self.left.pop_front() {
            let reader = open(&path, self.columns.as_deref())?;
            self.current = Some((path, reader));
        }
        Ok(())
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>, CaptureError> {
        while let Some((path, reader)) = &mut self.current {
            match reader.next() {
                Some(Ok(batch)) => return Ok(Some(batch)),
                Some(Err(error)) => return Err(CaptureError::content(path, error)),
                None => self.open_next()?,
            }
        }
        Ok(None)
    }
}

impl Iterator for CaptureReader {
    type Item = Result<RecordBatch, CaptureError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_batch();
        if next.is_err() {
            // Nothing more can be said of a partition with a file that cannot be read.
            (self.current, self.left) = (None, VecDeque::new());
        }
        next.transpose()
    }
}

fn open(path: &Path, columns: Option<&[String]>) -> Result<ParquetRecordBatchReader, CaptureError> {
    let file = File::open(path).map_err(|error| CaptureError::io(path, error))?;
    let unreadable = |error| CaptureError::content(path, error);
    let mut builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(unreadable)?;
    if let Some(columns) = columns {
        let fields = builder.schema().fields().iter().enumerate();
        let wanted = fields.filter(|(_, field)| columns.contains(field.name()));
        let roots: Vec<usize> = wanted.map(|(at, _)| at).collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        builder = builder.with_projection(mask);
    }
    let reader = builder.with_batch_size(BATCH_ROWS).build();
    reader.map_err(unreadable)
}
