//! Rows of formats whose columns have no types: texts.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::StringBuilder;

use super::{BadRow, Projection, RowBatch};

/// Collects rows of texts.
pub(super) struct TextRows {
    rows: Vec<u64>,
    bound: Vec<StringBuilder>,
    kept: Vec<StringBuilder>,
    bad: Vec<BadRow>,
}

impl TextRows {
    pub(super) fn new(projection: &Projection) -> Self {
        Self {
            rows: Vec::new(),
            bound: builders(projection.bound.len()),
            kept: builders(projection.kept.len()),
            bad: Vec::new(),
        }
    }

    /// All rows so far, read or not.
    pub(super) fn len(&self) -> usize {
        self.rows.len() + self.bad.len()
    }

    /// Adds a row, with a text for each bound and each kept column.
    pub(super) fn push<'t>(
        &mut self,
        row: u64,
        bound: impl Iterator<Item = Option<&'t str>>,
        kept: impl Iterator<Item = Option<&'t str>>,
    ) {
        self.rows.push(row);
        for (builder, text) in self.bound.iter_mut().zip(bound) {
            builder.append_option(text);
        }
        for (builder, text) in self.kept.iter_mut().zip(kept) {
            builder.append_option(text);
        }
    }

    /// Adds a row that cannot be read.
    pub(super) fn push_bad(&mut self, row: u64, reason: String) {
        self.bad.push(BadRow { row, reason });
    }

    pub(super) fn finish(self) -> RowBatch {
        RowBatch {
            rows: self.rows,
            bound: finished(self.bound),
            kept: finished(self.kept),
            bad: self.bad,
        }
    }
}

fn builders(count: usize) -> Vec<StringBuilder> {
    (0..count).map(|_| StringBuilder::new()).collect()
}

fn finished(builders: Vec<StringBuilder>) -> Vec<ArrayRef> {
    let arrays = builders
        .into_iter()
        .map(|mut builder| Arc::new(builder.finish()) as ArrayRef);
    arrays.collect()
}
