//! JSON lines: an object for each row. Lines without anything are no rows.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Take};
use std::path::Path;

use jiter::{Jiter, JiterError, Peek};

use super::identity::{HashingReader, Stamp, open};
use super::texts::TextRows;
use super::{Columns, Part, Projection, ReadRequest, RowBatch, RowReader, Survey, UnitRange};
use crate::error::{BatchError, Result};

/// A longer line fills the memory, and is most likely no line.
const MAX_LINE_BYTES: usize = 16 << 20;
const BUFFER_BYTES: usize = 1 << 20;

pub(super) fn survey(path: &Path, unit_rows: u64) -> Result<Survey> {
    let file = open(path)?;
    let stamp = Stamp::of(&file, path)?;
    let mut lines = BufReader::with_capacity(BUFFER_BYTES, HashingReader::new(&file));
    let mut line = Vec::new();
    let mut ranges = Vec::new();
    let (mut first_row, mut rows, mut begin, mut at) = (0, 0, 0, 0);
    loop {
        let read = read_line(&mut lines, &mut line)
            .map_err(|error| BatchError::input(path, format!("byte {at}: {error}")))?;
        if rows > 0 && (read == 0 || rows >= unit_rows) {
            ranges.push(UnitRange {
                first_row,
                rows,
                part: Part::Bytes(begin, at),
            });
            first_row += rows;
            (rows, begin) = (0, at);
        }
        if read == 0 {
            break;
        }
        at += read as u64;
        rows += u64::from(!is_blank(&line));
    }
    let identity = stamp.with_digest(lines.into_inner().finish());
    identity.check(&file, path)?;
    Ok(Survey {
        identity,
        columns: Columns::Open,
        ranges,
    })
}

/// Reads a line with its end; 0 at the end of the file.
fn read_line(lines: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<usize> {
    line.clear();
    let read = lines
        .take(MAX_LINE_BYTES as u64 + 1)
        .read_until(b'\n', line)?;
    if read > MAX_LINE_BYTES {
        let problem = format!("the line is longer than {MAX_LINE_BYTES} bytes");
        return Err(io::Error::other(problem));
    }
    Ok(read)
}

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(u8::is_ascii_whitespace)
}

pub(super) struct Reader {
    request: ReadRequest,
    lines: Take<BufReader<File>>,
    slots: HashMap<String, Slots>,
    next_row: u64,
    is_done: bool,
}

/// Where the value of a key goes.
#[derive(Clone, Copy, Default)]
struct Slots {
    bound: Option<usize>,
    kept: Option<usize>,
}

/// The values of a line: JSON for bound columns, text for those that are kept.
#[derive(Default)]
struct Line<'l> {
    bound: Vec<Option<&'l str>>,
    kept: Vec<Option<String>>,
}

impl Reader {
    pub(super) fn open(request: ReadRequest) -> Result<Self> {
        let path = &request.path;
        let mut file = request.identity.open(path)?;
        let Part::Bytes(begin, end) = request.range.part else {
            return Err(BatchError::input(path, "has no lines"));
        };
        file.seek(SeekFrom::Start(begin))
            .map_err(|error| BatchError::unreadable(path, &error))?;
        let lines = BufReader::with_capacity(BUFFER_BYTES, file).take(end - begin);
        Ok(Self {
            lines,
            slots: slots(&request.projection),
            next_row: request.range.first_row,
            request,
            is_done: false,
        })
    }

    /// The wanted values of a line.
    fn scan<'l>(&self, text: &'l str) -> std::result::Result<Line<'l>, String> {
        let projection = &self.request.projection;
        let mut line = Line {
            bound: vec![None; projection.bound.len()],
            kept: vec![None; projection.kept.len()],
        };
        // NaN is how Python writes a missing number, and the server reads it, too.
        let mut json = Jiter::new(text.as_bytes()).with_allow_inf_nan();
        let mut seen = vec![false; line.bound.len() + line.kept.len()];
        let mut key = json
            .next_object()
            .map_err(no_object)?
            .map(|key| self.slot(key));
        while let Some(slot) = key {
            let peek = json.peek().map_err(no_object)?;
            let begin = json.current_index();
            json.next_skip().map_err(no_object)?;
            let value = &text[begin..json.current_index()];
            if let Some((name, number, slots)) = slot {
                if std::mem::replace(&mut seen[number], true) {
                    return Err(format!("\"{name}\" is given twice"));
                }
                if let Some(bound) = slots.bound {
                    line.bound[bound] = Some(value);
                }
                if let Some(kept) = slots.kept {
                    line.kept[kept] = plain_text(peek, value);
                }
            }
            key = json
                .next_key()
                .map_err(no_object)?
                .map(|key| self.slot(key));
        }
        json.finish().map_err(no_object)?;
        Ok(line)
    }

    fn slot(&self, key: &str) -> Option<(&str, usize, Slots)> {
        let (name, slots) = self.slots.get_key_value(key)?;
        let place = slots.bound.or_else(|| {
            let bound = self.request.projection.bound.len();
            slots.kept.map(|kept| bound + kept)
        });
        Some((name, place?, *slots))
    }

    fn push(&self, line: &[u8], row: u64, rows: &mut TextRows) {
        let text = std::str::from_utf8(line).map_err(|_| "the line is not valid UTF-8".to_owned());
        match text.and_then(|text| self.scan(text)) {
            Ok(line) => rows.push(
                row,
                line.bound.iter().copied(),
                line.kept.iter().map(Option::as_deref),
            ),
            Err(reason) => rows.push_bad(row, reason),
        }
    }
}

fn no_object(error: JiterError) -> String {
    format!("the line is no object of JSON: {error}")
}

fn slots(projection: &Projection) -> HashMap<String, Slots> {
    let mut slots: HashMap<String, Slots> = HashMap::new();
    for (at, name) in projection.bound.iter().enumerate() {
        slots.entry(name.clone()).or_default().bound = Some(at);
    }
    for (at, name) in projection.kept.iter().enumerate() {
        slots.entry(name.clone()).or_default().kept = Some(at);
    }
    slots
}

/// The content of a text, and everything else as it is written.
fn plain_text(peek: Peek, value: &str) -> Option<String> {
    match peek {
        Peek::Null => None,
        Peek::String => serde_json::from_str(value).ok(),
        _ => Some(value.to_owned()),
    }
}

impl RowReader for Reader {
    fn next_rows(&mut self) -> Result<Option<RowBatch>> {
        let mut rows = TextRows::new(&self.request.projection);
        let mut line = Vec::new();
        let path = &self.request.path;
        while !self.is_done && rows.len() < self.request.batch_rows {
            let read = read_line(&mut self.lines, &mut line)
                .map_err(|error| BatchError::input(path, error.to_string()))?;
            if read == 0 {
                self.is_done = true;
                self.request
                    .identity
                    .check(self.lines.get_ref().get_ref(), path)?;
            } else if !is_blank(&line) {
                self.push(&line, self.next_row, &mut rows);
                self.next_row += 1;
            }
        }
        Ok((rows.len() > 0).then(|| rows.finish()))
    }
}
