//! The number of erasures, so that whoever copies rows notices one meanwhile.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};

use crate::{CaptureError, CaptureFolder};

/// Has the number of erasures that have begun; locked while one is under way.
const ERASURES: &str = ".erasures";

/// An erasure that is under way. Ends when it is dropped, or with the process.
#[derive(Debug)]
pub struct Erasure {
    _lock: Option<File>,
}

/// How many erasures have begun. None begins as long as this is held.
#[derive(Debug)]
pub struct ErasureCount {
    number: u64,
    _lock: Option<File>,
}

impl ErasureCount {
    /// The number.
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl CaptureFolder {
    /// Begins an erasure. Waits for another one, and for those who hold a count.
    ///
    /// # Errors
    /// [`CaptureError::Io`].
    pub fn begin_erasure(&self) -> Result<Erasure, CaptureError> {
        let Some(mut file) = self.erasures_file()? else {
            return Ok(Erasure { _lock: None });
        };
        let begun = file.lock().and_then(|()| count_up(&mut file));
        begun.map_err(|error| CaptureError::io(&self.root().join(ERASURES), error))?;
        Ok(Erasure { _lock: Some(file) })
    }

    /// How many erasures have begun; `None` while one is under way. Rows that were read between two equal
    /// counts have none that was erased meanwhile.
    ///
    /// # Errors
    /// [`CaptureError::Io`].
    pub fn erasures(&self) -> Result<Option<ErasureCount>, CaptureError> {
        let Some(mut file) = self.erasures_file()? else {
            return Ok(Some(ErasureCount {
                number: 0,
                _lock: None,
            }));
        };
        if file.try_lock_shared().is_err() {
            return Ok(None);
        }
        let number = read_number(&mut file);
        let number =
            number.map_err(|error| CaptureError::io(&self.root().join(ERASURES), error))?;
        Ok(Some(ErasureCount {
            number,
            _lock: Some(file),
        }))
    }

    /// The file of the number; `None` where nothing was captured.
    fn erasures_file(&self) -> Result<Option<File>, CaptureError> {
        if !self.root().is_dir() {
            return Ok(None);
        }
        let path = self.root().join(ERASURES);
        let mut options = OpenOptions::new();
        let opened = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        opened
            .map(Some)
            .map_err(|error| CaptureError::io(&path, error))
    }
}

fn read_number(file: &mut File) -> io::Result<u64> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_string(&mut text)?;
    Ok(text.trim().parse().unwrap_or(0))
}

/// Twenty digits always: a kill in the middle leaves no shorter number.
fn count_up(file: &mut File) -> io::Result<()> {
    let number = read_number(file)?.wrapping_add(1);
    file.seek(SeekFrom::Start(0))?;
    file.write_all(format!("{number:020}").as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "these are tests")]
mod tests {
    use super::*;

    #[test]
    fn an_erasure_is_seen_while_it_is_under_way_and_afterwards() {
        let place = tempfile::tempdir().unwrap();
        let folder = CaptureFolder::new(place.path());
        let before = folder.erasures().unwrap().unwrap();
        assert_eq!(before.number(), 0);
        drop(before);
        let erasure = folder.begin_erasure().unwrap();
        assert!(folder.erasures().unwrap().is_none());
        drop(erasure);
        assert_eq!(folder.erasures().unwrap().unwrap().number(), 1);
        drop(folder.begin_erasure().unwrap());
        assert_eq!(folder.erasures().unwrap().unwrap().number(), 2);
    }

    #[test]
    fn where_nothing_was_captured_nothing_is_made() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("captures");
        let folder = CaptureFolder::new(&root);
        drop(folder.begin_erasure().unwrap());
        assert_eq!(folder.erasures().unwrap().unwrap().number(), 0);
        assert!(!root.exists());
    }
}
