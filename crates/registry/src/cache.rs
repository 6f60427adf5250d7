//! The verified files that this machine uses: a bounded folder, shared by processes.
//!
//! `versions/DIGEST/` holds a version, whole or not at all; `locks/DIGEST` is locked by every
//! process that uses it, and its time is that of the last use; `tmp/` holds what is being filled or
//! removed.

mod evict;
mod fill;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, IntoInnerError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use tidegate_store::{Signature, VersionFile};
use tracing::warn;

pub(crate) use fill::Begun;

use crate::config::RegistryConfig;
use crate::digest::hash_file;
use crate::keys::SigningKeys;
use crate::push::{blocking, digest_of};
use crate::trust::{self, Statement};
use crate::{Digest, Error, ErrorCode, RequireSignature, Result, Snapshot, Verdict, VersionRecord};

// The names are part of the layout on disk: another one makes every cached version unknown.
const ENTRY: &str = "entry.json";
const FILES: &str = "files";
const SNAPSHOT: &str = "snapshot.json";
const NAMES: &str = "served-names.json";
/// A snapshot of thousands of versions has megabytes.
const WRITE_BYTES: usize = 256 << 10;

/// The versions that a server's names stand for, by model and name.
pub type ServedNames = BTreeMap<String, BTreeMap<String, u64>>;

/// A cache folder, with the keys and the policy that versions are checked against.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
    max_bytes: u64,
    keys: PathBuf,
    policy: RequireSignature,
}

/// The registry's record of a version's content.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) version: VersionRecord,
    pub(crate) files: Vec<VersionFile>,
    pub(crate) signatures: Vec<Signature>,
    /// The numbers of the model's versions.
    pub(crate) others: Vec<i64>,
}

impl Entry {
    /// Checks the list of files against the version's digest.
    pub(crate) fn check_digest(&self) -> Result<()> {
        let found = digest_of(&self.files);
        if found == self.version.digest {
            return Ok(());
        }
        let (name, digest) = (self.version.name(), self.version.digest);
        let problem = format!("{name} has the digest {digest}, but its list of files has {found}");
        Err(Error::new(ErrorCode::ManifestCorrupt, problem))
    }
}

/// What is stored beside the files.
#[derive(Debug, Serialize, Deserialize)]
struct StoredEntry {
    entry: Entry,
    /// Who signed the content, for each model and number that it has.
    #[serde(default)]
    signatures: BTreeMap<String, Vec<Signature>>,
    /// The mark of each file when it was verified.
    marks: BTreeMap<String, Mark>,
}

/// Metadata that changes when a file does, and that can be had without reading the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    bytes: u64,
    modified_s: i64,
    modified_ns: i64,
    /// Unlike the time of modification, nobody can set this one back.
    #[serde(default)]
    changed_s: i64,
    #[serde(default)]
    changed_ns: i64,
    inode: u64,
}

/// A version in the cache. It stays there as long as this value lives.
#[derive(Debug)]
pub struct CachedVersion {
    folder: PathBuf,
    version: VersionRecord,
    _lock: File,
}

impl CachedVersion {
    /// The folder of its files: read-only, and the same as long as this value lives, so that they
    /// can be mapped into memory.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// What it is.
    pub fn version(&self) -> &VersionRecord {
        &self.version
    }
}

impl Cache {
    /// Opens the cache that a configuration names, without the registry.
    ///
    /// # Errors
    /// [`ErrorCode::FileUnusable`] if the folder cannot be made; what is wrong with the keys.
    pub fn open(config: &RegistryConfig, data: &Path) -> Result<Self> {
        let folder = config.cache(data);
        // All of them on one file system, as versions are renamed from one into the other.
        for part in ["versions", "locks", "tmp", "pushes"] {
            let part = folder.join(part);
            std::fs::create_dir_all(&part).map_err(|error| Error::file(&part, &error))?;
        }
        let (max_bytes, policy) = (config.cache_max_bytes, config.require_signature);
        let cache = Self {
            folder,
            max_bytes,
            keys: config.keys(data),
            policy,
        };
        // What is wrong with the keys is said at once.
        cache.keys()?;
        cache.sweep();
        Ok(cache)
    }

