//! Finding models in files and folders.

mod bundle;
mod conversion;
mod ensemble;
pub(crate) mod given;
pub(crate) mod reshape;
pub(crate) mod triton;

use std::path::{Component, Path, PathBuf};

use thiserror::Error;
use tidegate_core::{ModelName, is_in_content_store};
use tidegate_engines::{artifact_in, is_artifact};

pub(crate) use self::bundle::cached;
pub use self::bundle::parse_manifest;
pub use self::conversion::conversion_hint;
pub use self::ensemble::declared as declared_by_triton;
pub use self::given::GivenModel;
use crate::VersionPlan;

/// A model that was found in a folder.
#[derive(Clone, Debug)]
pub(crate) struct FoundModel {
    pub(crate) name: String,
    /// The versions to serve, ascending, or why they cannot be read.
    pub(crate) versions: Result<Vec<VersionPlan>, SourceError>,
}

/// Why a path is not a model.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}: {problem}", path.display())]
pub struct SourceError {
    path: PathBuf,
    problem: String,
}

impl SourceError {
    pub(crate) fn new(path: &Path, problem: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }
}

/// The models under a path: an ONNX file, a bundle, a Triton model, or a folder of those.
///
/// # Errors
/// If nothing there looks like a model.
pub(crate) fn find(path: &Path) -> Result<Vec<FoundModel>, SourceError> {
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if metadata.is_file() {
        return Ok(vec![file(path)?]);
    }
    if let Some(model) = folder(path) {
        return Ok(vec![model]);
    }
    let mut models = Vec::new();
    for entry in entries(path)? {
        if entry.is_dir() {
            models.extend(folder(&entry));
        } else if is_artifact(&entry) {
            let stem = entry.file_stem().unwrap_or_default().to_string_lossy();
            models.push(file(&entry).unwrap_or_else(|error| unnamed(&stem, error)));
        }
    }
    if models.is_empty() {
        let mut problem = "no model found: expected an ONNX file, a folder with model.toml or config.pbtxt, or NAME/1/model.onnx".to_owned();
        if let Some((file, hint)) = first_hint(path) {
            problem = format!("{problem}; there is {file}: {hint}");
        }
        return Err(SourceError::new(path, problem));
    }
    Ok(models)
}

/// Whether a path is one model, and not a folder of models.
pub(crate) fn is_model(path: &Path) -> bool {
    path.is_file() || folder(path).is_some()
}

/// A file of another format in a folder without models, and how to convert it.
fn first_hint(folder: &Path) -> Option<(String, String)> {
    let files = entries(folder).ok()?;
    files.iter().find_map(|file| {
        let name = file.file_name()?.to_string_lossy().into_owned();
        Some((name, conversion_hint(file)?))
    })
}

/// The names of the models under a path, and the file or folder of each; none if nothing there looks
/// like a model.
pub(crate) fn places(path: &Path) -> Vec<(String, PathBuf)> {
    let place = |path: &Path| {
        let model = if path.is_dir() {
            folder(path)
        } else {
            file(path).ok()
        };
        model.map(|model| (model.name, path.to_owned()))
    };
    if let Some(model) = place(path) {
        return vec![model];
    }
    let entries = entries(path).unwrap_or_default();
    entries.iter().filter_map(|entry| place(entry)).collect()
}

/// The names of the models under a path and the artifacts they would be loaded from.
///
/// # Errors
/// If nothing there looks like a model, or a model cannot be read.
pub fn scan(path: &Path) -> Result<Vec<(String, Vec<VersionPlan>)>, SourceError> {
    find(path)?
        .into_iter()
        .map(|model| Ok((model.name, model.versions?)))
        .collect()
}

fn file(path: &Path) -> Result<FoundModel, SourceError> {
    if !is_artifact(path) {
        let hint = conversion_hint(path);
        let hint = hint.unwrap_or_else(|| "export the model to ONNX first".to_owned());
        return Err(SourceError::new(
            path,
            format!("is not an ONNX file; {hint}"),
        ));
    }
    let stem = path
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default();
    let versions = bundle::bare(path).map(|plan| vec![plan]);
    Ok(FoundModel {
        name: model_name(path, &stem)?,
        versions,
    })
}

