//! Rows in files, as inputs of a model; outputs of a model, as rows.
//!
//! Every format becomes a [`Table`] first: rows of cells, with the names of the columns where the file
//! has them. Cells become tensors by the rules of the server's JSON.

mod cells;
mod layouts;
mod npy;
mod output;
mod table;

use std::path::Path;

use anyhow::{Context, Result, bail};
use tidegate_core::{DeclaredSignature, Signature, Tensor};

pub(crate) use self::output::{csv_cells, csv_header, output_values};
use self::table::Table;

/// Reads the rows of a `.json`, `.csv` or `.npy` file as the inputs of a model. `declared` has the
/// names of the columns, where its owner gives them.
pub(crate) fn read(
    path: &Path,
    signature: &Signature,
    declared: &DeclaredSignature,
) -> Result<Vec<(String, Tensor)>> {
    let extension = path
        .extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or_default();
    let inputs = match extension {
        "json" | "jsonl" => layouts::json(path, signature, declared),
        "csv" => csv(path).and_then(|table| table.inputs(signature, declared)),
        "npy" => npy::read(path, signature),
        other => bail!(
            "{}: rows can be read from .json, .jsonl, .csv and .npy files, not from {other:?}",
            path.display()
        ),
    };
    inputs.with_context(|| format!("cannot read {}", path.display()))
}

/// A header and rows. An empty cell has no value, as a `null` of JSON.
fn csv(path: &Path) -> Result<Table> {
    let mut reader = csv::Reader::from_path(path)?;
    let names = reader.headers()?.iter().map(str::to_owned).collect();
    let mut rows = Vec::new();
    for record in reader.records() {
        let cells = record?;
        rows.push(cells.iter().map(cells::of_text).collect());
    }
    Ok(Table::of_text(names, rows))
}
