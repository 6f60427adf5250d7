//! The folder of captured predictions.

use std::fs::{self, DirBuilder, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::partition::is_safe_name;
use crate::{CaptureError, CaptureReader, Hour, Partition, PartitionKey};

/// The folder of captured predictions. Only its owner can read it.
#[derive(Clone, Debug)]
pub struct CaptureFolder {
    root: PathBuf,
}

/// Held by the process that writes into a folder.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

/// What was removed to keep a folder within its limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Files.
    pub files: u64,
    /// What they took, in bytes.
    pub bytes: u64,
    /// What the files that are left take, in bytes.
    pub bytes_left: u64,
}

/// Where files are written before they get their names.
const TEMPORARY: &str = "tmp";
/// Locked by the process that writes.
const LOCK: &str = ".lock";
/// Its random id.
const ID: &str = ".id";
/// What is noted about a version.
const NOTE: &str = "_version.json";
/// What estimates of a version rest on.
const CALIBRATION: &str = "_calibration.json";
pub(crate) const EXTENSION: &str = "parquet";

impl CaptureFolder {
    /// The captures below a folder, which is made when something is written.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes this process the only one that writes. What a process that was killed has left half written is
    /// removed. Others are kept out until the lock is dropped.
    ///
    /// # Errors
    /// [`CaptureError`] if another process writes, or the folder cannot be made.
    pub fn lock(&self) -> Result<FolderLock, CaptureError> {
        make_folder(&self.root)?;
        let path = self.root.join(LOCK);
        let file = File::create(&path).map_err(|error| CaptureError::io(&path, error))?;
        if file.try_lock().is_err() {
            let problem =
                "another server writes its captures there: each needs a folder of its own";
            return Err(CaptureError::content(&self.root, problem));
        }
        self.clear_unfinished()?;
        Ok(FolderLock { _file: file })
    }

