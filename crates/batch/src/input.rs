//! Input files: what they are, how they are cut into units, and how their rows are read.

mod arrow_file;
mod csv_file;
mod find;
mod identity;
mod json_lines;
mod parquet_file;
mod texts;
mod typed;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_schema::SchemaRef;
use serde::{Deserialize, Serialize};

pub(crate) use self::find::{FoundFile, find};
pub use self::identity::FileIdentity;
pub(crate) use self::identity::{hex, sha256};
use crate::error::{BatchError, Result};

/// A format of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Apache Parquet.
    Parquet,
    /// A header with the names of columns, and a line for each row.
    Csv,
    /// An object of JSON on each line.
    JsonLines,
    /// Apache Arrow's file format, also called Feather 2.
    Arrow,
}

impl Format {
    pub(crate) const ENDINGS: &str =
        ".parquet, .pq, .csv, .jsonl, .ndjson, .arrow, .ipc or .feather";

    /// The format of a file, by the end of its name.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "parquet" | "pq" => Some(Self::Parquet),
            "csv" => Some(Self::Csv),
            "jsonl" | "ndjson" => Some(Self::JsonLines),
            "arrow" | "ipc" | "feather" => Some(Self::Arrow),
            _ => None,
        }
    }

    /// How the values of its columns are written.
    pub(crate) fn cells(self) -> Cells {
        match self {
            Self::Parquet | Self::Arrow => Cells::Typed,
            Self::Csv => Cells::Csv,
            Self::JsonLines => Cells::Json,
        }
    }
}

/// How the values of bound columns come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cells {
    /// Columns have types.
    Typed,
    /// Texts as CSV has them; an empty cell has no value.
    Csv,
    /// Texts of JSON.
    Json,
}

/// What is known of the columns of a file before its rows are read.
#[derive(Clone, Debug)]
pub(crate) enum Columns {
    /// Names and types.
    Typed(SchemaRef),
    /// Names.
    Named(Arc<[String]>),
    /// Nothing: each row has its own.
    Open,
}

impl Columns {
    /// The place of a column; an error if there are several of this name.
    pub(crate) fn find(&self, name: &str) -> std::result::Result<Option<usize>, String> {
        let places: Vec<usize> = match self {
            Self::Typed(schema) => places(schema.fields().iter().map(|field| field.name()), name),
            Self::Named(names) => places(names.iter(), name),
            Self::Open => return Ok(Some(0)),
        };
        match places.as_slice() {
            [] => Ok(None),
            [place] => Ok(Some(*place)),
            _ => Err(format!("there are {} columns \"{name}\"", places.len())),
        }
    }

    /// The place of a column of the file at `path`, which must have it once.
    fn place(&self, name: &str, path: &Path) -> Result<usize> {
        let place = self
            .find(name)
            .map_err(|problem| BatchError::input(path, problem))?;
        place.ok_or_else(|| {
            let problem = format!("has no column \"{name}\"; it has {}", self.listed());
            BatchError::input(path, problem)
        })
    }

    /// The names, for people.
    pub(crate) fn listed(&self) -> String {
        const MAX_NAMES: usize = 20;
        let names: Vec<&str> = match self {
            Self::Typed(schema) => schema
                .fields()
                .iter()
                .map(|field| field.name().as_str())
                .collect(),
            Self::Named(names) => names.iter().map(String::as_str).collect(),
            Self::Open => return "unknown columns".to_owned(),
        };
        let more = names.len().saturating_sub(MAX_NAMES);
        let shown = names[..names.len() - more].join(", ");
        match more {
            0 => shown,
            more => format!("{shown} and {more} more"),
        }
    }
}

fn places<'a>(names: impl Iterator<Item = &'a String>, wanted: &str) -> Vec<usize> {
    let named = names.enumerate().filter(|(_, name)| *name == wanted);
    named.map(|(place, _)| place).collect()
}

/// The rows of one unit of work: a part of a file that can be read by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitRange {
    /// The number of its first row in the file, from 0.
    pub first_row: u64,
    /// How many rows it has.
    pub rows: u64,
    /// Where it is in the file.
    pub part: Part,
}

/// Where a range of rows is in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// From one row group of Parquet, or record batch of Arrow, up to another one, which does not
    /// belong to it.
    Groups(usize, usize),
    /// From one byte of the file up to another one, which does not belong to it.
    Bytes(u64, u64),
}

