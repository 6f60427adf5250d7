//! Files that appear as a whole or not at all.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Manifest, UnitRecord};
use crate::error::{BatchError, Result};

/// Where everything is that is no prediction.
const META: &str = "_tidegate";
/// Files of ours are small.
const MAX_JSON_BYTES: u64 = 1 << 30;

/// The output folder of a job.
#[derive(Clone, Debug)]
pub(crate) struct OutputFolder {
    root: PathBuf,
}

impl OutputFolder {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    fn meta(&self, name: &str) -> PathBuf {
        self.root.join(META).join(name)
    }

    /// Makes the folders, and locks them for this process. The system releases the lock however the
    /// process ends.
    pub(crate) fn lock(&self) -> Result<File> {
        for name in ["tmp", "units", "quarantine"] {
            let path = self.meta(name);
            fs::create_dir_all(&path).map_err(|error| BatchError::unwritable(&path, &error))?;
        }
        let path = self.meta("lock");
        // Never removed: two processes could then hold locks on two files of this name.
        let file = File::create(&path).map_err(|error| BatchError::unwritable(&path, &error))?;
        if file.try_lock().is_err() {
            return Err(BatchError::output(
                &self.root,
                "another process writes it now",
            ));
        }
        self.clear_temporary()?;
        Ok(file)
    }

    /// What a process that was killed has left.
    fn clear_temporary(&self) -> Result<()> {
        let folder = self.meta("tmp");
        let failed = BatchError::writing(&folder);
        for entry in fs::read_dir(&folder).map_err(failed)? {
            fs::remove_file(entry.map_err(failed)?.path()).map_err(failed)?;
        }
        Ok(())
    }

    /// What the job was asked for; `None` if there is none.
    pub(crate) fn job<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        read_json(&self.meta("job.json"))
    }

    /// Notes what the job is asked for. There is none yet.
    pub(crate) fn begin(&self, job: &impl Serialize) -> Result<()> {
        self.create("job.json", &self.meta("job.json"), job)
    }

    /// The record of a unit, if it is done and its files are there.
    pub(crate) fn unit(&self, number: usize) -> Result<Option<UnitRecord>> {
        let record: Option<UnitRecord> = read_json(&self.unit_path(number))?;
        Ok(record.filter(|record| self.has_files(record)))
    }

    fn unit_path(&self, number: usize) -> PathBuf {
        self.meta("units").join(format!("{number:05}.json"))
    }

    fn has_files(&self, record: &UnitRecord) -> bool {
        let mut files = record.scores.iter().chain(&record.quarantine);
        files.all(|file| {
            let found = fs::metadata(self.root.join(&file.path));
            found.is_ok_and(|found| found.is_file() && found.len() == file.bytes)
        })
    }

    /// How many units there are records of, with the highest number.
    pub(crate) fn recorded_units(&self) -> Result<Vec<usize>> {
        let folder = self.meta("units");
        let failed = BatchError::reading(&folder);
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut numbers = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            let name = name.to_string_lossy();
            let number: Option<usize> = name
                .strip_suffix(".json")
                .and_then(|number| number.parse().ok());
            numbers.extend(number);
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Notes that a unit is done. Its files must be durable.
    pub(crate) fn commit(&self, number: usize, record: &UnitRecord) -> Result<()> {
        let path = self.unit_path(number);
        // A record without its files, which somebody has removed, says nothing.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(BatchError::unwritable(&path, &error));
            }
            _ => {}
        }
        self.create(&format!("unit-{number:05}.json"), &path, record)
    }

    /// The manifest, if the job is done.
    pub(crate) fn manifest(&self) -> Result<Option<Manifest>> {
        read_json(&self.meta("manifest.json"))
    }

    /// Makes the output visible.
    pub(crate) fn publish(&self, manifest: &Manifest) -> Result<()> {
        self.create("manifest.json", &self.meta("manifest.json"), manifest)
    }

    /// A file to write under another name first.
    pub(crate) fn create_temporary(&self, name: &str) -> Result<(File, PathBuf)> {
        let path = self.meta("tmp").join(name);
        let file = File::create(&path).map_err(|error| BatchError::unwritable(&path, &error))?;
        Ok((file, path))
    }

    /// Makes a finished file durable, and gives it its name, relative to the folder.
    pub(crate) fn finish(&self, file: &File, temporary: &Path, name: &str) -> Result<()> {
        let path = self.root.join(name);
        let folder = path.parent().unwrap_or(&self.root);
        let written = file
            .sync_all()
            .and_then(|()| fs::create_dir_all(folder))
            .and_then(|()| fs::rename(temporary, &path))
            .and_then(|()| self.sync_folders(folder));
        written.map_err(|error| BatchError::unwritable(&path, &error))
    }

    /// The folders up to the root: each name must be durable, too.
    fn sync_folders(&self, folder: &Path) -> io::Result<()> {
        let below = folder
            .ancestors()
            .take_while(|folder| folder.starts_with(&self.root));
        for folder in below {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }

    /// Creates a file that must not be there yet, as a whole.
    fn create(&self, temporary: &str, path: &Path, content: &impl Serialize) -> Result<()> {
        let mut json = serde_json::to_vec_pretty(content)
            .map_err(|error| BatchError::output(path, error.to_string()))?;
        json.push(b'\n');
        let (mut file, temporary) = self.create_temporary(temporary)?;
        let created = file
            .write_all(&json)
            .and_then(|()| file.sync_all())
            // Unlike a rename, it fails where there is one already.
            .and_then(|()| fs::hard_link(&temporary, path))
            .and_then(|()| fs::remove_file(&temporary))
            .and_then(|()| self.sync_folders(path.parent().unwrap_or(&self.root)));
        created.map_err(|error| BatchError::unwritable(path, &error))
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_JSON_BYTES).read_to_end(&mut text));
    match read {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(BatchError::output(path, format!("cannot be read: {error}"))),
        Ok(_) => {}
    }
    let content = serde_json::from_slice(&text);
    content.map(Some).map_err(|error| {
        BatchError::output(path, format!("is not what this release writes: {error}"))
    })
}