    /// The random id of the folder, made the first time: it stays the same when the folder is moved. Only for
    /// the process that holds the lock.
    ///
    /// # Errors
    /// [`CaptureError::Io`].
    pub fn id(&self) -> Result<String, CaptureError> {
        let path = self.root.join(ID);
        match fs::read_to_string(&path) {
            Ok(id) if !id.is_empty() => return Ok(id),
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(CaptureError::io(&path, error));
            }
            _ => {}
        }
        let id = uuid::Uuid::new_v4().to_string();
        let unfinished = self.root.join(format!("{ID}.tmp"));
        let written = fs::write(&unfinished, &id)
            .and_then(|()| File::open(&unfinished)?.sync_all())
            .and_then(|()| fs::rename(&unfinished, &path));
        written.map_err(|error| CaptureError::io(&path, error))?;
        Ok(id)
    }

    fn clear_unfinished(&self) -> Result<(), CaptureError> {
        let path = self.root.join(TEMPORARY);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(CaptureError::io(&path, error))
            }
            _ => Ok(()),
        }
    }

    /// The endpoints that have captures, in the order of their names.
    ///
    /// # Errors
    /// [`CaptureError::Io`].
    pub fn endpoints(&self) -> Result<Vec<String>, CaptureError> {
        let folders = folders(&self.root)?;
        let names = folders
            .iter()
            .filter_map(|folder| folder.file_name()?.to_str());
        let names = names.filter_map(|name| name.strip_prefix("endpoint="));
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    /// Every partition with files, from the earliest hour to the latest.
    ///
    /// # Errors
    /// [`CaptureError::Io`].
    pub fn partitions(&self) -> Result<Vec<Partition>, CaptureError> {
        let mut partitions = Vec::new();
        for endpoint in folders(&self.root)? {
            partitions.extend(self.partitions_in(&endpoint)?);
        }
        partitions.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(partitions)
    }

    /// The partitions of an endpoint that have files, from one hour to another, both included.
    ///
    /// # Errors
    /// [`CaptureError::Io`].
    pub fn partitions_of(
        &self,
        endpoint: &str,
        from: Hour,
        to: Hour,
    ) -> Result<Vec<Partition>, CaptureError> {
        if !is_safe_name(endpoint) {
            return Ok(Vec::new());
        }
        let mut partitions = self.partitions_in(&self.root.join(format!("endpoint={endpoint}")))?;
        partitions.retain(|one| one.key.hour >= from && one.key.hour <= to);
        partitions.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(partitions)
    }

    fn partitions_in(&self, endpoint: &Path) -> Result<Vec<Partition>, CaptureError> {
        let mut partitions = Vec::new();
        for version in folders(endpoint)? {
            for day in folders(&version)? {
                for hour in folders(&day)? {
                    partitions.extend(self.partition(&hour)?);
                }
            }
        }
        Ok(partitions)
    }

    fn partition(&self, folder: &Path) -> Result<Option<Partition>, CaptureError> {
        let Some(key) = PartitionKey::of_folder(&self.root, folder) else {
            return Ok(None);
        };
        let files = files(folder)?;
        let partition = Partition {
            key,
            files: files.len(),
            bytes: files.iter().map(|(_, bytes)| bytes).sum(),
        };
        Ok((!files.is_empty()).then_some(partition))
    }

    /// The rows of a partition: all columns, or those of these names that its files have.
    ///
    /// # Errors
    /// [`CaptureError`] of the first file; those of later files come with their rows.
    pub fn read(
        &self,
        key: &PartitionKey,
        columns: Option<&[&str]>,
    ) -> Result<CaptureReader, CaptureError> {
        CaptureReader::new(self.files_of(key)?.into(), columns)
    }

    /// The files of a partition, the earliest first; none for names that cannot be those of folders.
    ///
    /// # Errors
    /// [`CaptureError::Io`].
    pub fn files_of(&self, key: &PartitionKey) -> Result<Vec<PathBuf>, CaptureError> {
        if check_names(&self.root, key).is_err() {
            return Ok(Vec::new());
        }
        let files = files(&key.folder(&self.root))?;
        Ok(files.into_iter().map(|(path, _)| path).collect())
    }

    /// Removes the hours that ended before a time, in milliseconds since 1970, and then the earliest ones
    /// until all files take at most so many bytes.
    ///
    /// # Errors
    /// [`CaptureError::Io`].
    pub fn retain(&self, oldest_ms: u64, max_bytes: u64) -> Result<Removed, CaptureError> {
        let partitions = self.partitions()?;
        let mut bytes: u64 = partitions.iter().map(|partition| partition.bytes).sum();
        let mut removed = Removed::default();
        for partition in &partitions {
            if partition.key.hour.end_ms() > oldest_ms && bytes <= max_bytes {
                continue;
            }
            bytes -= partition.bytes;
            self.remove(partition)?;
            removed.files += partition.files as u64;
            removed.bytes += partition.bytes;
        }
        removed.bytes_left = bytes;
        Ok(removed)
    }

    fn remove(&self, partition: &Partition) -> Result<(), CaptureError> {
        let folder = partition.key.folder(&self.root);
        for (path, _) in files(&folder)? {
            fs::remove_file(&path).map_err(|error| CaptureError::io(&path, error))?;
        }
        // Folders that still have something stay.
        let above = folder
            .ancestors()
            .take_while(|above| above.starts_with(&self.root) && *above != self.root);
        for folder in above {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Writes a note about the version of a partition, in place of an earlier one.
    ///
    /// # Errors
    /// [`CaptureError::Io`].
    pub fn write_note(&self, key: &PartitionKey, note: &[u8]) -> Result<(), CaptureError> {
        self.write_of_version(key, NOTE, note)
    }

    /// The note about the version of a partition, if there is one.
    ///
    /// # Errors
    /// [`CaptureError::Io`].
    pub fn read_note(&self, key: &PartitionKey) -> Result<Option<Vec<u8>>, CaptureError> {
        self.read_of_version(key, NOTE)
    }

    /// Writes what estimates of the version of a partition rest on, in place of what was before.
    ///
    /// # Errors
    /// [`CaptureError::Io`].
    pub fn write_calibration(&self, key: &PartitionKey, text: &[u8]) -> Result<(), CaptureError> {
        self.write_of_version(key, CALIBRATION, text)
    }

    /// What estimates of the version of a partition rest on, if that was written.
    ///
    /// # Errors
    /// [`CaptureError::Io`].
    pub fn read_calibration(&self, key: &PartitionKey) -> Result<Option<Vec<u8>>, CaptureError> {
        self.read_of_version(key, CALIBRATION)
    }

    fn write_of_version(
        &self,
        key: &PartitionKey,
        name: &str,
        content: &[u8],
    ) -> Result<(), CaptureError> {
        check_names(&self.root, key)?;
        let path = self.version_folder(key).join(name);
        let folder = path.parent().unwrap_or(&self.root);
        make_folder(folder)?;
        let unfinished = folder.join(format!("{}.tmp", file_id()));
        let written = fs::write(&unfinished, content)
            .and_then(|()| File::open(&unfinished)?.sync_all())
            .and_then(|()| fs::rename(&unfinished, &path));
        written.map_err(|error| CaptureError::io(&path, error))
    }

    fn read_of_version(
        &self,
        key: &PartitionKey,
        name: &str,
    ) -> Result<Option<Vec<u8>>, CaptureError> {
        check_names(&self.root, key)?;
        let path = self.version_folder(key).join(name);
        match fs::read(&path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(CaptureError::io(&path, error)),
        }
    }

    fn version_folder(&self, key: &PartitionKey) -> PathBuf {
        let version = format!("version={}", key.version);
        let endpoint = self.root.join(format!("endpoint={}", key.endpoint));
        endpoint.join(version)
    }

    /// A new file that has no name of a partition yet.
    pub(crate) fn create_unfinished(&self) -> Result<(File, PathBuf), CaptureError> {
        let folder = self.root.join(TEMPORARY);
        make_folder(&folder)?;
        let path = folder.join(format!("{}.{EXTENSION}", file_id()));
        let file = File::create(&path).map_err(|error| CaptureError::io(&path, error))?;
        Ok((file, path))
    }

    /// Gives a durable file its name in a partition.
    pub(crate) fn finish(&self, unfinished: &Path, key: &PartitionKey) -> Result<(), CaptureError> {
        let folder = key.folder(&self.root);
        make_folder(&folder)?;
        let path = folder.join(unfinished.file_name().unwrap_or_default());
        let finished =
            fs::rename(unfinished, &path).and_then(|()| sync_folders(&folder, &self.root));
        finished.map_err(|error| CaptureError::io(&path, error))
    }
}

/// Refuses names that cannot be those of folders.
pub(crate) fn check_names(root: &Path, key: &PartitionKey) -> Result<(), CaptureError> {
    if is_safe_name(&key.endpoint) && is_safe_name(&key.version) {
        return Ok(());
    }
    let problem = "the name of the endpoint or of the version cannot be that of a folder";
    Err(CaptureError::content(root, problem))
}

/// A name that no other file has, in the order of time.
fn file_id() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let now = std::time::SystemTime::now();
    let since = now
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    // Containers have equal ids of processes.
    let random = RandomState::new().hash_one(number);
    format!("{:013}-{random:016x}-{number}", since.as_millis())
}

fn make_folder(folder: &Path) -> Result<(), CaptureError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| CaptureError::io(folder, error))
}

