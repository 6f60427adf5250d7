//! Filling the cache: in a folder of its own, which is renamed into place when every file is right.

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::{Cache, CachedVersion, ENTRY, Entry, FILES, Mark, StoredEntry};
use crate::bundle::{BundleLimits, check_path};
use crate::push::blocking;
use crate::{Error, ErrorCode, Result};

/// The state of a version in the cache.
pub(crate) enum Begun {
    /// The version is there.
    There(CachedVersion),
    /// The caller fills it, and holds the lock for that.
    Fill(Filling),
}

/// A version on its way into the cache.
pub(crate) struct Filling {
    cache: Cache,
    entry: Entry,
    folder: tempfile::TempDir,
    marks: BTreeMap<String, Mark>,
    /// The lock of those who use the version.
    used: File,
    /// The lock of the process that fills it.
    _filling: File,
}

impl Cache {
    /// Looks for a version; nothing is filled.
    pub(crate) async fn find(&self, entry: &Entry) -> Result<Option<CachedVersion>> {
        let (cache, entry) = (self.clone(), entry.clone());
        blocking(move || {
            let lock = cache.lock_shared(&entry.version.digest)?;
            cache.verified(&entry, lock)
        })
        .await
    }

    /// Looks for a version; where it is not, waits for others who fill it and then lets the caller
    /// do so.
    pub(crate) async fn begin(&self, entry: &Entry) -> Result<Begun> {
        let (cache, entry) = (self.clone(), entry.clone());
        blocking(move || {
            let digest = entry.version.digest;
            let used = cache.lock_shared(&digest)?;
            // `verified` takes the lock, and drops it where the version is not there: a clone still
            // has it.
            let again = used
                .try_clone()
                .map_err(|error| Error::file(&cache.folder, &error))?;
            if let Some(there) = cache.verified(&entry, used)? {
                return Ok(Begun::There(there));
            }
            let (filling, path) = cache.lock_file(&format!("{}.fill", digest.hex()))?;
            filling.lock().map_err(|error| Error::file(&path, &error))?;
            let used = again
                .try_clone()
                .map_err(|error| Error::file(&cache.folder, &error))?;
            // Checked again under the lock: another process may have filled it while this one
            // waited.
            if let Some(there) = cache.verified(&entry, again)? {
                return Ok(Begun::There(there));
            }
            cache.evict_for(&entry)?;
            // The digest in the name tells a later sweep whose lock to try before it removes the
            // folder.
            let folder = tempfile::Builder::new()
                .prefix(&format!("{}-", digest.hex()))
                .tempdir_in(cache.folder.join("tmp"))
                .map_err(|error| Error::file(&cache.folder, &error))?;
            Ok(Begun::Fill(Filling {
                cache,
                entry,
                folder,
                marks: BTreeMap::new(),
                used,
                _filling: filling,
            }))
        })
        .await
    }
}

impl Filling {
    /// Makes a file of the version.
    pub(crate) fn create(&mut self, path: &str) -> Result<File> {
        // The database is not trusted with paths either.
        check_path(path, &BundleLimits::default())?;
        let path = self.place(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|error| Error::file(parent, &error))?;
        }
        File::create_new(&path).map_err(|error| Error::file(&path, &error))
    }

    /// Keeps a file that was written and verified.
    pub(crate) async fn keep(&mut self, path: &str, file: File) -> Result<()> {
        let place = self.place(path);
        let mark = blocking(move || {
            // On the disk before the folder is renamed into place: after a power cut, the cache has
            // the whole file or no entry.
            file.sync_all()
                .map_err(|error| Error::file(&place, &error))?;
            // Read-only, so that nothing writes to a verified file by mistake.
            file.set_permissions(Permissions::from_mode(0o444))
                .map_err(|error| Error::file(&place, &error))?;
            Mark::of(&place).ok_or_else(|| {
                Error::new(
                    ErrorCode::FileUnusable,
                    format!("{} is gone", place.display()),
                )
            })
        })
        .await?;
        self.marks.insert(path.to_owned(), mark);
        Ok(())
    }

    /// Makes the version appear in the cache.
    pub(crate) async fn finish(self) -> Result<CachedVersion> {
        blocking(move || {
            let digest = self.entry.version.digest;
            let signatures =
                BTreeMap::from([(self.entry.version.name(), self.entry.signatures.clone())]);
            let stored = StoredEntry {
                entry: self.entry.clone(),
                signatures,
                marks: self.marks.clone(),
            };
            self.cache
                .write_json(&self.folder.path().join(ENTRY), &stored)?;
            let place = self.cache.version_folder(&digest);
            if place.exists() {
                // It was there and was wrong. Processes that use it keep the files that they have
                // open.
                let aside = self.cache.work_folder()?;
                std::fs::rename(&place, aside.path().join("wrong"))
                    .map_err(|error| Error::file(&place, &error))?;
            }
            std::fs::rename(self.folder.path(), &place)
                .map_err(|error| Error::file(&place, &error))?;
            let there = self.cache.verified(&self.entry, self.used)?;
            there.ok_or_else(|| {
                let problem = format!(
                    "{} changed while it was put into the cache",
                    self.entry.version.name()
                );
                Error::new(ErrorCode::FileUnusable, problem)
            })
        })
        .await
    }

    fn place(&self, path: &str) -> PathBuf {
        self.folder.path().join(FILES).join(path)
    }
}
