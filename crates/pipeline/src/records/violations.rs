//! The values of one request that break rules.

use std::collections::BTreeMap;

use hashbrown::HashSet;
use tidegate_core::ViolationPolicy;

use crate::field::Field;
use crate::partial::BadRows;
use crate::violations::{FieldViolations, Flagged};
use crate::{PipelineError, Reason, RowError};

/// The most that an answer lists.
const MAX_FLAGGED: usize = 1000;

/// Rejects, counts and lists values that break rules.
pub(crate) struct Violations<'a> {
    counts: &'a FieldViolations,
    flagged: Vec<Flagged>,
    /// Row and field of the values that could not be read, and are missing now.
    unreadable: HashSet<(usize, usize)>,
    /// The first problem of each row that fails alone; `None` if it fails the request.
    failed: Option<BTreeMap<usize, RowError>>,
}

impl<'a> Violations<'a> {
    pub(crate) fn new(counts: &'a FieldViolations, bad_rows: BadRows) -> Self {
        Self {
            counts,
            flagged: Vec::new(),
            unreadable: HashSet::new(),
            failed: (bad_rows == BadRows::FailAlone).then(BTreeMap::new),
        }
    }

    /// Counts a value that breaks a rule, and fails unless its field is flagged only.
    pub(crate) fn add(
        &mut self,
        field: &Field,
        place: usize,
        row: usize,
        reason: Reason,
        problem: impl FnOnce() -> String,
    ) -> Result<(), PipelineError> {
        self.count(place, reason);
        if field.policy != ViolationPolicy::Flag {
            return self.fail(RowError {
                row,
                field: field.name.clone(),
                reason,
                problem: problem(),
            });
        }
        if self.flagged.len() < MAX_FLAGGED {
            self.flagged.push(Flagged {
                row,
                field: field.name.clone(),
                reason,
            });
        }
        Ok(())
    }

    /// Fails a row, or the request.
    pub(crate) fn fail(&mut self, error: RowError) -> Result<(), PipelineError> {
        let Some(failed) = &mut self.failed else {
            return Err(PipelineError::Row(error));
        };
        failed.entry(error.row).or_insert(error);
        Ok(())
    }

    /// Fails the row of a field that the pipeline does not have.
    pub(crate) fn fail_unknown(&mut self, error: RowError) -> Result<(), PipelineError> {
        if self.failed.is_some() {
            self.counts.count_error(&error);
        }
        self.fail(error)
    }

    /// As [`Violations::add`], for a value that cannot be used: it counts as missing.
    pub(crate) fn add_unreadable(
        &mut self,
        field: &Field,
        place: usize,
        row: usize,
        reason: Reason,
        problem: impl FnOnce() -> String,
    ) -> Result<(), PipelineError> {
        self.add(field, place, row, reason, problem)?;
        self.unreadable.insert((row, place));
        Ok(())
    }

    pub(crate) fn count(&self, place: usize, reason: Reason) {
        self.counts.count(place, reason);
    }

    /// Whether a value is missing only because it could not be read.
    pub(crate) fn has(&self, row: usize, place: usize) -> bool {
        !self.unreadable.is_empty() && self.unreadable.contains(&(row, place))
    }

    /// What is flagged, and the rows that have failed alone.
    pub(crate) fn into_parts(self) -> (Vec<Flagged>, Option<BTreeMap<usize, RowError>>) {
        (self.flagged, self.failed)
    }
}
