//! Secrets, which must not be shown: keys, passwords, and addresses that have them.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, Serializer};

const MAX_BYTES: u64 = 64 << 10;

/// A text that neither the log nor an answer ever shows.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself. It must not be shown.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { "hidden" })
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // The same for every secret: not even a digest of one reaches a file.
        serializer.serialize_str(if self.0.is_empty() { "" } else { "hidden" })
    }
}

/// A secret, or the file that has it. The file is read each time, so that it can be changed while
/// the server runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// The secret itself.
    Given(Secret),
    /// The file that has it.
    File(PathBuf),
}

impl SecretSource {
    /// The value or the file; `None` if there is neither.
    ///
    /// # Errors
    /// If there are both.
    pub fn new(given: &Secret, file: Option<&Path>, key: &str) -> Result<Option<Self>, String> {
        match (given.is_empty(), file) {
            (true, None) => Ok(None),
            (false, None) => Ok(Some(Self::Given(given.clone()))),
            (true, Some(file)) => Ok(Some(Self::File(file.to_owned()))),
            (false, Some(_)) => Err(format!("it has both {key} and {key}_file")),
        }
    }

    /// The value or the file.
    ///
    /// # Errors
    /// If there are both, or none.
    pub fn required(given: &Secret, file: Option<&Path>, key: &str) -> Result<Self, String> {
        Self::new(given, file, key)?.ok_or_else(|| format!("it needs {key} or {key}_file"))
    }

    /// The secret, without space around it. Blocks: it may read a file.
    ///
    /// # Errors
    /// Why the file cannot be read, or has none.
    pub fn read(&self) -> Result<Secret, String> {
        match self {
            Self::Given(secret) => Ok(secret.clone()),
            Self::File(file) => read_file(file),
        }
    }
}

fn read_file(file: &Path) -> Result<Secret, String> {
    use std::io::Read;
    let open = std::fs::File::open(file);
    let mut text = String::new();
    // Bounded: by mistake, the path may be that of a device or of a large file.
    let read = open.and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
    read.map_err(|problem| format!("cannot read {}: {problem}", file.display()))?;
    match text.trim() {
        "" => Err(format!("{} is empty", file.display())),
        text => Ok(Secret::from(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::from("hunter2");
        assert_eq!(
            (
                format!("{secret:?}"),
                serde_json::to_string(&secret).unwrap()
            ),
            ("hidden".into(), "\"hidden\"".into())
        );
    }

    #[test]
    fn a_file_is_read_anew_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let source = SecretSource::required(&Secret::default(), Some(&file), "secret").unwrap();
        assert!(source.read().unwrap_err().contains("cannot read"));
        for text in ["one\n", "two"] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(source.read().unwrap().reveal(), text.trim());
        }
        assert!(
            SecretSource::required(&Secret::default(), None, "url")
                .unwrap_err()
                .contains("url or url_file")
        );
        assert!(
            SecretSource::new(&Secret::from("x"), Some(&file), "url")
                .unwrap_err()
                .contains("both")
        );
    }
}
