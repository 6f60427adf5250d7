//! Tables in CSV files, counted row by row: a file may be larger than the memory.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context, Result, bail};
use tidegate_quality::profile::{
    Baseline, BaselineColumn, Kind, Profile, Survey, TableProfile, Value,
};

/// More columns than tables have; each takes some 100 kB while it is surveyed.
const MAX_COLUMNS: usize = 10_000;

/// The baseline of a file.
pub(super) fn baseline(path: &Path, categories: &[String], skip: &[String]) -> Result<Baseline> {
    let (names, bins) = survey(path, categories, skip)?;
    let columns = names.into_iter().zip(bins).map(|(name, bins)| {
        let profile = Profile::new(&bins);
        BaselineColumn {
            name,
            bins,
            profile,
        }
    });
    let empty = Baseline::new(columns.collect())?;
    let counted = window(path, &empty)?;
    Ok(empty.with_reference(&counted)?)
}

/// The rows of a file, counted into the bins of a baseline. A column that the file lacks is missing in
/// all rows.
pub(super) fn window(path: &Path, baseline: &Baseline) -> Result<TableProfile> {
    let mut table = Table::open(path)?;
    let columns = baseline.columns().iter();
    let places: Vec<Option<usize>> = columns
        .map(|column| table.names.iter().position(|name| *name == column.name))
        .collect();
    if places.iter().all(Option::is_none) {
        bail!("{} has no column of the baseline", path.display());
    }
    let mut window = baseline.new_window();
    let rows = table.each_row(|record| {
        for (column, place) in places.iter().enumerate() {
            let cell = place.and_then(|place| record.get(place));
            let kind = baseline.columns()[column].bins.kind();
            window.add(baseline, column, value(cell.unwrap_or_default(), kind));
        }
    })?;
    if rows == 0 {
        bail!("{} has no rows", path.display());
    }
    Ok(window)
}

type Bins = tidegate_quality::profile::Bins;

/// The columns of a file, and bins for each.
fn survey(path: &Path, categories: &[String], skip: &[String]) -> Result<(Vec<String>, Vec<Bins>)> {
    let mut table = Table::open(path)?;
    for name in categories.iter().chain(skip) {
        if !table.names.contains(name) {
            bail!("{} has no column {name:?}", path.display());
        }
    }
    let names = table.names.clone();
    let mut surveys: Vec<ColumnSurvey> = names
        .iter()
        .map(|name| ColumnSurvey::new(categories.contains(name)))
        .collect();
    let rows = table.each_row(|record| {
        for (survey, cell) in surveys.iter_mut().zip(record) {
            survey.add(cell);
        }
    })?;
    if rows == 0 {
        bail!("{} has no rows", path.display());
    }
    let kept = names.into_iter().zip(surveys);
    let kept = kept.filter(|(name, _)| !skip.contains(name));
    Ok(kept.map(|(name, survey)| (name, survey.bins())).unzip())
}

/// A column whose kind is not known before all of it was seen.
struct ColumnSurvey {
    /// `None` once a text was seen, or if numbers are labels.
    numbers: Option<Survey>,
    categories: Survey,
}

impl ColumnSurvey {
    fn new(is_category: bool) -> Self {
        Self {
            numbers: (!is_category).then(|| Survey::new(Kind::Number)),
            categories: Survey::new(Kind::Category),
        }
    }

    fn add(&mut self, cell: &str) {
        self.categories.add(value(cell, Kind::Category));
        if let Some(numbers) = &mut self.numbers {
            match value(cell, Kind::Number) {
                Value::Text(_) => self.numbers = None,
                number => numbers.add(number),
            }
        }
    }

    fn bins(&self) -> Bins {
        match &self.numbers {
            // A column without any value has no numbers either.
            Some(numbers) if numbers.moments().count() > 0 => numbers.bins(),
            _ => self.categories.bins(),
        }
    }
}

/// A cell. An empty one has no value.
fn value(cell: &str, kind: Kind) -> Value<'_> {
    let cell = cell.trim();
    if cell.is_empty() {
        return Value::Missing;
    }
    match (kind, cell.parse()) {
        (Kind::Number, Ok(number)) => Value::Number(number),
        _ => Value::Text(cell),
    }
}

/// A CSV file with a header.
struct Table {
    path: String,
    reader: csv::Reader<std::fs::File>,
    names: Vec<String>,
}

impl Table {
    fn open(path: &Path) -> Result<Self> {
        let shown = path.display().to_string();
        let reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::Headers)
            .from_path(path);
        let mut reader = reader.with_context(|| format!("cannot read {shown}"))?;
        let header = reader.headers();
        let header = header.with_context(|| format!("cannot read {shown}"))?;
        let names: Vec<String> = header.iter().map(str::to_owned).collect();
        if names.len() > MAX_COLUMNS {
            let count = names.len();
            bail!("{shown} has {count} columns, and at most {MAX_COLUMNS} are read");
        }
        let mut seen = HashSet::new();
        if let Some(twice) = names.iter().find(|name| !seen.insert(*name)) {
            bail!("{shown} has the column {twice:?} twice");
        }
        Ok(Self {
            path: shown,
            reader,
            names,
        })
    }

    /// Shows each row, and gives their number.
    fn each_row(&mut self, mut show: impl FnMut(&csv::StringRecord)) -> Result<u64> {
        let mut record = csv::StringRecord::new();
        let mut rows = 0;
        loop {
            let more = self.reader.read_record(&mut record);
            if !more.with_context(|| format!("cannot read {}", self.path))? {
                return Ok(rows);
            }
            rows += 1;
            show(&record);
        }
    }
}
