//! What can be wrong with an expression, and with a row.

use cel::ParseErrors;
use thiserror::Error;

/// An expression that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct ParseError(pub(crate) String);

impl ParseError {
    /// The first of many problems, on one line.
    pub(crate) fn of(errors: &ParseErrors) -> Self {
        let first = errors.errors.first();
        let problem = first.map_or("it cannot be read", |error| error.msg.as_str());
        let line = problem.lines().next().unwrap_or_default();
        let place = first.map_or(0, |error| error.pos.1);
        Self(format!("character {place}: {line}"))
    }
}

/// A row for which an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("row {row}: {problem}")]
pub struct RunError {
    /// The row, from 0.
    pub row: usize,
    /// The place of the variable that is missing, if that is the reason.
    pub missing: Option<usize>,
    /// What is wrong.
    pub problem: &'static str,
}
