//! Models that a load brings with it: another configuration for a folder, or files of its own.
//!
//! Triton's model repository extension: the parameter `config` has a model configuration in JSON, and
//! `file:1/model.onnx` the content of a file.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use tidegate_protocol::model_config;

use super::{FoundModel, SourceError, entries, folder_name, triton};

/// What a load has beside the name of the model.
#[derive(Debug, Default)]
pub struct GivenModel {
    /// A model configuration in JSON.
    pub config: Option<String>,
    /// Files by their paths in the model's folder, such as `1/model.onnx`.
    pub files: Vec<(String, bytes::Bytes)>,
}

impl GivenModel {
    /// Whether the model is loaded from its folder as it is.
    pub fn is_empty(&self) -> bool {
        self.config.is_none() && self.files.is_empty()
    }
}

/// The model that was given, from its files or else from its folder below one of `roots`.
pub(crate) fn find(
    name: &str,
    roots: &[PathBuf],
    given: &GivenModel,
) -> Result<FoundModel, SourceError> {
    let here = Path::new(name);
    let config = match &given.config {
        Some(text) => model_config::parse_json(text)
            .map_err(|error| SourceError::new(here, format!("parameter config: {error}")))?,
        None => {
            return Err(SourceError::new(
                here,
                "files are only loaded together with a config",
            ));
        }
    };
    super::model_name(here, name)?;
    triton::check(&config, name).map_err(|problem| SourceError::new(here, problem))?;
    if given.files.is_empty() {
        let folder = folder_of(name, roots)
            .ok_or_else(|| SourceError::new(here, "has no folder of version folders"))?;
        return Ok(FoundModel {
            name: name.to_owned(),
            versions: triton::plans(&folder, Some(config)),
        });
    }
    let folder = write(&given.files).map_err(|problem| SourceError::new(here, problem))?;
    let folder = Arc::new(folder);
    let versions = triton::plans(folder.path(), Some(config)).map(|mut plans| {
        for plan in &mut plans {
            plan.given = Some(folder.clone());
        }
        plans
    });
    Ok(FoundModel {
        name: name.to_owned(),
        versions,
    })
}

/// The folder of a model of Triton's layout.
fn folder_of(name: &str, roots: &[PathBuf]) -> Option<PathBuf> {
    let is_named = |path: &Path| folder_name(path).as_deref() == Some(name);
    let below = roots.iter().filter_map(|root| entries(root).ok()).flatten();
    let mut candidates = roots.iter().cloned().chain(below);
    candidates.find(|path| path.is_dir() && is_named(path) && triton::has_versions(path))
}

fn write(files: &[(String, bytes::Bytes)]) -> Result<tempfile::TempDir, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    for (file, content) in files {
        let shown: String = file
            .chars()
            .take(128)
            .flat_map(char::escape_default)
            .collect();
        let is_below = Path::new(file)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if file.is_empty() || !is_below {
            return Err(format!("file \"{shown}\" is outside of the model's folder"));
        }
        let path = folder.path().join(file);
        let parent = path.parent().unwrap_or(folder.path());
        std::fs::create_dir_all(parent)
            .and_then(|()| std::fs::write(&path, content))
            .map_err(|error| format!("file \"{shown}\" cannot be written: {error}"))?;
    }
    Ok(folder)
}
