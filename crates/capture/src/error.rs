//! What can go wrong with captured predictions.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A capture that cannot be written or read.
#[derive(Debug, Error)]
pub enum CaptureError {
    /// The system does not let it.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A file is not what it should be, or rows do not fit together.
    #[error("{}: {problem}", path.display())]
    Content {
        /// The file, or the partition.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

impl CaptureError {
    pub(crate) fn io(path: &Path, error: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            error,
        }
    }

    pub(crate) fn content(path: &Path, problem: impl ToString) -> Self {
        Self::Content {
            path: path.to_owned(),
            problem: problem.to_string(),
        }
    }
}
