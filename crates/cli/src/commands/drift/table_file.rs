//! Files with tables, read row by row: a file may be larger than the memory.

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray};
use arrow_cast::cast;
use arrow_schema::{DataType, Field};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// More columns than tables have; each takes some 100 kB while it is surveyed.
const MAX_COLUMNS: usize = 10_000;
/// Files of a folder, at most.
const MAX_FILES: usize = 100_000;
/// What the names of captured columns begin with.
const CAPTURED: [&str; 3] = ["field.", "input.", "output."];

/// A table: a CSV file with a header, a Parquet file, or the Parquet files below a folder.
pub(super) struct TableFile {
    path: PathBuf,
    names: Vec<String>,
    files: Vec<PathBuf>,
    is_captured: bool,
}

/// A value of a row.
#[derive(Clone, Copy)]
pub(super) enum Cell<'a> {
    Missing,
    Number(f64),
    /// As the file has it: a CSV file has nothing else.
    Text(&'a str),
}

/// One row.
pub(super) enum TableRow<'a> {
    Csv(&'a csv::StringRecord),
    Columns { columns: &'a [Column], row: usize },
}

/// A column of a Parquet file.
pub(super) enum Column {
    Numbers(Float64Array),
    Flags(BooleanArray),
    Texts(StringArray),
}

impl TableRow<'_> {
    pub(super) fn cell(&self, column: usize) -> Cell<'_> {
        match self {
            Self::Csv(record) => Cell::Text(record.get(column).unwrap_or_default()),
            Self::Columns { columns, row } => columns
                .get(column)
                .map_or(Cell::Missing, |column| column.cell(*row)),
        }
    }
}

impl Column {
    fn cell(&self, row: usize) -> Cell<'_> {
        match self {
            Self::Numbers(numbers) if !numbers.is_null(row) => Cell::Number(numbers.value(row)),
            Self::Flags(flags) if !flags.is_null(row) => {
                Cell::Number(f64::from(u8::from(flags.value(row))))
            }
            Self::Texts(texts) if !texts.is_null(row) => Cell::Text(texts.value(row)),
            _ => Cell::Missing,
        }
    }

    fn of(column: &ArrayRef) -> Result<Self> {
        Ok(match column.data_type() {
            DataType::Boolean => Self::Flags(column.as_boolean().clone()),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                Self::Texts(cast(column, &DataType::Utf8)?.as_string().clone())
            }
            _ => Self::Numbers(
                cast(column, &DataType::Float64)?
                    .as_primitive::<Float64Type>()
                    .clone(),
            ),
        })
    }
}

impl TableFile {
    /// Opens a table. Of captured predictions, the columns are named as the fields, inputs and outputs
    /// that they are of, and what else is known of a prediction is left out.
    pub(super) fn open(path: &Path, is_captured: bool) -> Result<Self> {
        let files = match path.is_dir() {
            true => parquet_files(path)?,
            false => vec![path.to_owned()],
        };
        let mut table = Self {
            path: path.to_owned(),
            names: Vec::new(),
            files,
            is_captured,
        };
        table.names = table.read_names()?;
        let shown = path.display();
        if table.names.len() > MAX_COLUMNS {
            let count = table.names.len();
            bail!("{shown} has {count} columns, and at most {MAX_COLUMNS} are read");
        }
        let mut seen = HashSet::new();
        if let Some(twice) = table.names.iter().find(|name| !seen.insert(*name)) {
            bail!("{shown} has the column {twice:?} twice");
        }
        Ok(table)
    }

    /// The names of the columns.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    fn is_csv(&self) -> bool {
        let extension = self.files.first().and_then(|file| file.extension());
        extension.is_none_or(|extension| extension != "parquet")
    }

    fn read_names(&self) -> Result<Vec<String>> {
        if self.is_csv() {
            let mut reader = self.csv()?;
            let header = reader.headers().with_context(|| self.unreadable())?;
            return Ok(header.iter().map(str::to_owned).collect());
        }
        let mut names = Vec::new();
        // Files of captured predictions differ in their columns: some requests had records.
        for file in &self.files {
            let schema = open_parquet(file)?.schema().clone();
            for field in schema.fields() {
                let name = self.name(field).map(str::to_owned);
                names.extend(name.filter(|name| !names.contains(name)));
            }
            if !self.is_captured {
                break;
            }
        }
        Ok(names)
    }

    /// The name of a column, if its values can be compared.
    fn name<'f>(&self, field: &'f Field) -> Option<&'f str> {
        let is_value = field.data_type().is_numeric()
            || matches!(
                field.data_type(),
                DataType::Boolean | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
            );
        let name = Some(field.name().as_str()).filter(|_| is_value)?;
        match self.is_captured {
            false => Some(name),
            true => CAPTURED.iter().find_map(|kind| name.strip_prefix(kind)),
        }
    }

    /// Shows each row, and gives their number.
    pub(super) fn each_row(&self, mut show: impl FnMut(&TableRow<'_>)) -> Result<u64> {
        if self.is_csv() {
            return self.each_csv_row(show);
        }
        let mut rows = 0;
        for file in &self.files {
            let reader = open_parquet(file)?.build();
            for batch in reader.with_context(|| format!("cannot read {}", file.display()))? {
                let batch = batch.with_context(|| format!("cannot read {}", file.display()))?;
                let columns = self.columns(&batch)?;
                for row in 0..batch.num_rows() {
                    let columns = &columns;
                    show(&TableRow::Columns { columns, row });
                }
                rows += batch.num_rows() as u64;
            }
        }
        Ok(rows)
    }

    /// The columns of a batch in the order of the names; one that the file lacks is missing in each row.
    fn columns(&self, batch: &RecordBatch) -> Result<Vec<Column>> {
        let schema = batch.schema();
        let names = self.names.iter().map(|name| {
            let mut fields = schema.fields().iter();
            match fields.position(|field| self.name(field) == Some(name)) {
                Some(place) => Column::of(batch.column(place)),
                None => Ok(Column::Numbers(Float64Array::new_null(batch.num_rows()))),
            }
        });
        names.collect()
    }

    fn each_csv_row(&self, mut show: impl FnMut(&TableRow<'_>)) -> Result<u64> {
        let mut reader = self.csv()?;
        let mut record = csv::StringRecord::new();
        let mut rows = 0;
        while reader
            .read_record(&mut record)
            .with_context(|| self.unreadable())?
        {
            rows += 1;
            show(&TableRow::Csv(&record));
        }
        Ok(rows)
    }

    fn csv(&self) -> Result<csv::Reader<File>> {
        let reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::Headers)
            .from_path(&self.path);
        reader.with_context(|| self.unreadable())
    }

    fn unreadable(&self) -> String {
        format!("cannot read {}", self.path.display())
    }
}

fn open_parquet(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("cannot read {shown}"))?;
    ParquetRecordBatchReaderBuilder::try_new(file)
        .with_context(|| format!("{shown} is not a Parquet file"))
}

/// The Parquet files below a folder, in the order of their names.
fn parquet_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let shown = next.display().to_string();
        let entries = std::fs::read_dir(&next).with_context(|| format!("cannot read {shown}"))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot read {shown}"))?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "parquet")
            {
                files.push(path);
            }
        }
    }
    files.sort();
    match files.len() {
        0 => bail!("{} has no Parquet files", folder.display()),
        count if count > MAX_FILES => bail!("{} has {count} files", folder.display()),
        _ => Ok(files),
    }
}
