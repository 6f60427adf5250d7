//! What can go wrong with data sets.

use std::io;
use std::path::Path;

use tidegate_capture::CaptureError;
use tidegate_store::StoreError;

/// A data set that cannot be made, read or removed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum DatasetError {
    #[error("{0}")]
    NotFound(String),
    /// What is asked for cannot be meant.
    #[error("{0}")]
    Refused(String),
    #[error("another data set is being made in {0}: try again when it is done")]
    Busy(String),
    #[error("{0}")]
    Capture(#[from] CaptureError),
    #[error("{path}: {problem}")]
    File { path: String, problem: String },
    #[error("the database cannot be reached: {0}")]
    Store(#[from] StoreError),
}

impl DatasetError {
    pub(crate) fn file(path: &Path, problem: impl ToString) -> Self {
        Self::File {
            path: path.display().to_string(),
            problem: problem.to_string(),
        }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |error| Self::file(path, error)
    }
}
