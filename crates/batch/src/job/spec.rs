//! What a job is asked for.

use serde::{Deserialize, Serialize};

use crate::input::Format;
use crate::output::SCHEMA;

/// What a job is asked for. It is written down before the first row is read, and a job goes on only if
/// it is asked for the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobSpec {
    /// The form of this file: 1.
    pub schema: u32,
    /// How the version was named: `fraud@champion`, or the path of a model.
    pub reference: String,
    /// The version that this was, such as `fraud:7`.
    pub version: String,
    /// The digest of its content.
    pub digest: String,
    /// Paths, folders and patterns.
    pub inputs: Vec<String>,
    /// The format of all files; `None` where the ends of their names tell.
    pub format: Option<Format>,
    /// The columns that are written beside the predictions.
    pub keep: Keep,
    /// The columns of the only input, where nothing else names them.
    pub columns: Vec<String>,
    /// The least rows of a unit of work, but for the last of a file.
    pub unit_rows: u64,
}

impl JobSpec {
    /// The least rows of a unit of work, unless a job asks for others: seconds of work, so that little
    /// is done twice after a crash, and files that are worth opening.
    pub const UNIT_ROWS: u64 = 256 << 10;

    /// A job without options.
    pub fn new(reference: String, inputs: Vec<String>) -> Self {
        Self {
            schema: SCHEMA,
            reference,
            version: String::new(),
            digest: String::new(),
            inputs,
            format: None,
            keep: Keep::Columns(Vec::new()),
            columns: Vec::new(),
            unit_rows: Self::UNIT_ROWS,
        }
    }

    /// What differs between two jobs, if anything does.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        let (ours, theirs) = (self.shown(), other.shown());
        let mut pairs = ours.into_iter().zip(theirs);
        let (ours, theirs) = pairs.find(|(ours, theirs)| ours.1 != theirs.1)?;
        Some(format!(
            "{} was {}, and is {} now",
            ours.0, ours.1, theirs.1
        ))
    }

    /// Everything that the output depends on, with the option that it is of.
    fn shown(&self) -> [(&'static str, String); 7] {
        [
            ("the version", format!("{} ({})", self.version, self.digest)),
            ("--input", self.inputs.join(" ")),
            ("--format", format!("{:?}", self.format)),
            ("--keep", format!("{:?}", self.keep)),
            ("--columns", self.columns.join(",")),
            ("--unit-rows", self.unit_rows.to_string()),
            ("the form of its files", self.schema.to_string()),
        ]
    }
}

/// The columns of the input that are written beside the predictions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// All of them.
    All,
    /// These.
    Columns(Vec<String>),
}
