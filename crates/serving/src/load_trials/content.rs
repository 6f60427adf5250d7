//! The name of a content: a digest of everything that a load of it depends on.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tidegate_core::Manifest;

use super::ledger::TrialLedger;
use crate::VersionPlan;

/// Further files of a folder are not looked at.
const MAX_FILES: usize = 1000;

/// The digest of a content, of how it is loaded, and of what loads it, in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ContentKey(String);

impl ContentKey {
    /// Reads a file whole only if it is not known by its size and times.
    pub(super) fn of(
        plan: &VersionPlan,
        environment: &str,
        ledger: &TrialLedger,
    ) -> io::Result<Self> {
        let mut hasher = Sha256::new();
        // The same content under another name is the same content.
        let manifest = serde_json::to_vec(&Manifest {
            name: String::new(),
            artifact: String::new(),
            ..plan.manifest.clone()
        })?;
        let triton = plan.triton.as_ref().map(prost::Message::encode_to_vec);
        let origin = format!("{environment} {}", plan.is_from_registry());
        add(&mut hasher, origin.as_bytes());
        add(&mut hasher, &manifest);
        add(&mut hasher, triton.as_deref().unwrap_or_default());
        match &plan.files {
            Some(files) => add(&mut hasher, files.version().digest.hex().as_bytes()),
            None => add_files(&mut hasher, &plan.artifact, ledger)?,
        }
        Ok(Self(hex(&hasher.finalize())))
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

/// The artifact by its content; files beside it, which can be its weights, by name, size and time.
fn add_files(hasher: &mut Sha256, artifact: &Path, ledger: &TrialLedger) -> io::Result<()> {
    add(hasher, artifact_digest(artifact, ledger)?.as_bytes());
    let folder = artifact
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| !tidegate_engines::is_artifact(path) && path.is_file())
        .take(MAX_FILES)
        .collect();
    files.sort();
    for file in files {
        if let Ok(metadata) = std::fs::metadata(&file) {
            let name = file.file_name().unwrap_or_default().as_encoded_bytes();
            add(hasher, name);
            add(hasher, &metadata.len().to_le_bytes());
            add(hasher, &metadata.mtime_nsec().to_le_bytes());
            add(hasher, &metadata.mtime().to_le_bytes());
        }
    }
    Ok(())
}

fn artifact_digest(artifact: &Path, ledger: &TrialLedger) -> io::Result<String> {
    let mark = file_mark(artifact, &std::fs::metadata(artifact)?);
    if let Some(digest) = ledger.digest_of(&mark) {
        return Ok(digest);
    }
    let mut hasher = Sha256::new();
    let mut file = File::open(artifact)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
    }
    let digest = hex(&hasher.finalize());
    ledger.record_digest(&mark, &digest);
    Ok(digest)
}

/// What changes when a file does.
fn file_mark(path: &Path, metadata: &Metadata) -> String {
    let mut hasher = Sha256::new();
    add(&mut hasher, path.as_os_str().as_encoded_bytes());
    let numbers = [
        metadata.dev(),
        metadata.ino(),
        metadata.len(),
        metadata.mtime() as u64,
        metadata.mtime_nsec() as u64,
        metadata.ctime() as u64,
        metadata.ctime_nsec() as u64,
    ];
    for number in numbers {
        add(&mut hasher, &number.to_le_bytes());
    }
    hex(&hasher.finalize())
}

/// Adds bytes with their number, so that no two lists of parts are the same.
fn add(hasher: &mut Sha256, bytes: &[u8]) {
    hasher.update((bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
