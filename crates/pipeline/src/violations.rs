//! How often values broke the rules of their fields.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::field::Fields;
use crate::{Reason, RowError};

/// A value that broke a rule and was used nevertheless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flagged {
    /// The row of the request, from 0.
    pub row: usize,
    /// The field.
    pub field: Arc<str>,
    /// The rule.
    pub reason: Reason,
}

/// Counts of violations, by field and reason.
#[derive(Debug)]
pub struct FieldViolations {
    names: Vec<Arc<str>>,
    /// For each name, a count for each reason; the last ones are of fields that do not exist.
    counts: Vec<[AtomicU64; Reason::ALL.len()]>,
}

/// What fields that the pipeline does not have are counted as: their names are the client's.
const OTHER: &str = "(other)";

impl FieldViolations {
    pub(crate) fn new(fields: &Fields) -> Self {
        let mut names: Vec<Arc<str>> = fields.iter().map(|field| field.name.clone()).collect();
        names.push(OTHER.into());
        let counts = names.iter().map(|_| Default::default()).collect();
        Self { names, counts }
    }

    pub(crate) fn has_names_of(&self, other: &Self) -> bool {
        self.names == other.names
    }

    /// Each field and reason that was counted, in the order of the fields.
    pub fn counted(&self) -> impl Iterator<Item = (&str, Reason, u64)> {
        let fields = self.names.iter().zip(&self.counts);
        let counts = fields.flat_map(|(name, counts)| {
            let counts = Reason::ALL.iter().zip(counts);
            counts.map(|(reason, count)| (&**name, *reason, count.load(Ordering::Relaxed)))
        });
        counts.filter(|(.., count)| *count > 0)
    }

    /// Counts a violation of a field, by its place.
    pub(crate) fn count(&self, field: usize, reason: Reason) {
        self.counts[field][reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts what a request failed of.
    pub(crate) fn count_error(&self, error: &RowError) {
        let found = self.names.iter().position(|name| *name == error.field);
        self.count(found.unwrap_or(self.names.len() - 1), error.reason);
    }
}
