//! Figures as tables: on the terminal, as JSON under `bench/results`, and in `docs/benchmarks.md`.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::machine::Machine;

/// A table of figures.
#[derive(Serialize)]
pub(super) struct Section {
    title: &'static str,
    columns: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

/// A text or a number.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Cell {
    Text(String),
    Number(f64),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<f64> for Cell {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<usize> for Cell {
    fn from(number: usize) -> Self {
        Self::Number(number as f64)
    }
}

impl Cell {
    /// As a table shows it: three significant digits or so.
    fn show(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) if number.fract() == 0.0 || number.abs() >= 1000.0 => {
                format!("{number:.0}")
            }
            Self::Number(number) if number.abs() >= 10.0 => format!("{number:.1}"),
            Self::Number(number) => format!("{number:.2}"),
        }
    }
}

impl Section {
    pub(super) fn new(title: &'static str, columns: &[&'static str]) -> Self {
        Self {
            title,
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        let line: Vec<String> = cells.iter().map(Cell::show).collect();
        println!("{}: {}", self.title, line.join(" | "));
        self.rows.push(cells);
    }

    /// A Markdown table.
    pub(super) fn markdown(&self) -> String {
        let mut text = format!(
            "| {} |\n|{}\n",
            self.columns.join(" | "),
            "---|".repeat(self.columns.len())
        );
        for row in &self.rows {
            let cells: Vec<String> = row.iter().map(Cell::show).collect();
            text.push_str(&format!("| {} |\n", cells.join(" | ")));
        }
        text
    }
}

/// Writes the figures to `bench/results/NAME.json`, and between the marks of this name in
/// `docs/benchmarks.md`.
pub(super) fn record(root: &Path, name: &str, section: &Section) -> Result<()> {
    #[derive(Serialize)]
    struct Results<'a> {
        machine: &'a Machine,
        #[serde(flatten)]
        section: &'a Section,
    }
    let machine = Machine::read();
    let folder = root.join("bench/results");
    std::fs::create_dir_all(&folder)?;
    let json = serde_json::to_string_pretty(&Results {
        machine: &machine,
        section,
    })?;
    std::fs::write(folder.join(format!("{name}.json")), json + "\n")?;

    let page = root.join("docs/benchmarks.md");
    let text = std::fs::read_to_string(&page)
        .with_context(|| format!("cannot read {}", page.display()))?;
    let (begin, end) = (
        format!("<!-- figures: {name} -->\n"),
        "<!-- end of figures -->",
    );
    let (before, rest) = text
        .split_once(&begin)
        .with_context(|| format!("docs/benchmarks.md has no {begin}"))?;
    let (_, after) = rest
        .split_once(end)
        .with_context(|| format!("docs/benchmarks.md has no {end}"))?;
    let made = format!("{}\nMeasured on {}.\n", section.markdown(), machine.line());
    std::fs::write(&page, format!("{before}{begin}{made}{end}{after}"))?;
    Ok(())
}
