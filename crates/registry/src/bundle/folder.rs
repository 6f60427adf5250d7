//! Walking an untrusted folder.

use std::io::Read;
use std::path::Path;

use super::limits::too_large;
use super::{BundleFile, BundleLimits, Source};
use crate::{Error, ErrorCode, Result};

/// The plain files under a folder, without hidden ones. Links and special files are refused, not
/// followed, but for links into a store of [`tidegate_core::is_in_content_store`].
pub(crate) fn walk(root: &Path, limits: &BundleLimits) -> Result<Vec<BundleFile>> {
    let mut files = Vec::new();
    let mut open = vec![(root.to_owned(), String::new(), 0)];
    while let Some((folder, prefix, depth)) = open.pop() {
        if depth > limits.max_depth {
            return Err(too_large(format!(
                "{} is deeper than {} folders",
                folder.display(),
                limits.max_depth
            )));
        }
        for entry in std::fs::read_dir(&folder).map_err(|error| Error::file(&folder, &error))? {
            let entry = entry.map_err(|error| Error::file(&folder, &error))?;
            let path = entry.path();
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
                let problem = format!("{} has a name that is not UTF-8", path.display());
                return Err(Error::new(ErrorCode::UnsafePath, problem));
            };
            // Editors, version control and desktops leave hidden files that no model needs.
            if name.starts_with('.') {
                continue;
            }
            let kind = entry
                .file_type()
                .map_err(|error| Error::file(&path, &error))?;
            if kind.is_dir() {
                open.push((path, format!("{prefix}{name}/"), depth + 1));
            } else if kind.is_file() || (kind.is_symlink() && leads_into_content_store(&path)) {
                files.push(BundleFile::new(format!("{prefix}{name}"), path));
            } else {
                let what = if kind.is_symlink() {
                    "is a symbolic link"
                } else {
                    "is not a regular file"
                };
                return Err(Error::new(
                    ErrorCode::UnsafePath,
                    format!("{} {what}", path.display()),
                ));
            }
            // Checked while walking: a folder with millions of files must not fill the memory
            // first.
            if files.len() > limits.max_files {
                let problem = format!(
                    "{} has more than {} files",
                    root.display(),
                    limits.max_files
                );
                return Err(too_large(problem));
            }
        }
    }
    Ok(files)
}

/// Whether a link is one that a hub cache or DVC made.
fn leads_into_content_store(link: &Path) -> bool {
    let real = link.canonicalize();
    real.is_ok_and(|real| real.is_file() && tidegate_core::is_in_content_store(&real))
}

/// The text of the manifest, read within its limit even if the file grows meanwhile.
pub(super) fn read_manifest(file: &BundleFile, limits: &BundleLimits) -> Result<String> {
    let Source::File(path) = &file.source else {
        return Err(Error::new(
            ErrorCode::InvalidBundle,
            "the manifest is not a file",
        ));
    };
    let mut text = Vec::new();
    let reader = std::fs::File::open(path).map_err(|error| Error::file(path, &error))?;
    let read = reader
        // One byte more than allowed, to tell a file at the limit from one beyond it.
        .take(limits.max_manifest_bytes + 1)
        .read_to_end(&mut text);
    read.map_err(|error| Error::file(path, &error))?;
    if text.len() as u64 > limits.max_manifest_bytes {
        let most = limits.max_manifest_bytes;
        return Err(too_large(format!(
            "{} has more than {most} bytes",
            path.display()
        )));
    }
    String::from_utf8(text).map_err(|error| {
        Error::new(
            ErrorCode::InvalidBundle,
            format!("{}: {error}", path.display()),
        )
    })
}
