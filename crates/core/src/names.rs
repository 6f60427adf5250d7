//! Names of models.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A model's name: at most 128 letters, digits, `-`, `_` and `.`, of which the first is a letter or a
/// digit. It appears in URLs, metrics and file names, where other characters would need escaping.
///
/// ```
/// use tidegate_core::ModelName;
///
/// assert_eq!("fraud-2.1".parse::<ModelName>()?.as_str(), "fraud-2.1");
/// assert!("../secrets".parse::<ModelName>().is_err());
/// # Ok::<(), tidegate_core::InvalidModelName>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelName(String);

impl ModelName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name, owned.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl FromStr for ModelName {
    type Err = InvalidModelName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        // A dot in front would make hidden files, `.` and `..`; a dash would look like an option.
        let starts_well = name.starts_with(|first: char| first.is_ascii_alphanumeric());
        if starts_well && name.len() <= MAX_BYTES && name.bytes().all(is_allowed) {
            return Ok(Self(name.to_owned()));
        }
        // The message shows enough to see that a name is too long, and nothing that a terminal obeys.
        let shown: String = name.chars().take(MAX_SHOWN).collect();
        Err(InvalidModelName(shown.escape_default().to_string()))
    }
}

fn is_allowed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// File systems allow names of 255 bytes; the rest is for what is appended to a model's name.
const MAX_BYTES: usize = 128;
const MAX_SHOWN: usize = 140;

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Text that is not a model name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("\"{0}\" is not a model name: use letters, digits, '-', '_' and '.'")]
pub struct InvalidModelName(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_paths_or_hidden_files_are_refused() {
        for name in ["fraud", "fraud-2.1_b", "7"] {
            assert_eq!(name.parse::<ModelName>().unwrap().as_str(), name);
        }
        for name in [
            "",
            ".",
            "..",
            ".fraud",
            "a/b",
            "a b",
            "a\nb",
            "ä",
            &"x".repeat(129),
        ] {
            assert!(name.parse::<ModelName>().is_err(), "{name:?}");
        }
    }
}
