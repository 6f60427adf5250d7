//! The newest rows of the log as they were from time to time, in a file beside the database.
//!
//! Whoever cuts off the end of the log, or computes it anew, must change this file too. A copy of
//! it on another machine makes that impossible to hide.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tidegate_store::AuditAnchor;

/// The name of the file in the data folder.
const FILE: &str = "audit-anchor";
/// Most lines; then the older half is removed.
const MAX_LINES: usize = 1000;

/// A file with one anchor a line, as JSON, the newest last.
#[derive(Clone, Debug)]
pub struct AuditAnchors {
    path: PathBuf,
}

impl AuditAnchors {
    /// The file in a data folder.
    pub fn in_folder(data: &Path) -> Self {
        Self::at(data.join(FILE))
    }

    /// The file at a path.
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The anchors; none if there is no file.
    ///
    /// # Errors
    /// If it cannot be read, or is not a file of anchors. A last line that a crash cut off is left
    /// out.
    pub fn read(&self) -> io::Result<Vec<AuditAnchor>> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).map_err(io::Error::from))
            .collect()
    }

    /// Adds an anchor, unless it is the newest already, and returns once it is on disk.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn append(&self, anchor: &AuditAnchor) -> io::Result<()> {
        let mut anchors = self.read()?;
        if anchors.last() == Some(anchor) {
            return Ok(());
        }
        anchors.push(anchor.clone());
        if anchors.len() > MAX_LINES {
            anchors.drain(..MAX_LINES / 2);
        }
        // Replaced whole or not at all: in the same folder, since a rename is atomic only there.
        // A name of its own: `tidegate audit verify` may write the file at the same time.
        let part = self
            .path
            .with_extension(format!("part-{}", std::process::id()));
        let mut file = File::create(&part)?;
        for anchor in &anchors {
            serde_json::to_writer(&mut file, anchor)?;
            file.write_all(b"\n")?;
        }
        // On the disk before the rename: after a power cut, the name must not lead to an empty
        // file.
        file.sync_all()?;
        std::fs::rename(&part, &self.path)
    }
}
