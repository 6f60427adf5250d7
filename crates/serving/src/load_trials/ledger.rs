//! What is known of contents, in small files: one for each content, named by its digest.
//!
//! ```text
//! loads/digests/MARK    the digest of a file that has these times and this size
//! loads/passed/KEY      a child could load it
//! loads/failed/KEY      a child ended without an answer: how
//! loads/loading/KEY     it is being loaded, or its load ended a server: how often
//! ```
//!
//! A file that cannot be written only costs a trial at the next start. Servers can share the folder:
//! while a content loads, its marker is locked, and the system unlocks it however a process ends.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tracing::warn;

use super::content::ContentKey;
use super::turns::LoadTurn;

/// Of more files of a kind the oldest are removed.
const MAX_FILES: usize = 4096;
/// A failure counts for so long: the machine may have been short of something.
const FAILURE_COUNTS: Duration = Duration::from_secs(3600);

const DIGESTS: &str = "digests";
const PASSED: &str = "passed";
const FAILED: &str = "failed";
const LOADING: &str = "loading";

/// What came of trying a content.
type Verdict = Result<(), String>;

pub(super) struct TrialLedger {
    folder: Option<PathBuf>,
    /// What this process found, also where nothing can be written.
    verdicts: Mutex<HashMap<ContentKey, Verdict>>,
    running: Arc<Mutex<HashSet<PathBuf>>>,
}

/// Says in a file that a content is being loaded, until it is dropped.
pub struct LoadMarker {
    /// The file, locked, and its path.
    file: Option<(File, PathBuf)>,
    running: Arc<Mutex<HashSet<PathBuf>>>,
    _turn: Option<LoadTurn>,
}

impl TrialLedger {
    pub(super) fn new(folder: Option<PathBuf>) -> Self {
        if let Some(folder) = &folder
            && let Err(error) = prepare(folder)
        {
            let folder = folder.display();
            warn!(%folder, %error, "cannot save the results of load trials");
        }
        Self {
            folder,
            verdicts: Mutex::default(),
            running: Arc::default(),
        }
    }

    fn path(&self, kind: &str, name: &str) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(kind).join(name))
    }

    fn read(&self, kind: &str, name: &str) -> Option<String> {
        std::fs::read_to_string(self.path(kind, name)?).ok()
    }

    fn write(&self, kind: &str, name: &str, text: &str) {
        if let Some(path) = self.path(kind, name) {
            // A verdict that is lost costs another trial, nothing else.
            let _ = std::fs::write(path, text);
        }
    }

    fn remove(&self, kind: &str, name: &str) {
        if let Some(path) = self.path(kind, name) {
            let _ = std::fs::remove_file(path);
        }
    }

    pub(super) fn digest_of(&self, mark: &str) -> Option<String> {
        // A file that was cut off while it was written is no digest.
        self.read(DIGESTS, mark).filter(|digest| digest.len() == 64)
    }

    pub(super) fn record_digest(&self, mark: &str, digest: &str) {
        self.write(DIGESTS, mark, digest);
    }

    pub(super) fn verdict(&self, key: &ContentKey) -> Option<Verdict> {
        if let Some(verdict) = self.verdicts.lock().get(key) {
            return Some(verdict.clone());
        }
        if self.read(PASSED, key.text()).is_some() {
            return Some(Ok(()));
        }
        let written = std::fs::metadata(self.path(FAILED, key.text())?);
        let age = SystemTime::now().duration_since(written.ok()?.modified().ok()?);
        if age.is_ok_and(|age| age > FAILURE_COUNTS) {
            return None;
        }
        self.read(FAILED, key.text()).map(Err)
    }

    pub(super) fn record(&self, key: &ContentKey, verdict: Result<(), &str>) {
        match verdict {
            Ok(()) => {
                self.remove(FAILED, key.text());
                self.write(PASSED, key.text(), "");
            }
            Err(reason) => {
                self.remove(PASSED, key.text());
                self.write(FAILED, key.text(), reason);
            }
        }
        let verdict = verdict.map_err(str::to_owned);
        self.verdicts.lock().insert(key.clone(), verdict);
    }

    /// How many loads of a content ended their process. A load that goes on is none.
    pub(super) fn crashes(&self, key: &ContentKey) -> u32 {
        let marker = self.path(LOADING, key.text()).map(File::open);
        let Some(Ok(marker)) = marker else { return 0 };
        // Its process lives, so that the load is still running.
        if marker.try_lock_shared().is_err() {
            return 0;
        }
        let text = io::read_to_string(marker).unwrap_or_default();
        // A marker that was cut off while it was written is one, too.
        text.trim().parse().unwrap_or(1)
    }

    /// The name of the file that counts a content's crashes.
    pub(super) fn marker_name(&self, key: &ContentKey) -> String {
        let path = self.path(LOADING, key.text());
        path.map(|path| path.display().to_string())
            .unwrap_or_default()
    }

    /// Says that a content is being loaded. Should the process end meanwhile, that is one more crash.
    pub(super) fn mark(&self, key: &ContentKey, crashes: u32, turn: LoadTurn) -> LoadMarker {
        let path = self.path(LOADING, key.text());
        let file = path.and_then(|path| Some((locked(&path, crashes + 1)?, path)));
        if let Some((_, path)) = &file {
            self.running.lock().insert(path.clone());
        }
        LoadMarker {
            file,
            running: self.running.clone(),
            _turn: Some(turn),
        }
    }

    pub(super) fn forget_running_loads(&self) {
        for file in self.running.lock().drain() {
            let _ = std::fs::remove_file(file);
        }
    }
}

