//! What must not be forgotten over restarts, in files of the data folder.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use tracing::{error, warn};

/// A file that is replaced whenever its content changes.
pub(crate) struct KeptFile {
    path: PathBuf,
    written: tokio::sync::Mutex<Option<Vec<u8>>>,
}

impl KeptFile {
    /// The file, and what it has; nothing, if it is not there or cannot be read.
    pub(crate) fn open<T: DeserializeOwned + Default>(path: PathBuf) -> (Self, T) {
        let content = read(&path);
        (
            Self {
                path,
                written: tokio::sync::Mutex::new(None),
            },
            content,
        )
    }

    /// Writes what `bytes` gives, unless that is written already. Writers take turns, so that the
    /// last state stays.
    pub(crate) async fn write(&self, bytes: impl FnOnce() -> serde_json::Result<Vec<u8>>) {
        let mut written = self.written.lock().await;
        let file = self.path.display();
        let bytes = match bytes() {
            Ok(bytes) => bytes,
            Err(problem) => return error!(%file, %problem, "what is to be kept cannot be written"),
        };
        if written.as_ref() == Some(&bytes) {
            return;
        }
        let path = self.path.clone();
        match tokio::task::spawn_blocking(move || replace(&path, &bytes).map(|()| bytes)).await {
            Ok(Ok(bytes)) => *written = Some(bytes),
            Ok(Err(problem)) => error!(%file, %problem, "what is to be kept could not be kept"),
            Err(problem) => error!(%file, %problem, "what is to be kept could not be kept"),
        }
    }
}

fn read<T: DeserializeOwned + Default>(path: &Path) -> T {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(problem) if problem.kind() == std::io::ErrorKind::NotFound => return T::default(),
        Err(problem) => {
            warn!(file = %path.display(), %problem, "what was kept cannot be read: it begins anew");
            return T::default();
        }
    };
    serde_json::from_slice(&bytes).unwrap_or_else(|problem| {
        warn!(file = %path.display(), %problem, "what was kept cannot be understood: it begins anew");
        T::default()
    })
}

/// Replaces a file, whole or not at all.
fn replace(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let part = file.with_extension("part");
    let mut written = std::fs::File::create(&part)?;
    written.write_all(bytes)?;
    written.sync_all()?;
    std::fs::rename(&part, file)
}