    /// A version that is in the cache, verified without the registry: its signatures, its list of
    /// files, and its files: by their marks, and by reading those whose mark differs.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn load(&self, version: &VersionRecord) -> Result<Option<CachedVersion>> {
        let (cache, version) = (self.clone(), version.clone());
        blocking(move || {
            let lock = cache.lock_shared(&version.digest)?;
            let Some(stored) = cache.read(&version.digest)? else {
                return Ok(None);
            };
            let signatures = stored
                .signatures
                .get(&version.name())
                .cloned()
                .unwrap_or_default();
            let entry = Entry {
                version: version.clone(),
                signatures,
                ..stored.entry
            };
            cache.accept(&entry)?;
            cache.verified(&entry, lock)
        })
        .await
    }

    /// The last snapshot of the registry that was seen from this machine.
    ///
    /// # Errors
    /// [`ErrorCode::FileUnusable`] if it cannot be read.
    pub fn last_snapshot(&self) -> Result<Option<Snapshot>> {
        let path = self.folder.join(SNAPSHOT);
        match std::fs::read(&path) {
            // What another build wrote and this one cannot read counts as missing: it can be
            // fetched again.
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::file(&path, &error)),
        }
    }

    /// Saves what the registry has, for a start without it.
    ///
    /// # Errors
    /// [`ErrorCode::FileUnusable`] if it cannot be written.
    pub fn keep_snapshot(&self, snapshot: &Snapshot) -> Result<()> {
        self.write_json(&self.folder.join(SNAPSHOT), snapshot)
    }

    /// The versions that names stood for when a server with this cache last ran, by model.
    ///
    /// # Errors
    /// [`ErrorCode::FileUnusable`] if they cannot be read.
    pub fn last_names(&self) -> Result<ServedNames> {
        let path = self.folder.join(NAMES);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(ServedNames::new()),
            Err(error) => Err(Error::file(&path, &error)),
        }
    }

    /// Saves the versions that names stand for.
    ///
    /// # Errors
    /// [`ErrorCode::FileUnusable`] if they cannot be written.
    pub fn keep_names(&self, names: &ServedNames) -> Result<()> {
        self.write_json(&self.folder.join(NAMES), names)
    }

    /// The keys as they are now: they come and go while a server runs.
    pub(crate) fn keys(&self) -> Result<SigningKeys> {
        SigningKeys::open(&self.keys)
    }

    /// Fails where this machine demands signatures and a new version would have none that counts.
    pub(crate) fn check_signing(&self, original: &[Signature]) -> Result<()> {
        let keys = self.keys()?;
        let is_accepted = |signature: &Signature| {
            signature
                .key_id
                .parse()
                .is_ok_and(|id| keys.trusted(&id).is_some() && !keys.is_revoked(&id))
        };
        if self.policy != RequireSignature::Always
            || keys.signer().is_some()
            || original.iter().any(is_accepted)
        {
            return Ok(());
        }
        let problem = "registry.require_signature is \"always\", but this machine has no valid signing key, \
                       so nobody could use the version: create a key with `tidegate keys generate`";
        Err(Error::new(ErrorCode::KeyUnavailable, problem))
    }

    pub(crate) fn pushes(&self) -> PathBuf {
        self.folder.join("pushes")
    }

    /// A new folder for work in progress.
    pub(crate) fn work_folder(&self) -> Result<tempfile::TempDir> {
        let made = tempfile::Builder::new()
            .prefix("work-")
            .tempdir_in(self.folder.join("tmp"));
        made.map_err(|error| Error::file(&self.folder, &error))
    }

    /// Checks a version's list of files against its digest, and its signatures against the keys and
    /// the policy.
    pub(crate) fn trust(&self, entry: &Entry) -> Result<Verdict> {
        entry.check_digest()?;
        let version = &entry.version;
        let statement = Statement {
            model: &version.model,
            number: version.number,
            digest: version.digest,
        };
        trust::check(
            statement,
            &entry.signatures,
            &self.keys()?,
            self.policy,
            entry.others.iter().copied(),
        )
    }

    /// As [`Cache::trust`], for a version that is about to be used. Logs a warning if it has no
    /// trusted signature.
    pub(crate) fn accept(&self, entry: &Entry) -> Result<()> {
        if let Verdict::Unsigned(why) = self.trust(entry)? {
            let version = &entry.version;
            warn!(
                model = version.model,
                version = version.number,
                why,
                "used without a trusted signature"
            );
        }
        Ok(())
    }

    /// Where a file of a cached version is, whether or not it is there.
    pub(crate) fn file(&self, version: &Digest, path: &str) -> PathBuf {
        self.version_folder(version).join(FILES).join(path)
    }

    /// Reads the files of a version again, if they are here, and holds them against their digests.
    pub(crate) async fn check_files(&self, entry: &Entry) -> Result<()> {
        let (cache, entry) = (self.clone(), entry.clone());
        blocking(move || {
            let digest = entry.version.digest;
            if !cache.version_folder(&digest).exists() {
                return Ok(());
            }
            let _in_use = cache.lock_shared(&digest)?;
            for file in &entry.files {
                let path = cache.file(&digest, &file.path);
                if path.exists() && hash_file(&path, &|_| {})?.1.hex() != file.digest {
                    let problem = format!(
                        "{} in the local cache was changed; remove {} to fetch it again",
                        path.display(),
                        cache.version_folder(&digest).display()
                    );
                    return Err(Error::new(ErrorCode::ObjectCorrupt, problem));
                }
            }
            Ok(())
        })
        .await
    }

    /// The cached version of an entry, if it is there and right. Blocks.
    fn verified(&self, entry: &Entry, lock: File) -> Result<Option<CachedVersion>> {
        let Some(mut stored) = self.read(&entry.version.digest)? else {
            return Ok(None);
        };
        let folder = self.version_folder(&entry.version.digest).join(FILES);
        // What the registry says now is what counts while it cannot be asked.
        let mut changed = stored.signatures.get(&entry.version.name()) != Some(&entry.signatures);
        stored
            .signatures
            .insert(entry.version.name(), entry.signatures.clone());
        for file in &entry.files {
            let path = folder.join(&file.path);
            let Some(mark) = Mark::of(&path) else {
                return Ok(None);
            };
            if stored.marks.get(&file.path) == Some(&mark) {
                continue;
            }
            if hash_file(&path, &|_| {})?.1.hex() != file.digest {
                return Ok(None);
            }
            stored.marks.insert(file.path.clone(), mark);
            changed = true;
        }
        if changed {
            self.write_json(
                &self.version_folder(&entry.version.digest).join(ENTRY),
                &stored,
            )?;
        }
        // Eviction removes the version with the oldest time first. Where the time cannot be set,
        // only that order is wrong.
        let _ = lock.set_modified(SystemTime::now());
        Ok(Some(CachedVersion {
            folder,
            version: entry.version.clone(),
            _lock: lock,
        }))
    }

    fn read(&self, digest: &Digest) -> Result<Option<StoredEntry>> {
        let path = self.version_folder(digest).join(ENTRY);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::file(&path, &error)),
        }
    }

    fn lock_shared(&self, digest: &Digest) -> Result<File> {
        let (file, path) = self.lock_file(&digest.hex())?;
        file.lock_shared()
            .map_err(|error| Error::file(&path, &error))?;
        Ok(file)
    }

    fn lock_file(&self, name: &str) -> Result<(File, PathBuf)> {
        let path = self.folder.join("locks").join(name);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .read(true)
            .open(&path);
        Ok((file.map_err(|error| Error::file(&path, &error))?, path))
    }

    fn version_folder(&self, digest: &Digest) -> PathBuf {
        self.folder.join("versions").join(digest.hex())
    }

    /// Replaces a file, whole or not at all.
    fn write_json(&self, path: &Path, value: &impl Serialize) -> Result<()> {
        self.persist_json(path, value)
            .map_err(|error| Error::file(path, &error))
    }

    fn persist_json(&self, path: &Path, value: &impl Serialize) -> std::io::Result<()> {
        // In the cache's own folder: a rename is atomic only within one file system.
        let part = tempfile::Builder::new()
            .prefix("json-")
            .tempfile_in(self.folder.join("tmp"))?;
        let mut buffered = BufWriter::with_capacity(WRITE_BYTES, part);
        serde_json::to_writer(&mut buffered, value)?;
        let part = buffered.into_inner().map_err(IntoInnerError::into_error)?;
        part.persist(path)?;
        Ok(())
    }
}

impl Mark {
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::symlink_metadata(path)
            .ok()
            .filter(std::fs::Metadata::is_file)?;
        Some(Self {
            bytes: metadata.len(),
            modified_s: metadata.mtime(),
            modified_ns: metadata.mtime_nsec(),
            changed_s: metadata.ctime(),
            changed_ns: metadata.ctime_nsec(),
            inode: metadata.ino(),
        })
    }
}
