//! What alerting must not forget, in files of the data folder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tidegate_observe::alerting::{DeployWindows, Dispatch, Outbox, RuleStates, Silences};
use tracing::{error, warn};

use super::versions::Known;
use crate::objectives::replace;

/// What `alerts.json` has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Kept {
    pub(super) dispatch: Dispatch,
    pub(super) outbox: Outbox,
    pub(super) silences: Silences,
    pub(super) deploys: DeployWindows,
    pub(super) known: Known,
    pub(super) rules: RuleStates,
    /// The fingerprints of the alerts that fire.
    pub(super) firing: BTreeSet<String>,
}

/// A file that is replaced whenever its content changes.
pub(super) struct KeptFile {
    path: PathBuf,
    written: tokio::sync::Mutex<Option<Vec<u8>>>,
}

impl KeptFile {
    /// The file, and what it has; nothing, if it is not there or cannot be read.
    pub(super) fn open<T: DeserializeOwned + Default>(path: PathBuf) -> (Self, T) {
        let content = read(&path);
        (Self { path, written: tokio::sync::Mutex::new(None) }, content)
    }

    /// Writes what `bytes` gives, unless that is written already. Writers take turns, so that the last state stays.
    pub(super) async fn write(&self, bytes: impl FnOnce() -> serde_json::Result<Vec<u8>>) {
        let mut written = self.written.lock().await;
        let bytes = match bytes() {
            Ok(bytes) => bytes,
            Err(problem) => return error!(%problem, "the state of alerts cannot be written"),
        };
        if written.as_ref() == Some(&bytes) {
            return;
        }
        let path = self.path.clone();
        let outcome = tokio::task::spawn_blocking(move || replace(&path, &bytes).map(|()| bytes)).await;
        match outcome {
            Ok(Ok(bytes)) => *written = Some(bytes),
            Ok(Err(problem)) => error!(file = %self.path.display(), %problem, "the state of alerts could not be kept"),
            Err(problem) => error!(file = %self.path.display(), %problem, "the state of alerts could not be kept"),
        }
    }
}

fn read<T: DeserializeOwned + Default>(path: &Path) -> T {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(problem) if problem.kind() == std::io::ErrorKind::NotFound => return T::default(),
        Err(problem) => {
            warn!(file = %path.display(), %problem, "the state of alerts cannot be read: it begins anew");
            return T::default();
        }
    };
    serde_json::from_slice(&bytes).unwrap_or_else(|problem| {
        warn!(file = %path.display(), %problem, "the state of alerts cannot be understood: it begins anew");
        T::default()
    })
}
