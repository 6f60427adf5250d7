//! Finding models in files and folders.

mod bundle;
pub(crate) mod triton;

use std::path::{Path, PathBuf};

use thiserror::Error;
use tidegate_core::{EngineChoice, ModelName};

pub(crate) use self::bundle::cached;
pub use self::bundle::parse_manifest;
use crate::VersionPlan;

/// A model that was found, with the versions to serve, ascending.
#[derive(Clone, Debug)]
pub(crate) struct FoundModel {
    pub(crate) name: String,
    /// What to serve, or why it cannot be read.
    pub(crate) versions: Result<Vec<VersionPlan>, SourceError>,
}

/// Why a path is no model.
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
    let metadata = std::fs::metadata(path)
        .map_err(|error| SourceError::new(path, format!("cannot be read: {error}")))?;
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
        } else if is_onnx(&entry) {
            models.push(file(&entry)?);
        }
    }
    if models.is_empty() {
        return Err(SourceError::new(
            path,
            "there is no model here: expected an .onnx file, a folder with model.toml or config.pbtxt, or NAME/1/model.onnx",
        ));
    }
    Ok(models)
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
    if !is_onnx(path) {
        return Err(SourceError::new(path, "is no .onnx file"));
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

/// A folder that is a model itself; `None` if it is not.
fn folder(path: &Path) -> Option<FoundModel> {
    let name = path
        .canonicalize()
        .ok()?
        .file_name()?
        .to_string_lossy()
        .into_owned();
    let (name, versions) = if path.join("model.toml").is_file() {
        bundle::read(path, &name)
    } else if path.join("config.pbtxt").is_file() || triton::has_versions(path) {
        triton::read(path, &name)
    } else if path.join("model.onnx").is_file() {
        (
            name,
            bundle::bare(&path.join("model.onnx")).map(|plan| vec![plan]),
        )
    } else {
        return None;
    };
    match model_name(path, &name) {
        Ok(name) => Some(FoundModel { name, versions }),
        Err(error) => Some(FoundModel {
            name: name.escape_default().to_string(),
            versions: Err(error),
        }),
    }
}

fn model_name(path: &Path, name: &str) -> Result<String, SourceError> {
    let name: Result<ModelName, _> = name.parse();
    name.map(ModelName::into_string)
        .map_err(|error| SourceError::new(path, error.to_string()))
}

/// A file that a bundle names, which must lie inside of it.
pub(crate) fn inside(folder: &Path, file: &str) -> Result<PathBuf, SourceError> {
    let path = folder.join(file);
    let problem = |problem: String| {
        SourceError::new(folder, format!("\"{}\" {problem}", file.escape_default()))
    };
    let real = path
        .canonicalize()
        .map_err(|error| problem(format!("cannot be read: {error}")))?;
    let root = folder
        .canonicalize()
        .map_err(|error| problem(format!("cannot be read: {error}")))?;
    if !real.starts_with(&root) {
        return Err(problem("lies outside of the bundle".to_owned()));
    }
    if !real.is_file() {
        return Err(problem("is no file".to_owned()));
    }
    Ok(path)
}

/// A small text file, bounded against a file that only looks like one.
fn read_text(path: &Path) -> Result<String, SourceError> {
    const MAX_BYTES: u64 = 1 << 20;
    let fail = |problem: String| SourceError::new(path, problem);
    let length = std::fs::metadata(path)
        .map_err(|error| fail(format!("cannot be read: {error}")))?
        .len();
    if length > MAX_BYTES {
        return Err(fail(format!(
            "has {length} bytes, at most {MAX_BYTES} are read"
        )));
    }
    std::fs::read_to_string(path).map_err(|error| fail(format!("cannot be read: {error}")))
}

/// One class name per line.
fn read_labels(folder: &Path, file: &str) -> Result<Vec<String>, SourceError> {
    Ok(read_text(&inside(folder, file)?)?
        .lines()
        .map(|line| line.trim().to_owned())
        .collect())
}

/// The entries of a folder in the order of their names, without hidden ones.
fn entries(path: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let fail = |error: std::io::Error| SourceError::new(path, format!("cannot be read: {error}"));
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            entries.push(entry.path());
        }
    }
    entries.sort();
    Ok(entries)
}

fn is_onnx(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "onnx")
}

/// The engine that Triton's `backend` or `platform` stands for.
fn triton_engine() -> EngineChoice {
    EngineChoice::Auto
}

#[cfg(test)]
mod tests;
