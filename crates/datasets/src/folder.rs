//! The folder of data sets.

use std::fs::{self, DirBuilder, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use uuid::{Builder, Uuid};

use crate::hashed_file::digest_of;
use crate::{DatasetError, DatasetManifest};

/// Where data sets are written before they get their names.
const TEMPORARY: &str = "tmp";
/// Locked by the process that makes a data set.
const LOCK: &str = ".lock";
/// Locked for the moment in which a data set gets its name or loses it, together with its record: a removal
/// must not take the folder of a new data set with the same content.
const NAMES_LOCK: &str = ".names.lock";
/// Has the id of the folder.
const ID: &str = ".id";
const DATA: &str = "data.parquet";
const MANIFEST: &str = "dataset.json";

/// A folder with a folder for each data set, named by its digest. Only its owner can read it.
#[derive(Clone, Debug)]
pub(crate) struct DatasetFolder {
    root: PathBuf,
}

/// A data set that has no name yet. As long as there is one, no other is made in the folder.
#[derive(Debug)]
pub(crate) struct UnfinishedDataset {
    path: PathBuf,
    room: Room,
    _lock: File,
}

/// As long as there is one, no data set of the folder gets a name or loses it.
#[derive(Debug)]
pub(crate) struct NamesLock {
    _file: File,
}

/// What the data sets of a folder may take on the disk.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    place: String,
    used_bytes: u64,
    max_bytes: u64,
}

impl Room {
    /// Whether so many bytes more have room.
    pub(crate) fn check(&self, bytes: u64) -> Result<(), DatasetError> {
        if self.used_bytes.saturating_add(bytes) <= self.max_bytes {
            return Ok(());
        }
        Err(DatasetError::Full {
            place: self.place.clone(),
            used_bytes: self.used_bytes,
            max_bytes: self.max_bytes,
        })
    }
}

impl DatasetFolder {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Begins a data set. What a process that was killed has left half written is removed. All data sets
    /// may take so many bytes.
    pub(crate) fn begin(&self, max_bytes: u64) -> Result<UnfinishedDataset, DatasetError> {
        make_folder(&self.root)?;
        let path = self.root.join(LOCK);
        let lock = File::create(&path).map_err(DatasetError::io(&path))?;
        if lock.try_lock().is_err() {
            return Err(DatasetError::Busy(self.root.display().to_string()));
        }
        let path = self.root.join(TEMPORARY);
        remove_folder(&path)?;
        self.make_id()?;
        let room = Room {
            place: self.root.display().to_string(),
            used_bytes: self.bytes()?,
            max_bytes,
        };
        room.check(1)?;
        make_folder(&path)?;
        Ok(UnfinishedDataset {
            path,
            room,
            _lock: lock,
        })
    }

    /// Waits until no data set gets a name or loses it.
    pub(crate) fn lock_names(&self) -> Result<NamesLock, DatasetError> {
        make_folder(&self.root)?;
        let path = self.root.join(NAMES_LOCK);
        let file = File::create(&path).map_err(DatasetError::io(&path))?;
        file.lock().map_err(DatasetError::io(&path))?;
        Ok(NamesLock { _file: file })
    }

