//! A recorded table of figures.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

/// One of `bench/results/*.json`.
#[derive(Deserialize)]
pub(super) struct Results {
    columns: Vec<String>,
    pub(super) rows: Vec<Vec<Value>>,
}

impl Results {
    pub(super) fn read(root: &Path, name: &str) -> Result<Self> {
        let path = root.join(format!("bench/results/{name}.json"));
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} has no table", path.display()))
    }

    pub(super) fn text<'r>(&self, row: &'r [Value], column: &str) -> Result<&'r str> {
        row[self.place(column)?]
            .as_str()
            .with_context(|| format!("\"{column}\" is no text"))
    }

    pub(super) fn number(&self, row: &[Value], column: &str) -> Result<f64> {
        self.number_at(row, self.place(column)?)
    }

    pub(super) fn number_at(&self, row: &[Value], at: usize) -> Result<f64> {
        row[at]
            .as_f64()
            .with_context(|| format!("\"{}\" is no number", self.columns[at]))
    }

    /// The texts of a column, each once.
    pub(super) fn distinct(&self, column: &str) -> Result<Vec<String>> {
        let mut texts: Vec<String> = Vec::new();
        for row in &self.rows {
            let text = self.text(row, column)?;
            if !texts.iter().any(|known| known == text) {
                texts.push(text.to_owned());
            }
        }
        Ok(texts)
    }

    /// Where columns are; a name that stands twice means the first and then the second of that
    /// name.
    pub(super) fn places<const N: usize>(&self, columns: [&str; N]) -> Result<[usize; N]> {
        let mut places = [0; N];
        for (at, column) in columns.iter().enumerate() {
            let earlier = columns[..at]
                .iter()
                .filter(|other| *other == column)
                .count();
            let mut found = self
                .columns
                .iter()
                .enumerate()
                .filter(|(_, name)| name == column);
            places[at] = found
                .nth(earlier)
                .with_context(|| format!("there is no column \"{column}\""))?
                .0;
        }
        Ok(places)
    }

    fn place(&self, column: &str) -> Result<usize> {
        match self.columns.iter().position(|name| name == column) {
            Some(at) => Ok(at),
            None => bail!("there is no column \"{column}\""),
        }
    }
}
