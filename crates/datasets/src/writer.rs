//! Writing the rows of a data set: the same rows give the same bytes, however they were read.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, SchemaRef};
use arrow_select::coalesce::BatchCoalescer;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use crate::DatasetError;
use crate::folder::Room;
use crate::hashed_file::HashedFile;

/// Rows that are written at once. Pages of Parquet end where writes end, so that all but the last have
/// as many.
const CHUNK_ROWS: usize = 1024;
/// Rows of a row group, at most.
const GROUP_ROWS: usize = 128 << 10;
/// What a row group may take before it is written, in bytes: rows may be images.
const GROUP_BYTES: usize = 64 << 20;

/// The file of a data set that is being written.
pub(crate) struct DatasetWriter {
    path: PathBuf,
    /// What the file may take, in bytes.
    room: Room,
    chunks: BatchCoalescer,
    writer: ArrowWriter<HashedFile>,
}

impl DatasetWriter {
    pub(crate) fn new(path: &Path, schema: &SchemaRef, room: Room) -> Result<Self, DatasetError> {
        let file = File::create(path).map_err(DatasetError::io(path))?;
        let level = ZstdLevel::try_new(3).unwrap_or_default();
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            // Not the version of the build: it would be in the digest.
            .set_created_by("tidegate data set, format 1".to_owned())
            .build();
        let file = HashedFile::new(file);
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties));
        Ok(Self {
            writer: writer.map_err(|error| DatasetError::file(path, error))?,
            chunks: BatchCoalescer::new(schema.clone(), CHUNK_ROWS),
            path: path.to_owned(),
            room,
        })
    }

    pub(crate) fn add(&mut self, rows: RecordBatch) -> Result<(), DatasetError> {
        let added = self.chunks.push_batch(rows);
        added.map_err(|error| self.arrow(&error))?;
        self.write_chunks()
    }

    /// Makes the file durable; its digest and its bytes.
    pub(crate) fn finish(mut self) -> Result<(String, u64), DatasetError> {
        let finished = self.chunks.finish_buffered_batch();
        finished.map_err(|error| self.arrow(&error))?;
        self.write_chunks()?;
        let Self {
            path, writer, room, ..
        } = self;
        let file = writer.into_inner();
        let file = file.map_err(|error| DatasetError::file(&path, error))?;
        room.check(file.bytes())?;
        file.finish().map_err(DatasetError::io(&path))
    }

    fn write_chunks(&mut self) -> Result<(), DatasetError> {
        while let Some(chunk) = self.chunks.next_completed_batch() {
            let written = self.write(&chunk);
            written.map_err(|error| DatasetError::file(&self.path, error))?;
            // Of what is not written yet, nobody knows how small it becomes.
            self.room.check(self.writer.bytes_written() as u64)?;
        }
        Ok(())
    }

    fn write(&mut self, chunk: &RecordBatch) -> Result<(), ParquetError> {
        self.writer.write(chunk)?;
        let is_full = self.writer.in_progress_rows() >= GROUP_ROWS
            || self.writer.in_progress_size() >= GROUP_BYTES;
        match is_full {
            true => self.writer.flush(),
            false => Ok(()),
        }
    }

    fn arrow(&self, error: &ArrowError) -> DatasetError {
        DatasetError::file(&self.path, error)
    }
}
