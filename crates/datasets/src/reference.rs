//! Names of data sets.

use std::fmt;
use std::str::FromStr;

use crate::DatasetError;

/// A version of a data set, written `fraud@3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetReference {
    /// The name.
    pub name: String,
    /// The version, from 1.
    pub version: i64,
}

impl FromStr for DatasetReference {
    type Err = DatasetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once('@');
        let parsed = parts.and_then(|(name, version)| {
            let version = version.parse().ok().filter(|version| *version > 0)?;
            is_name(name).then(|| Self {
                name: name.to_owned(),
                version,
            })
        });
        parsed.ok_or_else(|| {
            DatasetError::Refused(format!("{text:?} is not a data set such as fraud@3"))
        })
    }
}

impl fmt::Display for DatasetReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

/// Whether this can be the name of a data set: names of models can.
pub(crate) fn is_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= 128 && name.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_has_a_name_and_a_number() {
        let reference: DatasetReference = "fraud-eu@12".parse().unwrap();
        assert_eq!(reference.to_string(), "fraud-eu@12");
        for wrong in [
            "fraud", "fraud@", "fraud@0", "fraud@-1", "@1", "a/b@1", "a@1@2",
        ] {
            assert!(wrong.parse::<DatasetReference>().is_err(), "{wrong}");
        }
    }
}
