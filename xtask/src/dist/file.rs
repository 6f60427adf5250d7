//! A file inside a package.

/// The permissions of programs and scripts.
pub(super) const EXECUTABLE: u32 = 0o755;
/// The permissions of all other files.
pub(super) const READABLE: u32 = 0o644;

/// A file inside a package.
pub(super) struct PackedFile {
    /// Relative, with `/` between folders.
    pub(super) path: String,
    pub(super) mode: u32,
    pub(super) contents: Vec<u8>,
}

impl PackedFile {
    pub(super) fn readable(path: impl Into<String>, contents: impl Into<Vec<u8>>) -> Self {
        Self {
            path: path.into(),
            mode: READABLE,
            contents: contents.into(),
        }
    }

    pub(super) fn executable(path: impl Into<String>, contents: impl Into<Vec<u8>>) -> Self {
        Self {
            mode: EXECUTABLE,
            ..Self::readable(path, contents)
        }
    }
}
