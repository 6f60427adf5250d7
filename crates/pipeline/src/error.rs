//! What can be wrong with a pipeline, and with a request for it.

use std::sync::Arc;

use thiserror::Error;

/// Why a pipeline cannot run: what its manifest says does not fit its state or its model.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct CompileError(pub(crate) String);

impl CompileError {
    pub(crate) fn new(problem: impl Into<String>) -> Self {
        Self(problem.into())
    }

    /// The same problem, with the place where it is.
    pub(crate) fn at(self, place: &str) -> Self {
        Self(format!("{place}: {}", self.0))
    }
}

/// Why a request cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PipelineError {
    /// The body is not JSON.
    #[error("the body cannot be read: {0}")]
    Json(String),
    /// It is JSON, but no records.
    #[error("{0}")]
    Form(String),
    /// A tensor of a field is of another type.
    #[error("{0}")]
    Datatype(String),
    /// A tensor of a field has another shape.
    #[error("{0}")]
    Shape(String),
    /// A value of a field cannot be used.
    #[error(transparent)]
    Row(#[from] RowError),
    /// The engine gave what its signature does not have.
    #[error("{0}")]
    Output(String),
}

/// A value that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("row {row}: field \"{field}\" {problem}")]
pub struct RowError {
    /// The row of the request, from 0.
    pub row: usize,
    /// The field, or the column that was made of it.
    pub field: Arc<str>,
    /// What kind of problem it is.
    pub reason: Reason,
    /// What the problem is.
    pub problem: String,
}

/// The kinds of problems with values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// There is no value, and the field is not optional.
    Required,
    /// The value is of another type.
    Type,
    /// The number is outside its range.
    Range,
    /// The value is none of the categories.
    Category,
    /// The text does not match its pattern.
    Pattern,
    /// The text is too short or too long.
    Length,
    /// The pipeline has no field of this name.
    Unknown,
    /// The looked-up feature is too old.
    Stale,
    /// The feature store has something else than the pipeline expects.
    Unreadable,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Required,
        Self::Type,
        Self::Range,
        Self::Category,
        Self::Pattern,
        Self::Length,
        Self::Unknown,
        Self::Stale,
        Self::Unreadable,
    ];

    /// The reason in metrics and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Type => "type",
            Self::Range => "range",
            Self::Category => "category",
            Self::Pattern => "pattern",
            Self::Length => "length",
            Self::Unknown => "unknown",
            Self::Stale => "stale",
            Self::Unreadable => "unreadable",
        }
    }
}

/// Longest part of a client's value in a message, in characters.
const MAX_SHOWN: usize = 60;

/// A value as a message shows it: short, and without characters that a terminal obeys.
pub(crate) fn shown(value: &str) -> String {
    format!("\"{}\"", cut(value).replace('"', "\\\""))
}

/// As [`shown`], without quotes.
pub(crate) fn cut(value: &str) -> String {
    let mut cut = String::new();
    for (at, character) in value.chars().enumerate() {
        if at == MAX_SHOWN {
            cut.push('…');
            break;
        }
        if character.is_control() {
            cut.extend(character.escape_default());
        } else {
            cut.push(character);
        }
    }
    cut
}

/// Names, as a message lists them.
pub(crate) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const MAX_NAMES: usize = 20;
    let mut text = String::new();
    for (at, name) in names.enumerate() {
        if at == MAX_NAMES {
            text.push_str(", …");
            break;
        }
        let comma = if at == 0 { "" } else { ", " };
        text.push_str(&format!("{comma}\"{name}\""));
    }
    if text.is_empty() {
        text.push_str("none");
    }
    text
}
