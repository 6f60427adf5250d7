//! Arrow's file format: record batches, of which only the wanted columns are read.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use arrow_array::RecordBatch;
use arrow_ipc::reader::FileReader;
use arrow_ipc::{root_as_footer, root_as_message};

use super::identity::{Stamp, open, sha256};
use super::typed::{row_batch, wanted_places};
use super::{Columns, Part, ReadRequest, RowBatch, RowReader, Survey, ranges_of_groups};
use crate::error::{BatchError, Result};

/// As for Parquet.
const MAX_FOOTER_BYTES: u64 = 64 << 20;
/// The length of the footer, and the mark.
const TAIL_BYTES: u64 = 10;
const MARK: &[u8; 6] = b"ARROW1";
/// The length of a message, with the mark in front of it.
const PREFIX_BYTES: usize = 8;

pub(super) fn survey(path: &Path, unit_rows: u64) -> Result<Survey> {
    let mut file = open(path)?;
    let stamp = Stamp::of(&file, path)?;
    let footer = read_footer(&mut file, stamp.bytes, path)?;
    let groups = batch_rows(&mut file, &footer, stamp.bytes, path)?;
    let reader = reader(open(path)?, None, path)?;
    let identity = stamp.with_digest(sha256(&footer));
    identity.check(&file, path)?;
    Ok(Survey {
        identity,
        columns: Columns::Typed(reader.schema()),
        ranges: ranges_of_groups(&groups, unit_rows),
    })
}

fn read_footer(file: &mut File, bytes: u64, path: &Path) -> Result<Vec<u8>> {
    let unreadable = BatchError::reading(path);
    let mut tail = [0; TAIL_BYTES as usize];
    if bytes >= TAIL_BYTES {
        file.seek(SeekFrom::End(-(TAIL_BYTES as i64)))
            .map_err(unreadable)?;
        file.read_exact(&mut tail).map_err(unreadable)?;
    }
    let [a, b, c, d, mark @ ..] = tail;
    if mark != *MARK {
        let problem = "is truncated or no file of Arrow: it does not end with ARROW1 (a stream of \
                       Arrow has no footer; write a file)";
        return Err(BatchError::input(path, problem));
    }
    let length = u64::from(u32::from_le_bytes([a, b, c, d]));
    if length > MAX_FOOTER_BYTES || length > bytes - TAIL_BYTES {
        let problem = format!("its footer says that it has {length} bytes, of a file of {bytes}");
        return Err(BatchError::input(path, problem));
    }
    file.seek(SeekFrom::Start(bytes - TAIL_BYTES - length))
        .map_err(unreadable)?;
    let mut footer = vec![0; length as usize];
    file.read_exact(&mut footer).map_err(unreadable)?;
    Ok(footer)
}

/// The rows of each record batch, which only the batch itself says.
fn batch_rows(file: &mut File, footer: &[u8], bytes: u64, path: &Path) -> Result<Vec<u64>> {
    let footer = root_as_footer(footer).map_err(|error| broken_footer(path, &error.to_string()))?;
    let mut rows = Vec::new();
    for (at, block) in footer.recordBatches().into_iter().flatten().enumerate() {
        let (offset, length) = (block.offset(), block.metaDataLength());
        let begin = u64::try_from(offset).ok().filter(|begin| *begin < bytes);
        let length = u64::try_from(length)
            .ok()
            .filter(|length| *length <= MAX_FOOTER_BYTES);
        let (Some(begin), Some(length)) = (begin, length) else {
            return Err(broken_footer(
                path,
                &format!("has no place for record batch {at}"),
            ));
        };
        let mut message = vec![0; length as usize];
        file.seek(SeekFrom::Start(begin))
            .and_then(|_| file.read_exact(&mut message))
            .map_err(|error| BatchError::input(path, format!("record batch {at}: {error}")))?;
        rows.push(
            rows_of(&message).ok_or_else(|| {
                BatchError::input(path, format!("record batch {at} has no header"))
            })?,
        );
    }
    Ok(rows)
}

fn broken_footer(path: &Path, problem: &str) -> BatchError {
    BatchError::input(path, format!("its footer cannot be used: {problem}"))
}

fn rows_of(message: &[u8]) -> Option<u64> {
    let is_marked = message.get(..4)? == [0xff; 4];
    let content = message.get(
        if is_marked {
            PREFIX_BYTES
        } else {
            PREFIX_BYTES / 2
        }..,
    )?;
    let message = root_as_message(content).ok()?;
    u64::try_from(message.header_as_record_batch()?.length()).ok()
}

fn reader(
    file: File,
    places: Option<Vec<usize>>,
    path: &Path,
) -> Result<FileReader<BufReader<File>>> {
    FileReader::try_new(BufReader::new(file), places)
        .map_err(|error| BatchError::input(path, format!("cannot be read: {error}")))
}

pub(super) struct Reader {
    request: ReadRequest,
    file: File,
    batches: FileReader<BufReader<File>>,
    numbers: Range<usize>,
    /// What is left of the current record batch.
    current: Option<RecordBatch>,
    next_row: u64,
}

impl Reader {
    pub(super) fn open(request: ReadRequest) -> Result<Self> {
        let path = &request.path;
        let file = request.identity.open(path)?;
        let (Part::Groups(from, to), Columns::Typed(schema)) =
            (request.range.part, &request.columns)
        else {
            return Err(BatchError::input(path, "has no record batches"));
        };
        let places = wanted_places(schema, &request.projection, path)?;
        let batches = reader(open(path)?, Some(places), path)?;
        Ok(Self {
            file,
            batches,
            numbers: from..to,
            current: None,
            next_row: request.range.first_row,
            request,
        })
    }

    fn read_batch(&mut self, number: usize) -> Result<RecordBatch> {
        let batch = self
            .batches
            .set_index(number)
            .and_then(|()| match self.batches.next() {
                Some(batch) => batch,
                None => Ok(RecordBatch::new_empty(self.batches.schema())),
            });
        let path = &self.request.path;
        batch.map_err(
            |error| match self.request.identity.check(&self.file, path) {
                Err(changed) => changed,
                Ok(()) => {
                    let problem = format!("record batch {number} cannot be read: {error}");
                    BatchError::input(path, problem)
                }
            },
        )
    }
}

impl RowReader for Reader {
    fn next_rows(&mut self) -> Result<Option<RowBatch>> {
        let batch = loop {
            if let Some(batch) = self.current.take().filter(|batch| batch.num_rows() > 0) {
                break batch;
            }
            let Some(number) = self.numbers.next() else {
                self.request
                    .identity
                    .check(&self.file, &self.request.path)?;
                return Ok(None);
            };
            self.current = Some(self.read_batch(number)?);
        };
        let rows = batch.num_rows().min(self.request.batch_rows);
        let first = batch.slice(0, rows);
        self.current = Some(batch.slice(rows, batch.num_rows() - rows));
        let first_row = self.next_row;
        self.next_row += rows as u64;
        row_batch(
            &first,
            &self.request.projection,
            first_row,
            &self.request.path,
        )
        .map(Some)
    }
}
