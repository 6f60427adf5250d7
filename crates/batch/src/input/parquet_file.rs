//! Parquet: row groups, of which only the wanted columns are read.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};

use super::identity::{Stamp, open, sha256};
use super::typed::{row_batch, wanted_places};
use super::{Columns, Part, ReadRequest, RowBatch, RowReader, Survey, ranges_of_groups};
use crate::error::{BatchError, Result};

/// A footer that is longer describes more columns and row groups than a table has; decoded, it would
/// take many times its length.
const MAX_FOOTER_BYTES: u64 = 64 << 20;
/// The length of the footer, and the mark `PAR1`.
const TAIL_BYTES: u64 = 8;

pub(super) fn survey(path: &Path, unit_rows: u64) -> Result<Survey> {
    let mut file = open(path)?;
    let stamp = Stamp::of(&file, path)?;
    let digest = footer_digest(&mut file, stamp.bytes, path)?;
    let metadata = metadata(&file, path)?;
    let mut groups = Vec::new();
    for (at, group) in metadata.metadata().row_groups().iter().enumerate() {
        let rows = u64::try_from(group.num_rows()).map_err(|_| {
            let rows = group.num_rows();
            BatchError::input(path, format!("row group {at} says that it has {rows} rows"))
        })?;
        groups.push(rows);
    }
    let identity = stamp.with_digest(digest);
    identity.check(&file, path)?;
    Ok(Survey {
        identity,
        columns: Columns::Typed(metadata.schema().clone()),
        ranges: ranges_of_groups(&groups, unit_rows),
    })
}

/// The footer has the place, the length and the statistics of everything else.
fn footer_digest(file: &mut File, bytes: u64, path: &Path) -> Result<String> {
    let unreadable = BatchError::reading(path);
    if bytes < TAIL_BYTES + 4 {
        let problem = format!("is no Parquet file: it has {bytes} bytes");
        return Err(BatchError::input(path, problem));
    }
    let mut tail = [0; TAIL_BYTES as usize];
    file.seek(SeekFrom::End(-(TAIL_BYTES as i64)))
        .map_err(unreadable)?;
    file.read_exact(&mut tail).map_err(unreadable)?;
    let [a, b, c, d, mark @ ..] = tail;
    if &mark == b"PARE" {
        return Err(BatchError::input(
            path,
            "is encrypted, which is not supported",
        ));
    }
    if &mark != b"PAR1" {
        let problem = "is truncated or no Parquet file: it does not end with PAR1";
        return Err(BatchError::input(path, problem));
    }
    let footer = u64::from(u32::from_le_bytes([a, b, c, d]));
    if footer > MAX_FOOTER_BYTES || footer > bytes - TAIL_BYTES {
        let problem = format!(
            "its footer says that it has {footer} bytes, of a file of {bytes}; at most \
             {MAX_FOOTER_BYTES} are read"
        );
        return Err(BatchError::input(path, problem));
    }
    file.seek(SeekFrom::Start(bytes - TAIL_BYTES - footer))
        .map_err(unreadable)?;
    let mut content = vec![0; footer as usize];
    file.read_exact(&mut content).map_err(unreadable)?;
    Ok(sha256(&content))
}

fn metadata(file: &File, path: &Path) -> Result<ArrowReaderMetadata> {
    let metadata = ArrowReaderMetadata::load(file, ArrowReaderOptions::new());
    metadata.map_err(|error| BatchError::input(path, format!("its footer cannot be read: {error}")))
}

/// Reads one row group after the other, so that a problem can be told with its place.
pub(super) struct Reader {
    request: ReadRequest,
    file: File,
    metadata: ArrowReaderMetadata,
    places: Vec<usize>,
    groups: Range<usize>,
    current: Option<CurrentGroup>,
    next_row: u64,
}

struct CurrentGroup {
    number: usize,
    reader: ParquetRecordBatchReader,
    rows_left: u64,
}

impl Reader {
    pub(super) fn open(request: ReadRequest) -> Result<Self> {
        let path = &request.path;
        let file = request.identity.open(path)?;
        let metadata = metadata(&file, path)?;
        let Part::Groups(from, to) = request.range.part else {
            return Err(BatchError::input(path, "has no row groups"));
        };
        if to > metadata.metadata().num_row_groups() {
            return Err(BatchError::input(
                path,
                format!("has no row group {}", to - 1),
            ));
        }
        let places = wanted_places(metadata.schema(), &request.projection, path)?;
        Ok(Self {
            file,
            metadata,
            places,
            groups: from..to,
            current: None,
            next_row: request.range.first_row,
            request,
        })
    }

    fn open_group(&self, number: usize) -> Result<CurrentGroup> {
        let path = &self.request.path;
        let file = self.file.try_clone();
        let file = file.map_err(|error| BatchError::unreadable(path, &error))?;
        let builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone());
        let mask = ProjectionMask::roots(builder.parquet_schema(), self.places.iter().copied());
        let reader = builder
            .with_projection(mask)
            .with_row_groups(vec![number])
            .with_batch_size(self.request.batch_rows)
            .build();
        let rows = self.metadata.metadata().row_group(number).num_rows();
        Ok(CurrentGroup {
            number,
            reader: reader.map_err(|error| self.problem(number, &error.to_string()))?,
            rows_left: u64::try_from(rows).unwrap_or(0),
        })
    }

    /// What went wrong in a row group. A file that was changed meanwhile explains everything.
    fn problem(&self, group: usize, problem: &str) -> BatchError {
        let path = &self.request.path;
        if let Err(changed) = self.request.identity.check(&self.file, path) {
            return changed;
        }
        BatchError::input(path, format!("row group {group} cannot be read: {problem}"))
    }
}

impl RowReader for Reader {
    fn next_rows(&mut self) -> Result<Option<RowBatch>> {
        loop {
            let Some(mut group) = self.current.take() else {
                let Some(number) = self.groups.next() else {
                    self.request
                        .identity
                        .check(&self.file, &self.request.path)?;
                    return Ok(None);
                };
                self.current = Some(self.open_group(number)?);
                continue;
            };
            let Some(batch) = group.reader.next() else {
                if group.rows_left == 0 {
                    continue;
                }
                let problem = format!("it ends {} rows too early", group.rows_left);
                return Err(self.problem(group.number, &problem));
            };
            let batch = batch.map_err(|error| self.problem(group.number, &error.to_string()))?;
            let rows = batch.num_rows() as u64;
            let Some(left) = group.rows_left.checked_sub(rows) else {
                return Err(self.problem(group.number, "it has more rows than it says"));
            };
            group.rows_left = left;
            self.current = Some(group);
            let first_row = self.next_row;
            self.next_row += rows;
            let (projection, path) = (&self.request.projection, &self.request.path);
            return row_batch(&batch, projection, first_row, path).map(Some);
        }
    }
}
