//! What a file was when the job was planned, to find out whether it still is.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{BatchError, Result};

/// What a file was when the job was planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileIdentity {
    /// Its length.
    pub bytes: u64,
    /// When it was changed last, in nanoseconds since 1970.
    pub modified_ns: i128,
    /// SHA-256 of its content, or of the part that describes all of it: the footer of Parquet and of
    /// Arrow.
    pub sha256: String,
}

/// Length and time of change, which cost nothing to read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) bytes: u64,
    modified_ns: i128,
}

impl Stamp {
    pub(crate) fn of(file: &File, path: &Path) -> Result<Self> {
        let metadata = file.metadata();
        let metadata = metadata.map_err(|error| BatchError::unreadable(path, &error))?;
        if !metadata.is_file() {
            return Err(BatchError::input(path, "is not a file"));
        }
        let seconds = i128::from(metadata.mtime());
        Ok(Self {
            bytes: metadata.len(),
            modified_ns: seconds * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
        })
    }

    pub(crate) fn with_digest(self, sha256: String) -> FileIdentity {
        FileIdentity {
            bytes: self.bytes,
            modified_ns: self.modified_ns,
            sha256,
        }
    }
}

impl FileIdentity {
    /// Opens the file, if it still is what it was.
    pub(crate) fn open(&self, path: &Path) -> Result<File> {
        let file = open(path)?;
        self.check(&file, path)?;
        Ok(file)
    }

    /// Fails if the file was changed since the job was planned. To be asked after reading, too.
    pub(crate) fn check(&self, file: &File, path: &Path) -> Result<()> {
        let stamp = Stamp::of(file, path)?;
        // By its path as well: a file that was replaced still has its old content here.
        let replaced = open(path).and_then(|file| Stamp::of(&file, path))?;
        let planned = (self.bytes, self.modified_ns);
        for stamp in [stamp, replaced] {
            if (stamp.bytes, stamp.modified_ns) != planned {
                let problem = "was changed while the job read it; start a new job, with another \
                               output folder";
                return Err(BatchError::input(path, problem));
            }
        }
        Ok(())
    }
}

pub(crate) fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| BatchError::unreadable(path, &error))
}

/// 64 hexadecimal digits.
pub(crate) fn hex(digest: impl AsRef<[u8]>) -> String {
    let digits = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
    digits.collect()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes))
}

/// Hashes what is read through it.
pub(crate) struct HashingReader<R> {
    inner: R,
    hasher: Sha256,
}

impl<R: Read> HashingReader<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
        }
    }

    pub(crate) fn finish(self) -> String {
        hex(self.hasher.finalize())
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}
