//! Finding the files that globs, folders and paths mean.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::Format;
use crate::error::{BatchError, Result};

/// A file that was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FoundFile {
    pub(crate) path: PathBuf,
    /// The folders `key=value` that it lies in, below where the search began: `dt=2026-11-01/`, or
    /// nothing.
    pub(crate) partition: String,
}

/// Characters that make a path a pattern.
const PATTERN: [char; 3] = ['*', '?', '['];

/// The files of all inputs, each once, in the order of their paths. Hidden files, and those that begin
/// with `_` as the notes of Spark and of this crate do, are not data.
pub(crate) fn find(inputs: &[String], format: Option<Format>) -> Result<Vec<FoundFile>> {
    let mut all = BTreeSet::new();
    for input in inputs {
        let found = find_one(input, format)?;
        if found.is_empty() {
            return Err(BatchError::Request(format!(
                "no file matches the input {input:?}: there must be files that end in {}",
                Format::ENDINGS
            )));
        }
        all.extend(found);
    }
    Ok(all.into_iter().collect())
}

fn find_one(input: &str, format: Option<Format>) -> Result<Vec<FoundFile>> {
    if input.contains("://") {
        let problem = format!("the input {input:?} is not a path: this release reads local files");
        return Err(BatchError::Request(problem));
    }
    let path = Path::new(input);
    // A path that exists is itself, also if it has characters of patterns.
    if path.is_file() {
        return Ok(vec![found(path.to_owned(), &parent_root(path))]);
    }
    if path.is_dir() {
        return in_folder(path, path, format);
    }
    if !input.contains(PATTERN) {
        let problem = match std::fs::metadata(path) {
            Err(error) => format!("cannot be read: {error}"),
            Ok(_) => "is neither a file nor a folder".to_owned(),
        };
        return Err(BatchError::input(path, problem));
    }
    let root = pattern_root(path);
    let mut files = Vec::new();
    for path in matches(input)? {
        if path.is_dir() {
            files.extend(in_folder(&path, &root, format)?);
        } else if is_data(path.strip_prefix(&root).unwrap_or(&path)) {
            files.push(found(path, &root));
        }
    }
    Ok(files)
}

/// The folders `key=value` of a file that is named by its path count, too.
fn parent_root(path: &Path) -> PathBuf {
    let mut root = path.parent().unwrap_or(Path::new("")).to_owned();
    while root
        .file_name()
        .is_some_and(|name| is_partition(&name.to_string_lossy()))
    {
        root.pop();
    }
    root
}

/// The part of a pattern that is no pattern.
fn pattern_root(pattern: &Path) -> PathBuf {
    let plain = pattern.components().take_while(|part| {
        let text = part.as_os_str().to_string_lossy();
        !text.contains(PATTERN) && !is_partition(&text)
    });
    plain.collect()
}

fn in_folder(folder: &Path, root: &Path, format: Option<Format>) -> Result<Vec<FoundFile>> {
    let pattern = Path::new(&glob::Pattern::escape(&folder.to_string_lossy())).join("**/*");
    let mut files = Vec::new();
    for path in matches(&pattern.to_string_lossy())? {
        let below = path.strip_prefix(folder).unwrap_or(&path);
        let is_wanted = format.is_some() || Format::of(&path).is_some();
        if is_wanted && is_data(below) && path.is_file() {
            files.push(found(path, root));
        }
    }
    Ok(files)
}

fn matches(pattern: &str) -> Result<Vec<PathBuf>> {
    let paths = glob::glob(pattern)
        .map_err(|error| BatchError::Request(format!("the input {pattern:?}: {error}")))?;
    let mut found = Vec::new();
    for path in paths {
        // A folder that cannot be listed may hide rows: silence would lose them.
        let path = path.map_err(|error| BatchError::unreadable(error.path(), error.error()))?;
        found.push(path);
    }
    Ok(found)
}

fn is_data(below: &Path) -> bool {
    !below.components().any(is_hidden)
}

fn is_hidden(part: Component<'_>) -> bool {
    let name = part.as_os_str().to_string_lossy();
    // `_c=1` is a partition of a column that begins so.
    name.starts_with('.') || (name.starts_with('_') && !is_partition(&name))
}

fn is_partition(name: &str) -> bool {
    name.split_once('=').is_some_and(|(key, _)| !key.is_empty())
}

fn found(path: PathBuf, root: &Path) -> FoundFile {
    let below = path.strip_prefix(root).unwrap_or(&path);
    let mut partition = String::new();
    for part in below.parent().unwrap_or(Path::new("")).components() {
        let name = part.as_os_str().to_string_lossy();
        if is_partition(&name) {
            partition.push_str(&name);
            partition.push('/');
        }
    }
    FoundFile { path, partition }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "these are tests")]

    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        folder
    }

    fn partitions(root: &Path, input: &str) -> Vec<(String, String)> {
        let input = root.join(input).to_string_lossy().into_owned();
        let files = find(&[input], None).unwrap();
        let shown = files.into_iter().map(|file| {
            let below = file.path.strip_prefix(root).unwrap();
            (below.to_string_lossy().into_owned(), file.partition)
        });
        shown.collect()
    }

    #[test]
    fn folders_and_globs_find_data_with_its_partitions_in_order() {
        let folder = tree(&[
            "tx/dt=2/b.parquet",
            "tx/dt=1/hour=3/a.parquet",
            "tx/dt=1/_SUCCESS",
            "tx/_tidegate/x.parquet",
            "tx/.hidden.parquet",
            "tx/notes.txt",
        ]);
        let all = [
            ("tx/dt=1/hour=3/a.parquet".into(), "dt=1/hour=3/".into()),
            ("tx/dt=2/b.parquet".into(), "dt=2/".into()),
        ];
        assert_eq!(partitions(folder.path(), "tx"), all);
        assert_eq!(partitions(folder.path(), "tx/**/*.parquet"), all);
        assert_eq!(partitions(folder.path(), "tx/dt=*"), all);
        assert_eq!(partitions(folder.path(), "tx/dt=2/*.parquet"), all[1..]);
        assert_eq!(partitions(folder.path(), "tx/dt=2/b.parquet"), all[1..]);
    }

    #[test]
    fn a_file_that_two_inputs_name_is_read_once() {
        let folder = tree(&["a.csv"]);
        let inputs = ["*.csv", "a.csv"].map(|name| {
            let path = folder.path().join(name);
            path.to_string_lossy().into_owned()
        });
        assert_eq!(find(&inputs, None).unwrap().len(), 1);
    }

    #[test]
    fn an_input_without_files_is_an_error() {
        let folder = tree(&["notes.txt"]);
        let input = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        for name in ["", "*.parquet", "none/*.csv"] {
            let error = find(&[input(name)], None).unwrap_err().to_string();
            assert!(error.contains("no file matches"), "{error}");
        }
        let error = find(&[input("a.csv")], None).unwrap_err().to_string();
        assert!(error.contains("cannot be read: No such file"), "{error}");
    }
}
