//! Why a job cannot begin, or has stopped.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why a job cannot begin, or has stopped. What it has finished stays.
#[derive(Debug, Error)]
pub enum BatchError {
    /// What the job is asked for cannot be done.
    #[error("{0}")]
    Request(String),
    /// An input file cannot be used. The place within it, such as a row group, is in the problem.
    #[error("{}: {problem}", path.display())]
    Input {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        problem: String,
    },
    /// The output cannot be written, or is not what this job began.
    #[error("{}: {problem}", path.display())]
    Output {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The version failed, and not because of the values of a row.
    #[error("{place}: the version cannot be run: {problem}")]
    Version {
        /// The file and the rows.
        place: String,
        /// What the version said.
        problem: String,
    },
    /// More rows than allowed cannot be scored.
    #[error("{bad} rows cannot be scored, at most {max} may be (--max-errors); the first: {first}")]
    TooManyBadRows {
        /// The rows so far.
        bad: u64,
        /// The most that may be.
        max: u64,
        /// The first of them, with its reason.
        first: String,
    },
    /// Somebody asked it to stop.
    #[error("the job was stopped; what was finished stays, and a resume goes on from there")]
    Stopped,
}

impl BatchError {
    pub(crate) fn input(path: &Path, problem: impl Into<String>) -> Self {
        Self::Input {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }

    pub(crate) fn output(path: &Path, problem: impl Into<String>) -> Self {
        Self::Output {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }

    /// What reading a file says, as an error of this crate.
    pub(crate) fn reading(path: &Path) -> impl Fn(io::Error) -> Self + Copy {
        |error| Self::unreadable(path, &error)
    }

    /// What writing a file says, as an error of this crate.
    pub(crate) fn writing(path: &Path) -> impl Fn(io::Error) -> Self + Copy {
        |error| Self::unwritable(path, &error)
    }

    pub(crate) fn unreadable(path: &Path, error: &io::Error) -> Self {
        Self::input(path, format!("cannot be read: {error}"))
    }

    pub(crate) fn unwritable(path: &Path, error: &io::Error) -> Self {
        Self::output(path, format!("cannot be written: {error}"))
    }
}

/// What most functions here return.
pub type Result<T> = std::result::Result<T, BatchError>;
