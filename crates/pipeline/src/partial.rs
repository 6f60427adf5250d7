//! Requests in which a bad row does not fail the others.

use std::collections::BTreeMap;

use crate::RowError;

/// What happens to a request that has rows with values that cannot be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BadRows {
    /// It fails, with the first problem.
    #[default]
    FailRequest,
    /// The other rows are answered. Where no row is left, the request fails.
    FailAlone,
}

/// The rows that are answered and those that are not.
#[derive(Clone, Debug)]
pub(crate) struct PartialRows {
    /// The rows of the request.
    pub(crate) total: usize,
    /// Those that are answered, in ascending order.
    pub(crate) kept: Vec<usize>,
    /// The first problem of each other row.
    pub(crate) failed: BTreeMap<usize, RowError>,
}

impl PartialRows {
    pub(crate) fn new(total: usize, failed: BTreeMap<usize, RowError>) -> Self {
        let kept = (0..total).filter(|row| !failed.contains_key(row));
        Self {
            total,
            kept: kept.collect(),
            failed,
        }
    }

    /// Takes a row out that a step could not take. `error` has its place among those kept.
    pub(crate) fn fail(&mut self, mut error: RowError) {
        error.row = self.kept.remove(error.row);
        self.failed.insert(error.row, error);
    }
}
