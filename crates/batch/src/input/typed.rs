//! Rows of formats whose columns have types.

use std::path::Path;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::SchemaRef;

use super::{Columns, Projection, RowBatch};
use crate::error::{BatchError, Result};

/// The places of the wanted columns among those of a file, ascending and each once.
pub(super) fn wanted_places(
    schema: &SchemaRef,
    projection: &Projection,
    path: &Path,
) -> Result<Vec<usize>> {
    let columns = Columns::Typed(schema.clone());
    let mut places = Vec::new();
    for name in projection.bound.iter().chain(&projection.kept) {
        places.push(columns.place(name, path)?);
    }
    places.sort_unstable();
    places.dedup();
    Ok(places)
}

/// The rows of a record batch that has the wanted columns.
pub(super) fn row_batch(
    batch: &RecordBatch,
    projection: &Projection,
    first_row: u64,
    path: &Path,
) -> Result<RowBatch> {
    let rows = first_row..first_row + batch.num_rows() as u64;
    Ok(RowBatch {
        rows: rows.collect(),
        bound: columns(batch, &projection.bound, path)?,
        kept: columns(batch, &projection.kept, path)?,
        bad: Vec::new(),
    })
}

fn columns(batch: &RecordBatch, names: &[String], path: &Path) -> Result<Vec<ArrayRef>> {
    let mut columns = Vec::with_capacity(names.len());
    for name in names {
        let Some(column) = batch.column_by_name(name) else {
            let problem = format!("has no column \"{name}\" any more");
            return Err(BatchError::input(path, problem));
        };
        columns.push(column.clone());
    }
    Ok(columns)
}
