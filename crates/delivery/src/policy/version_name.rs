//! The name of a version in a policy.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// A version of the endpoint's model: its number, or an alias.
///
/// A number names the same version for ever. An alias follows its version, so traffic moves at once
/// when somebody moves the alias.
///
/// Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionName(Arc<str>);

/// Text that is not the name of a version.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{0:?} is not a version: write its number, or an alias of letters, digits, '-', '_' and '.'"
)]
pub struct InvalidVersionName(String);

const MAX_BYTES: usize = 64;

impl VersionName {
    /// The number of a version.
    pub fn number(number: u64) -> Self {
        Self(number.to_string().into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for VersionName {
    type Err = InvalidVersionName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let starts_well = name.starts_with(|first: char| first.is_ascii_alphanumeric());
        if starts_well && name.len() <= MAX_BYTES && name.bytes().all(is_allowed) {
            return Ok(Self(name.into()));
        }
        Err(InvalidVersionName(name.chars().take(MAX_BYTES).collect()))
    }
}

fn is_allowed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

impl fmt::Display for VersionName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Serialize for VersionName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Both `version = 8` and `version = "8"` are read.
impl<'de> Deserialize<'de> for VersionName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NameVisitor)
    }
}

struct NameVisitor;

impl Visitor<'_> for NameVisitor {
    type Value = VersionName;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the number of a version, or an alias")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<VersionName, E> {
        Ok(VersionName::number(number))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<VersionName, E> {
        let number = u64::try_from(number);
        number
            .map(VersionName::number)
            .map_err(|_| E::custom("the number of a version is not negative"))
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<VersionName, E> {
        name.parse().map_err(E::custom)
    }
}