/// A file as it was when the job was planned.
#[derive(Clone, Debug)]
pub(crate) struct InputFile {
    pub(crate) path: PathBuf,
    pub(crate) partition: String,
    pub(crate) format: Format,
    pub(crate) identity: FileIdentity,
    pub(crate) columns: Columns,
    pub(crate) ranges: Vec<UnitRange>,
}

impl InputFile {
    pub(crate) fn rows(&self) -> u64 {
        self.ranges.iter().map(|range| range.rows).sum()
    }

    /// Looks at a file: its columns, and how its rows are cut into units of about `unit_rows`.
    pub(crate) fn survey(found: FoundFile, format: Option<Format>, unit_rows: u64) -> Result<Self> {
        let FoundFile { path, partition } = found;
        let Some(format) = format.or_else(|| Format::of(&path)) else {
            let problem = format!(
                "its format is unknown: the name must end in {}, or --format must say it",
                Format::ENDINGS
            );
            return Err(BatchError::input(&path, problem));
        };
        let survey = match format {
            Format::Parquet => parquet_file::survey(&path, unit_rows)?,
            Format::Csv => csv_file::survey(&path, unit_rows)?,
            Format::JsonLines => json_lines::survey(&path, unit_rows)?,
            Format::Arrow => arrow_file::survey(&path, unit_rows)?,
        };
        Ok(Self {
            path,
            partition,
            format,
            identity: survey.identity,
            columns: survey.columns,
            ranges: survey.ranges,
        })
    }

    /// Reads the rows of a range, at most `batch_rows` at a time.
    pub(crate) fn read(
        &self,
        range: &UnitRange,
        projection: &Projection,
        batch_rows: usize,
    ) -> Result<Box<dyn RowReader>> {
        let request = ReadRequest {
            path: self.path.clone(),
            identity: self.identity.clone(),
            columns: self.columns.clone(),
            range: *range,
            projection: projection.clone(),
            batch_rows,
        };
        Ok(match self.format {
            Format::Parquet => Box::new(parquet_file::Reader::open(request)?),
            Format::Csv => Box::new(csv_file::Reader::open(request)?),
            Format::JsonLines => Box::new(json_lines::Reader::open(request)?),
            Format::Arrow => Box::new(arrow_file::Reader::open(request)?),
        })
    }
}

/// What a look at a file gives.
struct Survey {
    identity: FileIdentity,
    columns: Columns,
    ranges: Vec<UnitRange>,
}

/// The columns that are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Projection {
    /// Those that the version takes.
    pub(crate) bound: Vec<String>,
    /// Those that are written beside the predictions.
    pub(crate) kept: Vec<String>,
}

/// What a reader is asked for.
struct ReadRequest {
    path: PathBuf,
    identity: FileIdentity,
    columns: Columns,
    range: UnitRange,
    projection: Projection,
    batch_rows: usize,
}

/// Some rows of a file.
#[derive(Clone, Debug)]
pub(crate) struct RowBatch {
    /// The number of each row in its file, from 0.
    pub(crate) rows: Vec<u64>,
    /// As the projection has them.
    pub(crate) bound: Vec<ArrayRef>,
    /// As the projection has them.
    pub(crate) kept: Vec<ArrayRef>,
    /// Rows between these that could not be read.
    pub(crate) bad: Vec<BadRow>,
}

/// A row that has no prediction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadRow {
    /// Its number in its file, from 0.
    pub(crate) row: u64,
    pub(crate) reason: String,
}

/// Reads the rows of a unit in order.
pub(crate) trait RowReader {
    /// The next rows; `None` at the end, after it was seen that the file is still the same.
    fn next_rows(&mut self) -> Result<Option<RowBatch>>;
}

/// Cuts groups of rows, none of which can be parted, into units of at least `unit_rows`.
fn ranges_of_groups(groups: &[u64], unit_rows: u64) -> Vec<UnitRange> {
    let mut ranges = Vec::new();
    let (mut first_row, mut rows, mut from) = (0, 0, 0);
    for (at, group_rows) in groups.iter().enumerate() {
        rows += group_rows;
        let is_last = at + 1 == groups.len();
        if rows >= unit_rows || (is_last && rows > 0) {
            ranges.push(UnitRange {
                first_row,
                rows,
                part: Part::Groups(from, at + 1),
            });
            first_row += rows;
            (rows, from) = (0, at + 1);
        }
    }
    ranges
}

#[cfg(test)]
mod tests;
