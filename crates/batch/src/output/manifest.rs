//! What the output folder says of the job and its units.

use serde::{Deserialize, Serialize};

use crate::input::{FileIdentity, UnitRange};

/// The form of these files.
pub(crate) const SCHEMA: u32 = 1;

/// A file that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputFile {
    /// Relative to the output folder, with `/` between folders.
    pub path: String,
    /// How many rows it has.
    pub rows: u64,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of its content.
    pub sha256: String,
}

/// A unit that is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitRecord {
    /// SHA-256 of everything that its output depends on.
    pub key: String,
    /// The input file, by its place in the list of inputs.
    pub input: usize,
    /// Its rows.
    pub range: UnitRange,
    /// The predictions; `None` if no row has any.
    pub scores: Option<OutputFile>,
    /// The rows without predictions; `None` if there are none.
    pub quarantine: Option<OutputFile>,
}

impl UnitRecord {
    /// Rows with predictions.
    pub fn scored_rows(&self) -> u64 {
        self.scores.as_ref().map_or(0, |file| file.rows)
    }

    /// Rows without.
    pub fn quarantined_rows(&self) -> u64 {
        self.quarantine.as_ref().map_or(0, |file| file.rows)
    }

    /// Whether every row is either in one file or in the other.
    pub(crate) fn is_balanced(&self) -> bool {
        self.range.rows == self.scored_rows() + self.quarantined_rows()
    }
}

/// An input file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputRecord {
    /// Where it was.
    pub path: String,
    /// What it was.
    pub identity: FileIdentity,
    /// How many rows it has.
    pub rows: u64,
}

/// A finished job: which files are its output, and what they were made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The form of this file: 1.
    pub schema: u32,
    /// The version, such as `fraud:7`.
    pub version: String,
    /// The digest of its content.
    pub digest: String,
    /// Rows of all inputs.
    pub rows: u64,
    /// Rows with predictions.
    pub scored_rows: u64,
    /// Rows without.
    pub quarantined_rows: u64,
    /// In the order of their paths.
    pub inputs: Vec<InputRecord>,
    /// In their order.
    pub units: Vec<UnitRecord>,
}
