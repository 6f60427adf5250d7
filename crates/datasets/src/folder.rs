//! The folder of data sets.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::hashed_file::digest_of;
use crate::{DatasetError, DatasetManifest};

/// Where data sets are written before they get their names.
const TEMPORARY: &str = "tmp";
/// Locked by the process that makes a data set.
const LOCK: &str = ".lock";
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
    _lock: File,
}

impl DatasetFolder {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Begins a data set. What a process that was killed has left half written is removed.
    pub(crate) fn begin(&self) -> Result<UnfinishedDataset, DatasetError> {
        make_folder(&self.root)?;
        let path = self.root.join(LOCK);
        let lock = File::create(&path).map_err(DatasetError::io(&path))?;
        if lock.try_lock().is_err() {
            return Err(DatasetError::Busy(self.root.display().to_string()));
        }
        let path = self.root.join(TEMPORARY);
        remove_folder(&path)?;
        make_folder(&path)?;
        Ok(UnfinishedDataset { path, _lock: lock })
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
        let mut file = File::open(&path).map_err(DatasetError::io(&path))?;
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
