//! The files of one unit.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use sha2::{Digest, Sha256};

use super::{OutputFile, OutputFolder};
use crate::error::{BatchError, Result};
use crate::input::{BadRow, hex};
use crate::scorer::ScoredRows;

/// The rows of a row group: they are in memory, encoded, until it is full.
const ROW_GROUP_ROWS: usize = 128 << 10;

/// The schema of the predictions: the kept columns, the predictions, and what made them.
pub(crate) fn output_schema(kept: &[FieldRef], predictions: &[FieldRef]) -> Result<SchemaRef> {
    let mut fields: Vec<FieldRef> = kept.iter().chain(predictions).cloned().collect();
    for name in ["_version", "_digest"] {
        fields.push(Arc::new(Field::new(name, DataType::Utf8, false)));
    }
    for (at, field) in fields.iter().enumerate() {
        if fields[..at]
            .iter()
            .any(|other| other.name() == field.name())
        {
            let name = field.name();
            let problem = format!(
                "the output would have two columns \"{name}\": one that is kept of the input \
                 (--keep), and one that is predicted"
            );
            return Err(BatchError::Request(problem));
        }
    }
    Ok(Arc::new(Schema::new(fields)))
}

fn quarantine_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("_file", DataType::Utf8, false),
        Field::new("_row", DataType::Int64, false),
        Field::new("_reason", DataType::Utf8, false),
    ]))
}

/// Writes the predictions of a unit, and its rows without any.
pub(crate) struct UnitWriter<'j> {
    folder: &'j OutputFolder,
    schema: &'j SchemaRef,
    /// What `_version` and `_digest` say.
    made_by: [&'j str; 2],
    /// The name of its input file.
    input: &'j str,
    number: usize,
    partition: &'j str,
    scores: Option<TableWriter>,
    quarantine: Option<TableWriter>,
}

impl<'j> UnitWriter<'j> {
    pub(crate) fn new(
        folder: &'j OutputFolder,
        schema: &'j SchemaRef,
        made_by: [&'j str; 2],
        input: &'j str,
        partition: &'j str,
        number: usize,
    ) -> Self {
        Self {
            folder,
            schema,
            made_by,
            input,
            number,
            partition,
            scores: None,
            quarantine: None,
        }
    }

    pub(crate) fn write_scores(&mut self, scored: ScoredRows) -> Result<()> {
        let rows = scored.rows.len();
        let mut columns = scored.columns;
        for text in self.made_by {
            let texts: ArrayRef = Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
                text, rows,
            )));
            columns.push(texts);
        }
        if self.scores.is_none() {
            let name = format!("scores-{:05}.parquet", self.number);
            self.scores = Some(TableWriter::create(self.folder, &name, self.schema)?);
        }
        match &mut self.scores {
            Some(scores) => scores.write(columns, rows),
            None => Ok(()),
        }
    }

    pub(crate) fn write_bad(&mut self, bad: &[BadRow]) -> Result<()> {
        if bad.is_empty() {
            return Ok(());
        }
        if self.quarantine.is_none() {
            let name = format!("quarantine-{:05}.parquet", self.number);
            self.quarantine = Some(TableWriter::create(
                self.folder,
                &name,
                &quarantine_schema(),
            )?);
        }
        let files = StringArray::from_iter_values(std::iter::repeat_n(self.input, bad.len()));
        let rows = bad
            .iter()
            .map(|bad| i64::try_from(bad.row).unwrap_or(i64::MAX));
        let mut reasons = StringBuilder::new();
        bad.iter().for_each(|bad| reasons.append_value(&bad.reason));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(files),
            Arc::new(Int64Array::from_iter_values(rows)),
            Arc::new(reasons.finish()),
        ];
        match &mut self.quarantine {
            Some(quarantine) => quarantine.write(columns, bad.len()),
            None => Ok(()),
        }
    }

    /// Makes the files durable under their names: the predictions, and the rows without any.
    pub(crate) fn finish(self) -> Result<(Option<OutputFile>, Option<OutputFile>)> {
        let name = format!("part-{:05}.parquet", self.number);
        let scores = format!("{}{name}", self.partition);
        let quarantine = format!("_tidegate/quarantine/{name}");
        Ok((
            finished(self.scores, self.folder, scores)?,
            finished(self.quarantine, self.folder, quarantine)?,
        ))
    }
}

fn finished(
    table: Option<TableWriter>,
    folder: &OutputFolder,
    path: String,
) -> Result<Option<OutputFile>> {
    match table {
        Some(table) => table.finish(folder, path).map(Some),
        None => Ok(None),
    }
}

/// A file of Parquet under a temporary name.
struct TableWriter {
    writer: ArrowWriter<HashingFile>,
    schema: SchemaRef,
    path: PathBuf,
    rows: u64,
}

impl TableWriter {
    fn create(folder: &OutputFolder, name: &str, schema: &SchemaRef) -> Result<Self> {
        let (file, path) = folder.create_temporary(name)?;
        let level = ZstdLevel::try_new(1).unwrap_or_default();
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_created_by(format!("tidegate {}", env!("CARGO_PKG_VERSION")))
            .build();
        let file = HashingFile {
            file,
            hasher: Sha256::new(),
            bytes: 0,
        };
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties));
        Ok(Self {
            writer: writer.map_err(|error| BatchError::output(&path, error.to_string()))?,
            schema: schema.clone(),
            path,
            rows: 0,
        })
    }

    fn write(&mut self, columns: Vec<ArrayRef>, rows: usize) -> Result<()> {
        let batch = RecordBatch::try_new(self.schema.clone(), columns);
        let batch = batch.map_err(|error| BatchError::output(&self.path, error.to_string()))?;
        self.writer
            .write(&batch)
            .map_err(|error| unwritten(&self.path, &error))?;
        self.rows += rows as u64;
        Ok(())
    }

    fn finish(self, folder: &OutputFolder, path: String) -> Result<OutputFile> {
        let file = self.writer.into_inner();
        let file = file.map_err(|error| unwritten(&self.path, &error))?;
        folder.finish(&file.file, &self.path, &path)?;
        Ok(OutputFile {
            path,
            rows: self.rows,
            bytes: file.bytes,
            sha256: hex(file.hasher.finalize()),
        })
    }
}

fn unwritten(path: &Path, error: &ParquetError) -> BatchError {
    BatchError::output(path, format!("cannot be written: {error}"))
}

/// Hashes what is written.
struct HashingFile {
    file: File,
    hasher: Sha256,
    bytes: u64,
}

impl Write for HashingFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.file.write(buffer)?;
        self.hasher.update(&buffer[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
