//! State that survives restarts, in files of the data folder.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use tidegate_serving::{ErrorCode, InferError};
use tracing::{error, warn};

/// A file that is replaced whenever the state in it changes.
pub(crate) struct StateFile {
    path: PathBuf,
    /// The bytes that the file has, once this process has written it.
    written: tokio::sync::Mutex<Option<Vec<u8>>>,
    /// Why the last write failed, if it did.
    problem: parking_lot::Mutex<Option<String>>,
}

impl StateFile {
    /// The file and its state; the default state if the file is missing or cannot be read.
    pub(crate) fn open<T: DeserializeOwned + Default>(path: PathBuf) -> (Self, T) {
        let state = read(&path);
        let written = tokio::sync::Mutex::new(None);
        let problem = parking_lot::Mutex::default();
        let file = Self {
            path,
            written,
            problem,
        };
        (file, state)
    }

    /// Writes what `serialize` returns, unless the file has these bytes already.
    pub(crate) async fn write(&self, serialize: impl FnOnce() -> serde_json::Result<Vec<u8>>) {
        // The lock is held while the file is written, and the state is read under it: of two
        // writers, the second writes the newer state, and it stays.
        let mut written = self.written.lock().await;
        let file = self.path.display();
        let bytes = match serialize() {
            Ok(bytes) => bytes,
            Err(problem) => return error!(%file, %problem, "cannot serialize the state"),
        };
        // Most steps change nothing, and each write waits for the disk.
        if written.as_ref() == Some(&bytes) {
            return;
        }
        let path = self.path.clone();
        let writing = tokio::task::spawn_blocking(move || replace(&path, &bytes).map(|()| bytes));
        let outcome = match writing.await {
            Ok(outcome) => outcome.map_err(|problem| problem.to_string()),
            Err(panic) => Err(panic.to_string()),
        };
        match outcome {
            Ok(bytes) => {
                *written = Some(bytes);
                *self.problem.lock() = None;
            }
            Err(problem) => {
                error!(%file, problem, "cannot write the state file");
                *self.problem.lock() = Some(problem);
            }
        }
    }

    /// Fails if the last write did: whoever asked for the change is told that a restart loses it.
    ///
    /// # Errors
    /// [`ErrorCode::NotSaved`].
    pub(crate) fn check(&self) -> Result<(), InferError> {
        let Some(problem) = self.problem.lock().clone() else {
            return Ok(());
        };
        let file = self.path.display();
        let message =
            format!("a restart will lose the change: {file} cannot be written: {problem}");
        Err(InferError::new(ErrorCode::NotSaved, message))
    }
}

fn read<T: DeserializeOwned + Default>(path: &Path) -> T {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(problem) if problem.kind() == std::io::ErrorKind::NotFound => return T::default(),
        Err(problem) => {
            warn!(file = %path.display(), %problem, "cannot read the state file; starting empty");
            return T::default();
        }
    };
    // The server starts all the same: requests need answers more than the state needs its past.
    serde_json::from_slice(&bytes).unwrap_or_else(|problem| {
        warn!(file = %path.display(), %problem, "cannot parse the state file; starting empty");
        T::default()
    })
}

/// Replaces a file, whole or not at all.
fn replace(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    // In the same folder, since a rename is atomic only within a file system.
    let part = file.with_extension("part");
    let mut written = std::fs::File::create(&part)?;
    written.write_all(bytes)?;
    // Without it, a power cut after the rename could leave an empty file.
    written.sync_all()?;
    std::fs::rename(&part, file)
}
