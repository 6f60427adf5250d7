//! Keeping the cache within its limit.

use std::path::Path;
use std::time::{Duration, SystemTime};

use tracing::info;

use super::{Cache, Entry, FILES};
use crate::{Digest, Error, ErrorCode, Result};

/// Older work in progress was interrupted.
const MAX_WORK_AGE: Duration = Duration::from_secs(24 * 3600);

/// A version in the cache, for the choice of those to remove.
struct Candidate {
    digest: Digest,
    bytes: u64,
    used: SystemTime,
}

impl Cache {
    /// Removes the least recently used versions until a new one fits. Versions in use stay.
    pub(super) fn evict_for(&self, entry: &Entry) -> Result<()> {
        let wanted: u64 = entry
            .files
            .iter()
            .map(|file| u64::try_from(file.bytes).unwrap_or(0))
            .sum();
        let mut there = self.candidates()?;
        // The version itself is replaced, if it is there and wrong: it must not be counted twice.
        there.retain(|candidate| candidate.digest != entry.version.digest);
        let mut total: u64 = there.iter().map(|candidate| candidate.bytes).sum();
        there.sort_by_key(|candidate| candidate.used);
        for candidate in there {
            if total + wanted <= self.max_bytes {
                break;
            }
            if self.evict(&candidate.digest)? {
                total -= candidate.bytes;
                info!(digest = %candidate.digest, bytes = candidate.bytes, "evicted from the local cache");
            }
        }
        if total + wanted <= self.max_bytes {
            return Ok(());
        }
        let problem = format!(
            "{} has {wanted} bytes; the cache is limited to {} bytes, and {total} of them are in use",
            entry.version.name(),
            self.max_bytes
        );
        Err(Error::new(ErrorCode::CacheTooSmall, problem))
    }

    /// Removes unfinished work of processes that no longer exist.
    pub(super) fn sweep(&self) {
        let Ok(entries) = std::fs::read_dir(self.folder.join("tmp")) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some((digest, _)) = name
                .split_once('-')
                .filter(|(digest, _)| digest.len() == 64)
            else {
                let modified = entry.metadata().and_then(|metadata| metadata.modified());
                let age = modified.ok().and_then(|modified| modified.elapsed().ok());
                // Other work has no lock. Only its age tells that its process is gone.
                if age.is_some_and(|age| age > MAX_WORK_AGE) {
                    let path = entry.path();
                    // Another process may remove it at the same moment, so that errors mean
                    // nothing.
                    let _ = if path.is_dir() {
                        std::fs::remove_dir_all(path)
                    } else {
                        std::fs::remove_file(path)
                    };
                }
                continue;
            };
            // A process that died holds no lock any more, so this folder has no owner if its lock
            // is free.
            let Ok((lock, _)) = self.lock_file(&format!("{digest}.fill")) else {
                continue;
            };
            if lock.try_lock().is_ok() {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }

    /// Removes one version unless it is used or filled; says whether it did.
    fn evict(&self, digest: &Digest) -> Result<bool> {
        let (used, _) = self.lock_file(&digest.hex())?;
        let (filling, _) = self.lock_file(&format!("{}.fill", digest.hex()))?;
        // Tried and not waited for: a version in use may stay in use for days.
        if filling.try_lock().is_err() || used.try_lock().is_err() {
            return Ok(false);
        }
        let place = self.version_folder(digest);
        let aside = self.work_folder()?;
        // Renamed first: it is gone as a whole, whatever happens while its files are removed.
        match std::fs::rename(&place, aside.path().join("evicted")) {
            // Another process was faster.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
            moved => moved
                .map(|()| true)
                .map_err(|error| Error::file(&place, &error)),
        }
    }

    fn candidates(&self) -> Result<Vec<Candidate>> {
        let folder = self.folder.join("versions");
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&folder)
            .map_err(|error| Error::file(&folder, &error))?
            .flatten()
        {
            let Some(digest) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<Digest>().ok())
            else {
                continue;
            };
            let lock = self.folder.join("locks").join(digest.hex());
            let used = std::fs::metadata(lock).and_then(|metadata| metadata.modified());
            found.push(Candidate {
                digest,
                bytes: bytes_under(&entry.path().join(FILES)),
                // Without a lock file, nobody on this machine has used it: it goes first.
                used: used.unwrap_or(SystemTime::UNIX_EPOCH),
            });
        }
        Ok(found)
    }
}

fn bytes_under(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let sizes = entries.flatten().map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => bytes_under(&entry.path()),
        Ok(_) => entry.metadata().map_or(0, |metadata| metadata.len()),
        Err(_) => 0,
    });
    sizes.sum()
}
