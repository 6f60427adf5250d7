//! Names of models.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A model's name. It stands in URLs, metrics and files: letters, digits, `-`, `_` and `.`, at most
/// 128 of them, a letter or digit first.
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
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let first = name
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric());
        if first && name.len() <= 128 && name.bytes().all(allowed) {
            return Ok(Self(name.to_owned()));
        }
        Err(InvalidModelName(
            name.chars()
                .take(140)
                .collect::<String>()
                .escape_default()
                .to_string(),
        ))
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Text that is no model name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("\"{0}\" is no model name: use letters, digits, '-', '_' and '.'")]
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
