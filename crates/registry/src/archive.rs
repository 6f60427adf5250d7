//! Versions in a single file: `tar` in `zstd`, a list first and then each content once.

mod export;
mod import;

use serde::{Deserialize, Serialize};
use tidegate_store::{Signature, VersionFile};

pub use export::ExportOptions;
pub(crate) use import::unpack;
pub use import::{ImportOptions, Imported};

use crate::VersionRecord;

/// The list's name in the archive.
const LIST: &str = "tidegate-export.json";
const CONTENTS: &str = "contents/";
/// Layout of the archive.
const SCHEMA: u32 = 1;
/// Most bytes of the list.
const MAX_LIST_BYTES: u64 = 64 << 20;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    schema: u32,
    versions: Vec<Listed>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listed {
    version: VersionRecord,
    files: Vec<VersionFile>,
    signatures: Vec<Signature>,
    /// The aliases that point at it.
    aliases: Vec<String>,
}

#[cfg(test)]
mod tests;