/// A model whose folder this is; `None` if it is not one.
fn folder(path: &Path) -> Option<FoundModel> {
    // `.` and symbolic links have the name of the folder that they stand for.
    let name = folder_name(path)?;
    let (name, versions) = if path.join("model.toml").is_file() {
        bundle::read(path, &name)
    } else if path.join("config.pbtxt").is_file() || triton::has_versions(path) {
        triton::read(path, &name)
    } else if let Some(artifact) = artifact_in(path) {
        (name, bundle::bare(&artifact).map(|plan| vec![plan]))
    } else {
        return None;
    };
    match model_name(path, &name) {
        Ok(name) => Some(FoundModel { name, versions }),
        // Reported, not skipped: somebody put the folder there to be served.
        Err(error) => Some(unnamed(&name, error)),
    }
}

/// A model whose name cannot be one. It is shown as failed, beside others that are served.
fn unnamed(name: &str, error: SourceError) -> FoundModel {
    FoundModel {
        name: name.escape_default().to_string(),
        versions: Err(error),
    }
}

/// The name of a folder as it is written. Links are not followed: what they lead to has another
/// name, such as a digest, and may have no path that means anything here.
fn folder_name(path: &Path) -> Option<String> {
    let name = match path.file_name() {
        Some(name) => name.to_owned(),
        // "." and "..", and the root, which has none.
        None => path.canonicalize().ok()?.file_name()?.to_owned(),
    };
    Some(name.to_string_lossy().into_owned())
}

fn model_name(path: &Path, name: &str) -> Result<String, SourceError> {
    let name: Result<ModelName, _> = name.parse();
    name.map(ModelName::into_string)
        .map_err(|error| SourceError::new(path, error.to_string()))
}

/// The path of a file that a bundle names. It must be a file inside of the bundle, also after
/// symbolic links are followed: a bundle is not trusted with other files of this machine. Links into
/// the stores of [`is_in_content_store`] are those of hub caches and of DVC.
pub(crate) fn inside(folder: &Path, file: &str) -> Result<PathBuf, SourceError> {
    let path = folder.join(file);
    match problem_inside(folder, &path) {
        None => Ok(path),
        Some(problem) => {
            let problem = format!("\"{}\" {problem}", file.escape_default());
            Err(SourceError::new(folder, problem))
        }
    }
}

fn problem_inside(folder: &Path, path: &Path) -> Option<String> {
    let Ok(below) = path.strip_prefix(folder) else {
        return Some("is outside of the bundle".to_owned());
    };
    let is_below = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    if !below.components().all(is_below) {
        return Some("is outside of the bundle".to_owned());
    }
    match std::fs::metadata(path) {
        Err(error) => return Some(format!("cannot be read: {error}")),
        Ok(file) if !file.is_file() => return Some("is not a file".to_owned()),
        Ok(_) => {}
    }
    let leads_inside = !has_link(folder, below)
        || match (path.canonicalize(), folder.canonicalize()) {
            (Ok(real), Ok(root)) => real.starts_with(root) || is_in_content_store(&real),
            _ => false,
        };
    (!leads_inside).then(|| "is outside of the bundle".to_owned())
}

/// Whether a path below a folder goes through a symbolic link. The folder itself may be one, also one
/// whose real path means nothing here: `/proc/PID/root` of another container.
fn has_link(folder: &Path, below: &Path) -> bool {
    let mut path = folder.to_owned();
    below.components().any(|part| {
        path.push(part);
        path.is_symlink()
    })
}

/// A small text file. Larger ones are not read: an artifact under the wrong name would fill the
/// memory.
fn read_text(path: &Path) -> Result<String, SourceError> {
    const MAX_BYTES: u64 = 1 << 20;
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    let length = metadata.len();
    if length > MAX_BYTES {
        let problem = format!("has {length} bytes, at most {MAX_BYTES} are read");
        return Err(SourceError::new(path, problem));
    }
    std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &std::io::Error) -> SourceError {
    SourceError::new(path, format!("cannot be read: {error}"))
}

/// One class name per line.
pub(crate) fn read_labels(folder: &Path, file: &str) -> Result<Vec<String>, SourceError> {
    Ok(read_text(&inside(folder, file)?)?
        .lines()
        .map(|line| line.trim().to_owned())
        .collect())
}

/// The entries of a folder in the order of their names, without hidden ones.
pub(crate) fn entries(path: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|error| unreadable(path, &error))? {
        let entry = entry.map_err(|error| unreadable(path, &error))?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            entries.push(entry.path());
        }
    }
    // The file system gives any order, and of two models of one name the first is served.
    entries.sort();
    Ok(entries)
}

#[cfg(test)]
mod tests;
