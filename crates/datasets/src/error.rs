//! What can go wrong with data sets.

use std::io::{self, ErrorKind};
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
    /// There is no room for it.
    #[error(
        "the data sets of {place} would take more than datasets.max_disk_bytes, which is {max_bytes}, \
             and take {used_bytes} bytes already: delete some, or raise the limit"
    )]
    Full {
        place: String,
        used_bytes: u64,
        max_bytes: u64,
    },
    /// What it is made of has changed meanwhile.
    #[error("{0}: nothing was made, try again")]
    Changed(String),
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

    /// Of a captured file, which an erasure or its age may have removed meanwhile.
    pub(crate) fn captured(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |error| match error.kind() {
            ErrorKind::NotFound => {
                Self::Changed(format!("the captured file {} was removed", path.display()))
            }
            _ => Self::file(path, error),
        }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |error| Self::file(path, error)
    }
}
