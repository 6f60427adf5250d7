//! Bundles: folders with a `model.toml`, and bare artifacts, whose manifest is all defaults.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use tidegate_core::{EngineChoice, Manifest};
use tidegate_engines::REMOTE;
use tidegate_registry::CachedVersion;

use super::{SourceError, inside, read_labels, read_text};
use crate::VersionPlan;

/// Reads a bundle: its name, and its single version or why it cannot be read.
pub(super) fn read(
    folder: &Path,
    folder_name: &str,
) -> (String, Result<Vec<VersionPlan>, SourceError>) {
    match manifest(folder) {
        Ok(manifest) => {
            let name = if manifest.name.is_empty() {
                folder_name.to_owned()
            } else {
                manifest.name.clone()
            };
            (name, plan(folder, manifest).map(|plan| vec![plan]))
        }
        Err(error) => (folder_name.to_owned(), Err(error)),
    }
}

/// An artifact without a manifest.
pub(super) fn bare(artifact: &Path) -> Result<VersionPlan, SourceError> {
    let file = artifact
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let manifest = Manifest {
        artifact: file,
        ..Manifest::default()
    };
    Ok(VersionPlan::new(manifest, artifact.to_owned()))
}

/// A version of the registry, whose files are in the local cache.
pub(crate) fn cached(files: CachedVersion) -> Result<VersionPlan, SourceError> {
    let plan = plan(files.path(), manifest(files.path())?)?;
    let number = u64::try_from(files.version().number).unwrap_or_default();
    Ok(VersionPlan {
        number,
        files: Some(Arc::new(files)),
        ..plan
    })
}

fn manifest(folder: &Path) -> Result<Manifest, SourceError> {
    let path = folder.join("model.toml");
    parse_manifest(&read_text(&path)?).map_err(|problem| SourceError::new(&path, problem))
}

/// Reads the text of a `model.toml`.
///
/// ```
/// let manifest = tidegate_serving::parse_manifest("artifact = \"fraud.onnx\"").unwrap();
/// assert_eq!(manifest.artifact, "fraud.onnx");
/// ```
///
/// # Errors
/// What is wrong and where.
pub fn parse_manifest(text: &str) -> Result<Manifest, String> {
    let manifest: Manifest = toml::from_str(text).map_err(|error| {
        let start = error.span().map(|span| span.start);
        Manifest::problem(text, start, error.message())
    })?;
    if manifest.schema != Manifest::SCHEMA {
        return Err(format!(
            "schema {} is unknown, this build reads {}",
            manifest.schema,
            Manifest::SCHEMA
        ));
    }
    // Here, so that a misspelt engine shows when the bundle is read and not when it first loads.
    tidegate_engines::check_name(&manifest.engine).map_err(|error| error.to_string())?;
    check_remote(&manifest)?;
    check_graph(&manifest)?;
    Ok(manifest)
}

/// The section and the engine belong together: one without the other is a mistake.
fn check_remote(manifest: &Manifest) -> Result<(), String> {
    let is_chosen = manifest.engine.name() == REMOTE;
    if is_chosen && manifest.sequences.is_some() {
        let problem = "[sequences] needs an engine of this server: requests to other servers are \
                       tried again, and each of them keeps states of its own";
        return Err(problem.to_owned());
    }
    match (is_chosen, &manifest.remote) {
        (true, None) => Err("engine = \"remote\" needs a section [remote]".to_owned()),
        (false, Some(_)) => Err("a section [remote] needs engine = \"remote\"".to_owned()),
        _ => Ok(()),
    }
}

/// A graph runs other models, each on an engine of its own.
fn check_graph(manifest: &Manifest) -> Result<(), String> {
    if manifest.graph.is_some() && manifest.sequences.is_some() {
        return Err("[sequences] goes with a model, and a section [graph] has many".to_owned());
    }
    let has_default = manifest.engine == EngineChoice::Auto && manifest.remote.is_none();
    match manifest.graph.is_some() && !has_default {
        true => Err("a section [graph] goes with no engine: its models have their own".to_owned()),
        false => Ok(()),
    }
}

fn plan(folder: &Path, manifest: Manifest) -> Result<VersionPlan, SourceError> {
    let artifact = inside(folder, manifest.artifact_file())?;
    let mut labels = HashMap::new();
    for output in &manifest.outputs {
        if let Some(file) = &output.labels {
            labels.insert(output.name.clone(), read_labels(folder, file)?);
        }
    }
    Ok(VersionPlan {
        labels,
        ..VersionPlan::new(manifest, artifact)
    })
}
