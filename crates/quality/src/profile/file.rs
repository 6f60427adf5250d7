//! Baselines in files.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Baseline;

/// The form of baseline files that this version reads and writes.
const FORMAT: u32 = 1;
/// Baselines of a thousand columns take some 10 MB.
const MAX_BYTES: usize = 256 << 20;

/// A baseline in its file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BaselineFile {
    /// Of this form of the file.
    format: u32,
    baseline: Baseline,
}

/// Why a file is not a baseline.
#[derive(Debug, Error)]
pub enum BaselineFileError {
    /// It is too large.
    #[error("it has {0} bytes, and a baseline at most {MAX_BYTES}")]
    TooLarge(usize),
    /// It is not what `tidegate baseline` writes.
    #[error("`tidegate baseline` does not write such a file: {0}")]
    Content(String),
    /// It is of an earlier or later form.
    #[error("it has the format {0}, and this version reads {FORMAT}")]
    Format(u32),
}

impl Baseline {
    /// The largest file of a baseline, in bytes.
    pub const MAX_FILE_BYTES: usize = MAX_BYTES;

    /// Reads the content of a baseline file.
    ///
    /// # Errors
    /// [`BaselineFileError`] if it is not one.
    pub fn from_file(content: &[u8]) -> Result<Self, BaselineFileError> {
        if content.len() > MAX_BYTES {
            return Err(BaselineFileError::TooLarge(content.len()));
        }
        let file: BaselineFile = serde_json::from_slice(content)
            .map_err(|error| BaselineFileError::Content(error.to_string()))?;
        match file.format {
            FORMAT => Ok(file.baseline),
            format => Err(BaselineFileError::Format(format)),
        }
    }

    /// The content of a baseline file.
    ///
    /// # Errors
    /// If it has numbers that JSON does not have.
    pub fn to_file(&self) -> Result<Vec<u8>, serde_json::Error> {
        #[derive(Serialize)]
        struct Borrowed<'a> {
            format: u32,
            baseline: &'a Baseline,
        }
        serde_json::to_vec(&Borrowed {
            format: FORMAT,
            baseline: self,
        })
    }
}
