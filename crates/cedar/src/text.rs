//! The files with policies.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::PoliciesError;

/// The most that all files of policies together may have, in bytes.
const MAX_BYTES: usize = 1 << 20;
/// The most files in a folder.
const MAX_FILES: usize = 1000;

/// The text of policies, as it was in the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyText {
    /// Paths with contents, in the order of their names.
    pub(crate) files: Vec<(PathBuf, String)>,
}

impl PolicyText {
    /// A text that is not read from a file; `name` stands in messages.
    pub fn of(name: &str, text: &str) -> Self {
        Self {
            files: vec![(PathBuf::from(name), text.to_owned())],
        }
    }

    /// Reads a file, or the files `*.cedar` of a folder.
    ///
    /// # Errors
    /// [`PoliciesError::Files`], also for a folder without such a file and for more than 1 MiB.
    pub fn read(path: &Path) -> Result<Self, PoliciesError> {
        let problem = |problem: String| PoliciesError::Files {
            path: path.to_owned(),
            problem,
        };
        let paths = paths(path).map_err(|error| problem(error.to_string()))?;
        if paths.is_empty() {
            return Err(problem("the folder has no file *.cedar".to_owned()));
        }
        if paths.len() > MAX_FILES {
            return Err(problem(format!("there are more than {MAX_FILES} files")));
        }
        let mut left = MAX_BYTES;
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            let text = read_text(&path, left)
                .map_err(|error| problem(format!("{}: {error}", path.display())))?;
            left = left
                .checked_sub(text.len())
                .ok_or_else(|| problem(format!("they have more than {MAX_BYTES} bytes")))?;
            files.push((path, text));
        }
        Ok(Self { files })
    }

    /// The digest of names and contents.
    pub fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for (path, text) in &self.files {
            let path = path.as_os_str().as_encoded_bytes();
            for part in [path, text.as_bytes()] {
                digest.update((part.len() as u64).to_le_bytes());
                digest.update(part);
            }
        }
        digest.finalize().into()
    }
}

fn paths(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut paths = Vec::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        let is_policy = path.extension().is_some_and(|ending| ending == "cedar");
        // A folder of that name would be left out silently, and with it what its files forbid.
        if is_policy {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// At most one byte more than `limit`.
fn read_text(path: &Path, limit: usize) -> io::Result<String> {
    let mut text = String::new();
    let file = fs::File::open(path)?;
    file.take(limit as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_its_cedar_files_in_the_order_of_names() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("b.cedar", "2"), ("a.cedar", "1"), ("notes.md", "x")] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let read = PolicyText::read(folder.path()).unwrap();
        let texts: Vec<&str> = read.files.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["1", "2"]);
        let before = read.digest();
        fs::write(folder.path().join("b.cedar"), "3").unwrap();
        assert_ne!(PolicyText::read(folder.path()).unwrap().digest(), before);
    }

    #[test]
    fn nothing_and_too_much_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let problem = PolicyText::read(folder.path()).unwrap_err().to_string();
        assert!(problem.contains("has no file *.cedar"), "{problem}");
        let file = folder.path().join("a.cedar");
        fs::write(&file, "/".repeat(MAX_BYTES)).unwrap();
        assert!(PolicyText::read(&file).is_ok());
        fs::write(folder.path().join("b.cedar"), "/").unwrap();
        let problem = PolicyText::read(folder.path()).unwrap_err().to_string();
        assert!(problem.contains("more than 1048576 bytes"), "{problem}");
        assert!(PolicyText::read(&folder.path().join("none")).is_err());
    }
}
