//! The digest of a bundle that is not in the registry.

use super::{Bundle, Source};
use crate::digest::hash_file;
use crate::{Digest, Result};

impl Bundle {
    /// The digest of its content: that of the version which a push of it would make. Reads every file.
    /// Blocks.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn content_digest(&self) -> Result<Digest> {
        let mut files = Vec::with_capacity(self.files.len());
        for file in &self.files {
            let (bytes, digest) = match &file.source {
                Source::Bytes(bytes) => (bytes.len() as u64, Digest::of(bytes)),
                Source::File(path) => hash_file(path, &|_| {})?,
            };
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            files.push((file.path.as_str(), bytes, digest.hex()));
        }
        let files = files.iter();
        Ok(Digest::of_files(files.map(|(path, bytes, digest)| {
            (*path, *bytes, digest.as_str())
        })))
    }
}
