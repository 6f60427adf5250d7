//! The profiles of tables.

use std::path::Path;

use anyhow::{Result, bail};
use tidegate_quality::profile::{
    Baseline, BaselineColumn, Kind, Profile, Survey, TableProfile, Value,
};

use super::table_file::{Cell, TableFile};

/// The baseline of a file.
pub(super) fn baseline(
    path: &Path,
    is_captured: bool,
    categories: &[String],
    skip: &[String],
) -> Result<Baseline> {
    let table = TableFile::open(path, is_captured)?;
    let (names, bins) = survey(path, &table, categories, skip)?;
    let columns = names.into_iter().zip(bins).map(|(name, bins)| {
        let profile = Profile::new(&bins);
        BaselineColumn {
            name,
            bins,
            profile,
        }
    });
    let empty = Baseline::new(columns.collect())?;
    let counted = window(path, is_captured, &empty)?;
    Ok(empty.with_reference(&counted)?)
}

/// The rows of a file, counted into the bins of a baseline. A column that the file lacks is missing in
/// all rows.
pub(super) fn window(path: &Path, is_captured: bool, baseline: &Baseline) -> Result<TableProfile> {
    let table = TableFile::open(path, is_captured)?;
    let columns = baseline.columns().iter();
    let places: Vec<Option<usize>> = columns
        .map(|column| table.names().iter().position(|name| *name == column.name))
        .collect();
    if places.iter().all(Option::is_none) {
        bail!("{} has no column of the baseline", path.display());
    }
    let mut window = baseline.new_window();
    let rows = table.each_row(|row| {
        for (column, place) in places.iter().enumerate() {
            let cell = place.map_or(Cell::Missing, |place| row.cell(place));
            let kind = baseline.columns()[column].bins.kind();
            window.add(baseline, column, value(cell, kind));
        }
    })?;
    if rows == 0 {
        bail!("{} has no rows", path.display());
    }
    Ok(window)
}

type Bins = tidegate_quality::profile::Bins;

/// The columns of a file, and bins for each.
fn survey(
    path: &Path,
    table: &TableFile,
    categories: &[String],
    skip: &[String],
) -> Result<(Vec<String>, Vec<Bins>)> {
    for name in categories.iter().chain(skip) {
        if !table.names().contains(name) {
            bail!("{} has no column {name:?}", path.display());
        }
    }
    let names = table.names().to_vec();
    let mut surveys: Vec<ColumnSurvey> = names
        .iter()
        .map(|name| ColumnSurvey::new(categories.contains(name)))
        .collect();
    let rows = table.each_row(|row| {
        for (column, survey) in surveys.iter_mut().enumerate() {
            survey.add(row.cell(column));
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

    fn add(&mut self, cell: Cell<'_>) {
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

/// The value of a cell. An empty one has none.
fn value(cell: Cell<'_>, kind: Kind) -> Value<'_> {
    let text = match cell {
        Cell::Missing => return Value::Missing,
        Cell::Number(number) => return Value::Number(number),
        Cell::Text(text) => text.trim(),
    };
    if text.is_empty() {
        return Value::Missing;
    }
    match (kind, text.parse()) {
        (Kind::Number, Ok(number)) => Value::Number(number),
        // Booleans of a request are 1 and 0.
        (Kind::Number, Err(_)) if text.eq_ignore_ascii_case("true") => Value::Number(1.0),
        (Kind::Number, Err(_)) if text.eq_ignore_ascii_case("false") => Value::Number(0.0),
        _ => Value::Text(text),
    }
}