    /// The id of the folder, which paths do not replace: those of two machines may be equal. `None` before
    /// the first data set.
    pub(crate) fn id(&self) -> Result<Option<String>, DatasetError> {
        let path = self.root.join(ID);
        match fs::read_to_string(&path) {
            Ok(id) => Ok(Some(id.trim().to_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(DatasetError::file(&path, error)),
        }
    }

    fn make_id(&self) -> Result<(), DatasetError> {
        if self.id()?.is_some() {
            return Ok(());
        }
        let (path, unfinished) = (self.root.join(ID), self.root.join(".id.tmp"));
        let written = write_durable(&unfinished, random_id().to_string().as_bytes())
            .and_then(|()| fs::rename(&unfinished, &path));
        written.map_err(DatasetError::io(&path))?;
        sync(&self.root)
    }

    /// What the data sets take, in bytes.
    pub(crate) fn bytes(&self) -> Result<u64, DatasetError> {
        let mut bytes: u64 = 0;
        for digest in self.digests()? {
            for name in [DATA, MANIFEST] {
                let path = self.folder_of(&digest).join(name);
                // One that is removed meanwhile takes nothing.
                let found = fs::metadata(&path).map_or(0, |found| found.len());
                bytes = bytes.saturating_add(found);
            }
        }
        Ok(bytes)
    }

    /// The digests of the data sets that have a folder.
    pub(crate) fn digests(&self) -> Result<Vec<String>, DatasetError> {
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(DatasetError::io(&self.root))?,
        };
        let mut digests = Vec::new();
        for entry in entries {
            let entry = entry.map_err(DatasetError::io(&self.root))?;
            let name = entry.file_name();
            let name = name.to_str().filter(|name| is_digest(name));
            digests.extend(name.map(str::to_owned));
        }
        Ok(digests)
    }

    /// The description of a data set, and for how long it has been there; `None` if either cannot be read.
    pub(crate) fn described(&self, digest: &str) -> Option<(DatasetManifest, Duration)> {
        let path = self.folder_of(digest).join(MANIFEST);
        let age = fs::metadata(&path).ok()?.modified().ok()?.elapsed().ok()?;
        let manifest = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
        Some((manifest, age))
    }

    /// Gives a finished data set its name, unless there is one of the same content already.
    pub(crate) fn finish(
        &self,
        unfinished: &UnfinishedDataset,
        manifest: &DatasetManifest,
    ) -> Result<(), DatasetError> {
        let described = unfinished.path.join(MANIFEST);
        let text = serde_json::to_vec_pretty(manifest)
            .map_err(|error| DatasetError::file(&described, error))?;
        write_durable(&described, &text).map_err(DatasetError::io(&described))?;
        sync(&unfinished.path)?;
        let path = self.folder_of(&manifest.digest);
        if path.is_dir() {
            if self.verified(&manifest.digest).is_ok() {
                return remove_folder(&unfinished.path);
            }
            // What a removal left that was killed.
            remove_folder(&path)?;
        }
        fs::rename(&unfinished.path, &path).map_err(DatasetError::io(&path))?;
        sync(&self.root)
    }

    /// The file of a data set, once its content was found to be that of the digest.
    pub(crate) fn verified(&self, digest: &str) -> Result<File, DatasetError> {
        let path = self.folder_of(digest).join(DATA);
        let mut file = File::open(&path).map_err(|error| gone(&path, error))?;
        let found = digest_of(&mut file).map_err(DatasetError::io(&path))?;
        if found != digest {
            let problem = format!("has the digest {found} instead of {digest}");
            return Err(DatasetError::file(&path, problem));
        }
        File::open(&path).map_err(DatasetError::io(&path))
    }

    /// Removes the files of a digest, if there are any.
    pub(crate) fn remove(&self, digest: &str) -> Result<(), DatasetError> {
        remove_folder(&self.folder_of(digest))?;
        match self.root.is_dir() {
            true => sync(&self.root),
            false => Ok(()),
        }
    }

    fn folder_of(&self, digest: &str) -> PathBuf {
        self.root.join(digest)
    }
}

impl UnfinishedDataset {
    /// What it may take.
    pub(crate) fn room(&self) -> Room {
        self.room.clone()
    }

    /// The file of its rows.
    pub(crate) fn data(&self) -> PathBuf {
        self.path.join(DATA)
    }
}

impl Drop for UnfinishedDataset {
    /// Of one that came to nothing, no copy of the rows stays. Its lock is held until then.
    fn drop(&mut self) {
        let _ = remove_folder(&self.path);
    }
}

/// A data set whose file somebody has removed.
fn gone(path: &Path, error: io::Error) -> DatasetError {
    match error.kind() {
        ErrorKind::NotFound => {
            DatasetError::NotFound(format!("the file {} is gone", path.display()))
        }
        _ => DatasetError::file(path, error),
    }
}

fn is_digest(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The keys of a hash are random bytes of the system.
pub(crate) fn random_id() -> Uuid {
    let keys = RandomState::new();
    let halves = [keys.hash_one(0_u8), keys.hash_one(1_u8)];
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&halves[0].to_le_bytes());
    bytes[8..].copy_from_slice(&halves[1].to_le_bytes());
    Builder::from_random_bytes(bytes).into_uuid()
}

fn make_folder(path: &Path) -> Result<(), DatasetError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(DatasetError::io(path))
}

fn remove_folder(path: &Path) -> Result<(), DatasetError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(DatasetError::file(path, error)),
        _ => Ok(()),
    }
}

fn write_durable(path: &Path, content: &[u8]) -> io::Result<()> {
    fs::write(path, content)?;
    File::open(path)?.sync_all()
}

/// Makes the names in a folder durable.
fn sync(path: &Path) -> Result<(), DatasetError> {
    let synced = File::open(path).and_then(|folder| folder.sync_all());
    synced.map_err(DatasetError::io(path))
}
