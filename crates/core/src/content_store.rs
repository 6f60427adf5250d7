//! Files of stores that name their files by content.

use std::ffi::OsStr;
use std::path::Path;

/// Whether a file, whose links have been followed, is one of a store that people's folders link to:
/// the hub cache of Hugging Face (`blobs/HASH`), the cache of DVC (`files/md5/ab/HASH`) and their
/// like. A model may be a link to such a file, though it lies outside of the model's folder; a link
/// to any other file could be a trap in a folder that came from elsewhere.
///
/// ```
/// use tidegate_core::is_in_content_store;
///
/// assert!(is_in_content_store("/hub/models--a--b/blobs/0f3a".as_ref()));
/// assert!(is_in_content_store(
///     "/repo/.dvc/cache/files/md5/ab/54d2b1f0c3a9e8d7b6a5948372615f".as_ref()
/// ));
/// assert!(!is_in_content_store("/etc/passwd".as_ref()));
/// ```
pub fn is_in_content_store(file: &Path) -> bool {
    // The rest of a SHA-1, MD5 or longer digest whose first two digits name the folder.
    const LEAST_DIGITS: usize = 30;
    let is_digest = file
        .file_name()
        .and_then(OsStr::to_str)
        .is_some_and(|name| {
            name.len() >= LEAST_DIGITS && name.bytes().all(|letter| letter.is_ascii_hexdigit())
        });
    let folder = file.parent().and_then(Path::file_name);
    is_digest || folder == Some(OsStr::new("blobs"))
}
