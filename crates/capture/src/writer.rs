//! Collecting rows, and writing them.

use std::fs::File;
use std::mem;
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use crate::folder::check_names;
use crate::{CaptureError, CaptureFolder, PartitionKey};

/// Columns and keys for which rows are collected at once, at most: clients decide on some columns.
const MAX_TABLES: usize = 256;

/// Collects the rows of partitions, and writes a file of each when it is told to, or when they take too
/// much memory. What was not written when the process is killed is lost.
#[derive(Debug)]
pub struct CaptureWriter {
    folder: CaptureFolder,
    max_bytes: usize,
    bytes: usize,
    tables: Vec<Table>,
}

/// What was written.
#[derive(Debug, Default)]
pub struct Written {
    /// Rows of files, by endpoint.
    pub rows: Vec<(String, u64)>,
    /// Rows that could not be written.
    pub lost_rows: u64,
    /// Why not; of several problems the first.
    pub error: Option<CaptureError>,
}

/// Rows with equal columns.
#[derive(Debug)]
struct Table {
    key: PartitionKey,
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

impl Table {
    fn rows(&self) -> u64 {
        let rows: usize = self.batches.iter().map(RecordBatch::num_rows).sum();
        rows as u64
    }
}

impl CaptureWriter {
    /// Writes into a folder, and has rows of so many bytes in memory at most.
    pub fn new(folder: CaptureFolder, max_bytes: usize) -> Self {
        Self {
            folder,
            max_bytes,
            bytes: 0,
            tables: Vec::new(),
        }
    }

    /// Adds rows to a partition. They are written at once if too much is in memory. Rows that cannot be
    /// written are dropped, so that later ones have room.
    pub fn add(&mut self, key: PartitionKey, rows: RecordBatch) -> Written {
        if let Err(error) = check_names(self.folder.root(), &key) {
            return Written {
                lost_rows: rows.num_rows() as u64,
                error: Some(error),
                ..Written::default()
            };
        }
        self.bytes += rows.get_array_memory_size();
        let tables = &mut self.tables;
        let same = tables.iter_mut();
        let mut same = same.filter(|table| table.key == key && table.schema == rows.schema());
        match same.next() {
            Some(table) => table.batches.push(rows),
            None => tables.push(Table {
                key,
                schema: rows.schema(),
                batches: vec![rows],
            }),
        }
        match self.bytes > self.max_bytes || self.tables.len() > MAX_TABLES {
            true => self.flush(),
            false => Written::default(),
        }
    }

    /// Rows that are in memory.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(Table::rows).sum()
    }

    /// Writes what is in memory: a file for each partition and set of columns. If one cannot be written,
    /// the others are nevertheless.
    pub fn flush(&mut self) -> Written {
        self.bytes = 0;
        let mut written = Written::default();
        for table in mem::take(&mut self.tables) {
            let rows = table.rows();
            match self.write(&table) {
                Ok(()) => written.rows.push((table.key.endpoint, rows)),
                Err(error) => {
                    written.lost_rows += rows;
                    written.error.get_or_insert(error);
                }
            }
        }
        written
    }

    fn write(&self, table: &Table) -> Result<(), CaptureError> {
        // Most batches are the rows of one request: written one by one, they would take much longer.
        let rows = concat_batches(&table.schema, &table.batches);
        let rows = rows.map_err(|error| CaptureError::content(self.folder.root(), error))?;
        let unfinished = self.folder.write_unfinished(&table.schema, &[rows])?;
        self.folder.finish(&unfinished, &table.key)
    }
}

impl CaptureFolder {
    /// A new durable file with these rows, which has no name of a partition yet. Nothing is left of one that
    /// cannot be written.
    pub(crate) fn write_unfinished(
        &self,
        schema: &SchemaRef,
        rows: &[RecordBatch],
    ) -> Result<PathBuf, CaptureError> {
        let (file, unfinished) = self.create_unfinished()?;
        let written = write_batches(&unfinished, file, schema, rows);
        if written.is_err() {
            // It would be removed at the next start, and takes room until then.
            let _ = std::fs::remove_file(&unfinished);
        }
        written.map(|()| unfinished)
    }
}

fn write_batches(
    path: &Path,
    file: File,
    schema: &SchemaRef,
    rows: &[RecordBatch],
) -> Result<(), CaptureError> {
    let unwritten = |error: ParquetError| CaptureError::content(path, error);
    let level = ZstdLevel::try_new(1).unwrap_or_default();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_created_by(format!("tidegate {}", env!("CARGO_PKG_VERSION")))
        .build();
    let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties));
    let mut writer = writer.map_err(unwritten)?;
    for batch in rows {
        writer.write(batch).map_err(unwritten)?;
    }
    let file = writer.into_inner().map_err(unwritten)?;
    file.sync_all()
        .map_err(|error| CaptureError::io(path, error))
}
