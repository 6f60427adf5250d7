//! `SHA256SUMS`, as `sha256sum --check` reads it.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use sha2::{Digest, Sha256};

/// Writes the checksums of files in a folder.
pub(super) fn write(folder: &Path, files: &[PathBuf]) -> Result<()> {
    let mut lines = String::new();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        for byte in Sha256::digest(std::fs::read(file)?) {
            write!(lines, "{byte:02x}")?;
        }
        writeln!(lines, "  {name}")?;
    }
    std::fs::write(folder.join("SHA256SUMS"), lines)?;
    Ok(())
}
