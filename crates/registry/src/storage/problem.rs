//! Errors of object stores, in our words.

use object_store::Error as StorageError;

use super::Storage;
use crate::{Error, ErrorCode};

impl Storage {
    /// Distinguishes a missing bucket from a missing object, and a refused key from an unreachable
    /// server.
    pub(super) fn problem(&self, doing: &str, location: &str, error: StorageError) -> Error {
        let text = chain(&error);
        let (code, problem) = match &error {
            _ if text.contains("NoSuchBucket")
                || self.folder.as_ref().is_some_and(|folder| !folder.exists()) =>
            {
                (ErrorCode::StorageMissing, "it does not exist".to_owned())
            }
            // Writing needs no object to be there, so that only the bucket can be missing.
            StorageError::NotFound { .. } if doing == "write" => {
                (ErrorCode::StorageMissing, "it does not exist".to_owned())
            }
            StorageError::NotFound { .. } => {
                return Error::new(
                    ErrorCode::ObjectMissing,
                    format!("{location} is not in {}", self.shown),
                );
            }
            StorageError::PermissionDenied { .. } | StorageError::Unauthenticated { .. } => {
                (ErrorCode::StorageDenied, text)
            }
            // Some stores and file systems say so in the text only, and not by the kind of the
            // error.
            _ if text.contains("AccessDenied") || text.contains("Permission denied") => {
                (ErrorCode::StorageDenied, text)
            }
            _ => (ErrorCode::StorageUnavailable, text),
        };
        Error::new(
            code,
            format!("cannot {doing} {location} in {}: {problem}", self.shown),
        )
    }

    /// A problem of the folder itself.
    pub(super) fn folder_problem(&self, error: &std::io::Error) -> Error {
        let code = match error.kind() {
            std::io::ErrorKind::NotFound => ErrorCode::StorageMissing,
            std::io::ErrorKind::PermissionDenied => ErrorCode::StorageDenied,
            _ => ErrorCode::StorageUnavailable,
        };
        Error::new(code, format!("cannot use {}: {error}", self.shown))
    }

    /// A problem of one file in the folder.
    pub(super) fn file_problem(&self, location: &str, error: &std::io::Error) -> Error {
        Error::new(
            ErrorCode::StorageUnavailable,
            format!("cannot clear {location} in {}: {error}", self.shown),
        )
    }
}

/// An error with its causes, each once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    text
}
