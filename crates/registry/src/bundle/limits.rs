//! Limits of bundles from every source: a folder, an archive, another registry.

use std::collections::BTreeSet;

use crate::{Error, ErrorCode, Result};

/// Limits of a bundle. The defaults are far above what a model needs, and far below what could
/// exhaust a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleLimits {
    /// Files.
    pub max_files: usize,
    /// Bytes of all files together.
    pub max_bytes: u64,
    /// Bytes of `model.toml`.
    pub max_manifest_bytes: u64,
    /// The depth of nested folders.
    pub max_depth: usize,
    /// Bytes of one path.
    pub max_path_bytes: usize,
}

impl Default for BundleLimits {
    fn default() -> Self {
        Self {
            max_files: 10_000,
            max_bytes: 1 << 40,
            max_manifest_bytes: 1 << 20,
            max_depth: 16,
            max_path_bytes: 512,
        }
    }
}

/// Checks paths and sizes against the limits.
pub(crate) fn check_files<'a>(
    files: impl Iterator<Item = (&'a str, u64)>,
    limits: &BundleLimits,
) -> Result<()> {
    let (mut seen, mut total) = (BTreeSet::new(), 0u64);
    for (path, bytes) in files {
        check_path(path, limits)?;
        if path == super::MANIFEST && bytes > limits.max_manifest_bytes {
            let most = limits.max_manifest_bytes;
            return Err(too_large(format!(
                "{path} has {bytes} bytes, at most {most} are read"
            )));
        }
        // Some file systems ignore case: there, the second file would overwrite the first.
        if !seen.insert(path.to_lowercase()) {
            let problem = format!(
                "file \"{path}\" is there twice, or differs from another one in capital letters only"
            );
            return Err(Error::new(ErrorCode::UnsafePath, problem));
        }
        // Sizes may come from an archive's headers, which can say anything: the sum must not wrap.
        total = total.saturating_add(bytes);
    }
    if seen.len() > limits.max_files {
        return Err(too_large(format!(
            "there are {} files, the maximum is {}",
            seen.len(),
            limits.max_files
        )));
    }
    if total > limits.max_bytes {
        return Err(too_large(format!(
            "the files have {total} bytes, the maximum is {}",
            limits.max_bytes
        )));
    }
    let folders: BTreeSet<String> = seen.iter().flat_map(|path| parents(path)).collect();
    if let Some(both) = folders.iter().find(|folder| seen.contains(*folder)) {
        return Err(Error::new(
            ErrorCode::UnsafePath,
            format!("\"{both}\" is both a file and a folder"),
        ));
    }
    Ok(())
}

/// A path inside of a bundle: relative, of plain names, the same on every system.
pub(crate) fn check_path(path: &str, limits: &BundleLimits) -> Result<()> {
    if path.is_empty() || path.len() > limits.max_path_bytes {
        return Err(unsafe_path(path, "is empty or too long"));
    }
    // `\\` separates folders on Windows and `:` names drives and streams there.
    if path.starts_with('/')
        || path.contains(['\\', ':', '\0'])
        || path.chars().any(char::is_control)
    {
        return Err(unsafe_path(
            path,
            "is absolute, or has characters that are not portable",
        ));
    }
    if path.split('/').any(is_unsafe_part) {
        return Err(unsafe_path(
            path,
            "leads out of the bundle, or has a part that is not portable",
        ));
    }
    if path.split('/').count() > limits.max_depth {
        let problem = format!(
            "path \"{path}\" is deeper than {} folders",
            limits.max_depth
        );
        return Err(too_large(problem));
    }
    Ok(())
}

fn is_unsafe_part(part: &str) -> bool {
    // Windows drops dots and spaces at the end of a name, so that two names would become one.
    matches!(part, "" | "." | "..") || part.ends_with(['.', ' ']) || part.starts_with(' ')
}

fn unsafe_path(path: &str, problem: &str) -> Error {
    // The path comes from outside: it is shortened, and escaped against control characters in logs.
    let shown: String = path.chars().take(200).collect();
    Error::new(
        ErrorCode::UnsafePath,
        format!("path \"{}\" {problem}", shown.escape_default()),
    )
}

pub(super) fn too_large(problem: String) -> Error {
    Error::new(ErrorCode::TooLarge, problem)
}

fn parents(path: &str) -> Vec<String> {
    path.match_indices('/')
        .map(|(at, _)| path[..at].to_owned())
        .collect()
}