impl LoadMarker {
    /// The marker of what has no digest.
    pub(super) fn none() -> Self {
        Self {
            file: None,
            running: Arc::default(),
            _turn: None,
        }
    }
}

impl Drop for LoadMarker {
    fn drop(&mut self) {
        if let Some((_, path)) = &self.file {
            let _ = std::fs::remove_file(path);
            self.running.lock().remove(path);
        }
    }
}

/// A marker with its count, locked by this process; `None` if another one has it.
fn locked(path: &Path, crashes: u32) -> Option<File> {
    let options = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path);
    let mut file = options.ok()?;
    file.try_lock().ok()?;
    file.set_len(0).ok()?;
    write!(file, "{crashes}").ok()?;
    Some(file)
}

fn prepare(folder: &Path) -> io::Result<()> {
    for kind in [DIGESTS, PASSED, FAILED, LOADING] {
        let folder = folder.join(kind);
        std::fs::create_dir_all(&folder)?;
        remove_oldest(&folder)?;
    }
    Ok(())
}

fn remove_oldest(folder: &Path) -> io::Result<()> {
    let mut files: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        files.push((entry.metadata()?.modified()?, entry.path()));
    }
    if files.len() > MAX_FILES {
        files.sort();
        for (_, file) in &files[..files.len() - MAX_FILES / 2] {
            std::fs::remove_file(file)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::turns::LoadTurns;
    use super::*;
    use crate::VersionPlan;
    use tidegate_core::Manifest;

    fn key(folder: &Path, content: &str, ledger: &TrialLedger) -> ContentKey {
        let artifact = folder.join("model.onnx");
        std::fs::write(&artifact, content).unwrap();
        let plan = VersionPlan::new(Manifest::default(), artifact);
        ContentKey::of(&plan, "test", ledger).unwrap()
    }

    #[test]
    fn what_was_found_out_of_a_content_outlives_the_process_and_not_the_content() {
        let (folder, models) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let ledger = TrialLedger::new(Some(folder.path().to_owned()));
        let bad = key(models.path(), "bad", &ledger);
        ledger.record(&bad, Err("it aborts"));
        let restarted = TrialLedger::new(Some(folder.path().to_owned()));
        assert_eq!(restarted.verdict(&bad), Some(Err("it aborts".to_owned())));
        let good = key(models.path(), "good, and longer", &restarted);
        assert_eq!(restarted.verdict(&good), None);
        restarted.record(&good, Ok(()));
        assert_eq!(ledger.verdict(&good), Some(Ok(())));
    }

    #[test]
    fn a_load_that_ends_counts_as_no_crash_and_one_that_is_cut_off_does() {
        let (folder, models) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let ledger = TrialLedger::new(Some(folder.path().to_owned()));
        let content = key(models.path(), "content", &ledger);
        let turns = Arc::new(LoadTurns::default());
        let marker = ledger.mark(&content, 0, turns.wait(false));
        assert_eq!(ledger.crashes(&content), 0, "it goes on");
        drop(marker);
        assert_eq!(ledger.crashes(&content), 0, "it has ended");
        // As a process leaves it that ended meanwhile: nobody has the lock.
        std::fs::write(ledger.path(LOADING, content.text()).unwrap(), "1").unwrap();
        assert_eq!(ledger.crashes(&content), 1);
        let again = ledger.mark(&content, 1, turns.wait(true));
        let name = ledger.path(LOADING, content.text()).unwrap();
        assert_eq!(std::fs::read_to_string(name).unwrap(), "2");
        ledger.forget_running_loads();
        drop(again);
        assert_eq!(ledger.crashes(&content), 0, "the process ended in order");
    }
}
