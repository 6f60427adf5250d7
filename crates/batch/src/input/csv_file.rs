//! CSV: a header, and a line for each row. A first pass finds where rows begin, as quoted cells may
//! have ends of lines.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Take};
use std::path::Path;
use std::rc::Rc;

use csv::{ByteRecord, ReaderBuilder};

use super::identity::{HashingReader, Stamp, open};
use super::texts::TextRows;
use super::{Columns, Part, ReadRequest, RowBatch, RowReader, Survey, UnitRange};
use crate::error::{BatchError, Result};

/// A longer row is most likely a quote that is never closed.
const MAX_ROW_BYTES: u64 = 16 << 20;
const BUFFER_BYTES: usize = 1 << 20;

/// Fails where a row is too long, before it fills the memory.
struct RowLimit<R> {
    inner: R,
    read: u64,
    /// Where the current row begins, as the parser says.
    row_start: Rc<Cell<u64>>,
}

impl<R: Read> Read for RowLimit<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read.saturating_sub(self.row_start.get()) > MAX_ROW_BYTES + BUFFER_BYTES as u64 {
            let problem = format!(
                "the row that begins at byte {} is longer than {MAX_ROW_BYTES} bytes: is a quote \
                 not closed?",
                self.row_start.get()
            );
            return Err(io::Error::other(problem));
        }
        let read = self.inner.read(buffer)?;
        self.read += read as u64;
        Ok(read)
    }
}

pub(super) fn survey(path: &Path, unit_rows: u64) -> Result<Survey> {
    let file = open(path)?;
    let stamp = Stamp::of(&file, path)?;
    let row_start = Rc::new(Cell::new(0));
    let mut hashing = HashingReader::new(&file);
    let limited = RowLimit {
        inner: &mut hashing,
        read: 0,
        row_start: row_start.clone(),
    };
    let mut csv = ReaderBuilder::new()
        .flexible(true)
        .buffer_capacity(BUFFER_BYTES)
        .from_reader(limited);
    let names = names(
        csv.byte_headers()
            .map_err(|error| malformed(&error, path))?,
        path,
    )?;
    let mut ranges = Vec::new();
    let mut record = ByteRecord::new();
    let (mut first_row, mut rows, mut begin) = (0, 0, csv.position().byte());
    loop {
        let at = csv.position().byte();
        row_start.set(at);
        let is_row = csv
            .read_byte_record(&mut record)
            .map_err(|error| malformed(&error, path))?;
        if rows > 0 && (!is_row || rows >= unit_rows) {
            ranges.push(UnitRange {
                first_row,
                rows,
                part: Part::Bytes(begin, at),
            });
            first_row += rows;
            (rows, begin) = (0, at);
        }
        if !is_row {
            break;
        }
        rows += 1;
    }
    drop(csv);
    let identity = stamp.with_digest(hashing.finish());
    identity.check(&file, path)?;
    Ok(Survey {
        identity,
        columns: Columns::Named(names.into()),
        ranges,
    })
}

fn malformed(error: &csv::Error, path: &Path) -> BatchError {
    BatchError::input(path, format!("is not valid CSV: {error}"))
}

fn names(header: &ByteRecord, path: &Path) -> Result<Vec<String>> {
    let mut names = Vec::with_capacity(header.len());
    for (at, name) in header.iter().enumerate() {
        let text = std::str::from_utf8(name).map_err(|_| {
            BatchError::input(
                path,
                format!("the name of column {} is not valid UTF-8", at + 1),
            )
        })?;
        // Spreadsheets begin a file with this mark.
        names.push(text.strip_prefix('\u{feff}').unwrap_or(text).to_owned());
    }
    if names.is_empty() {
        return Err(BatchError::input(
            path,
            "is empty: CSV begins with the names of columns",
        ));
    }
    Ok(names)
}

pub(super) struct Reader {
    request: ReadRequest,
    csv: csv::Reader<Take<BufReader<File>>>,
    /// Cells of the header.
    width: usize,
    bound: Vec<usize>,
    kept: Vec<usize>,
    next_row: u64,
    is_done: bool,
}

impl Reader {
    pub(super) fn open(request: ReadRequest) -> Result<Self> {
        let path = &request.path;
        let mut file = request.identity.open(path)?;
        let (Part::Bytes(begin, end), Columns::Named(names)) =
            (request.range.part, &request.columns)
        else {
            return Err(BatchError::input(path, "has no lines"));
        };
        file.seek(SeekFrom::Start(begin))
            .map_err(|error| BatchError::unreadable(path, &error))?;
        let part = BufReader::with_capacity(BUFFER_BYTES, file).take(end - begin);
        let csv = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(part);
        Ok(Self {
            csv,
            width: names.len(),
            bound: places(&request.columns, &request.projection.bound, path)?,
            kept: places(&request.columns, &request.projection.kept, path)?,
            next_row: request.range.first_row,
            request,
            is_done: false,
        })
    }

    fn push(&self, record: &ByteRecord, row: u64, rows: &mut TextRows) {
        if record.len() != self.width {
            let (found, wanted) = (record.len(), self.width);
            let reason = format!("the line has {found} cells, the header has {wanted}");
            return rows.push_bad(row, reason);
        }
        let wanted = self.bound.iter().chain(&self.kept);
        for place in wanted {
            if std::str::from_utf8(&record[*place]).is_err() {
                let reason = format!("the cell of column {} is not valid UTF-8", place + 1);
                return rows.push_bad(row, reason);
            }
        }
        let bound = self.bound.iter().map(|place| cell(record, *place));
        let kept = self.kept.iter().map(|place| cell(record, *place));
        rows.push(row, bound, kept);
    }
}

/// A cell that was seen to be UTF-8; an empty one has no value.
fn cell(record: &ByteRecord, place: usize) -> Option<&str> {
    let text = std::str::from_utf8(&record[place]).ok();
    text.filter(|text| !text.is_empty())
}

fn places(columns: &Columns, names: &[String], path: &Path) -> Result<Vec<usize>> {
    let names = names.iter();
    names.map(|name| columns.place(name, path)).collect()
}

impl RowReader for Reader {
    fn next_rows(&mut self) -> Result<Option<RowBatch>> {
        let mut rows = TextRows::new(&self.request.projection);
        let mut record = ByteRecord::new();
        let path = &self.request.path;
        while !self.is_done && rows.len() < self.request.batch_rows {
            let read = self.csv.read_byte_record(&mut record);
            if !read.map_err(|error| malformed(&error, path))? {
                self.is_done = true;
                let file = self.csv.get_ref().get_ref().get_ref();
                self.request.identity.check(file, path)?;
                break;
            }
            self.push(&record, self.next_row, &mut rows);
            self.next_row += 1;
        }
        Ok((rows.len() > 0).then(|| rows.finish()))
    }
}