/// Each name on the way must be durable, too.
pub(crate) fn sync_folders(folder: &Path, root: &Path) -> io::Result<()> {
    for folder in folder.ancestors().take_while(|one| one.starts_with(root)) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// The folders in a folder; none if it does not exist.
fn folders(path: &Path) -> Result<Vec<PathBuf>, CaptureError> {
    let mut folders = Vec::new();
    for entry in entries(path)? {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder {
            folders.push(entry.path());
        }
    }
    Ok(folders)
}

/// The finished files of a partition with their sizes, from the earliest.
fn files(folder: &Path) -> Result<Vec<(PathBuf, u64)>, CaptureError> {
    let mut files = Vec::new();
    for entry in entries(folder)? {
        let path = entry.path();
        if path
            .extension()
            .is_none_or(|extension| extension != EXTENSION)
        {
            continue;
        }
        match entry.metadata() {
            Ok(metadata) => files.push((path, metadata.len())),
            // Its hour was removed meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(CaptureError::io(&path, error)),
        }
    }
    files.sort();
    Ok(files)
}

fn entries(path: &Path) -> Result<Vec<fs::DirEntry>, CaptureError> {
    match fs::read_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(CaptureError::io(path, error)),
        Ok(entries) => entries
            .collect::<io::Result<_>>()
            .map_err(|error| CaptureError::io(path, error)),
    }
}
