//! The bundles that `push` and `check` take: a file or folder in one of several forms.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tidegate_core::{Manifest, OutputSpec, Signature};
use tidegate_engines::Engines;
use tidegate_protocol::inference::ModelConfig;
use tidegate_registry::{Bundle, BundleFile, BundleLimits, Error, ErrorCode, Source};
use tidegate_serving::{VersionPlan, conversion_hint, declared_by_triton, scan};

use crate::output::eprint_line;

/// A bundle, and the plan by which its checks load it.
#[derive(Clone)]
pub(crate) struct BundleToCheck {
    pub(crate) bundle: Bundle,
    pub(crate) plan: VersionPlan,
    /// Keeps the files that were written for the checks.
    _folder: Option<Arc<tempfile::TempDir>>,
}

/// Reads the bundles at a path.
pub(crate) fn find(path: &Path, name: Option<&str>) -> Result<Vec<BundleToCheck>> {
    let limits = BundleLimits::default();
    // A model.toml says more than MLflow's file: where both exist, the folder is read as a bundle.
    if Bundle::is_mlflow(path) && !path.join("model.toml").exists() {
        return Ok(vec![from_mlflow(path, name, &limits)?]);
    }
    if path.is_file() || path.join("model.toml").is_file() {
        return Ok(vec![open(path, name, &limits)?]);
    }
    let models = scan(path)?;
    refuse_same_names(&models)?;
    if name.is_some() && models.len() > 1 {
        bail!(
            "{} has {} models: --name needs exactly one",
            path.display(),
            models.len()
        );
    }
    let mut bundles = Vec::new();
    for (model, plans) in models {
        for plan in plans {
            let bundle = convert(name.unwrap_or(&model), &plan, &limits)?;
            bundles.push(BundleToCheck {
                bundle,
                plan,
                _folder: None,
            });
        }
    }
    Ok(bundles)
}

/// Two models of one name would become versions of each other.
fn refuse_same_names(models: &[(String, Vec<VersionPlan>)]) -> Result<()> {
    let mut seen = BTreeMap::new();
    for (name, plans) in models {
        let artifact = plans.first().map(|plan| plan.artifact.display());
        let artifact = artifact.map_or_else(String::new, |path| path.to_string());
        if let Some(other) = seen.insert(name, artifact.clone()) {
            bail!("two models are named {name}: {other} and {artifact}; push them one by one");
        }
    }
    Ok(())
}

/// A bundle, or an artifact alone.
fn open(path: &Path, name: Option<&str>, limits: &BundleLimits) -> Result<BundleToCheck> {
    if path.is_file() && !tidegate_engines::is_artifact(path) {
        let hint = conversion_hint(path);
        bail!(
            "{} is not an ONNX file{}",
            path.display(),
            hint.map_or_else(String::new, |hint| format!("; {hint}"))
        );
    }
    let bundle = Bundle::open(path, name, limits)?;
    // Here, because a misspelt engine would otherwise show when a server loads the version.
    tidegate_engines::check_name(&bundle.manifest().engine)?;
    let artifact = match path.is_file() {
        true => path.to_owned(),
        false => path.join(bundle.manifest().artifact_file()),
    };
    let plan = VersionPlan::new(bundle.manifest().clone(), artifact);
    Ok(BundleToCheck {
        bundle,
        plan,
        _folder: None,
    })
}

fn from_mlflow(path: &Path, name: Option<&str>, limits: &BundleLimits) -> Result<BundleToCheck> {
    let (bundle, differences) = Bundle::open_mlflow(path, name, limits, signature_of)?;
    for difference in differences {
        eprint_line!("warning: {}: {difference}", path.display());
    }
    let folder = materialize(&bundle)?;
    let artifact = folder.path().join(&bundle.manifest().artifact);
    let plan = VersionPlan::new(bundle.manifest().clone(), artifact);
    Ok(BundleToCheck {
        bundle,
        plan,
        _folder: Some(Arc::new(folder)),
    })
}

fn signature_of(artifact: &Path) -> Result<Signature, Error> {
    Engines::summarize(artifact)
        .map_err(|error| error.to_string())
        .and_then(|summary| summary.signature)
        .map_err(|problem| Error::new(ErrorCode::InvalidBundle, problem))
}

/// Writes a bundle, some files of which exist in memory only, to a folder.
fn materialize(bundle: &Bundle) -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    for file in bundle.files() {
        let path = folder.path().join(&file.path);
        std::fs::create_dir_all(path.parent().context("a file is in a folder")?)?;
        match &file.source {
            Source::Bytes(bytes) => std::fs::write(&path, bytes)?,
            // A link costs nothing, but cannot point to another file system.
            Source::File(from) if !from.is_symlink() => std::fs::hard_link(from, &path)
                .or_else(|_| std::fs::copy(from, &path).map(|_| ()))?,
            // A hard link to a symbolic one would lead elsewhere.
            Source::File(from) => std::fs::copy(from, &path).map(|_| ())?,
        }
    }
    Ok(folder)
}

/// Makes a bundle of another form: a version of a Triton model, or an artifact in a folder.
fn convert(model: &str, plan: &VersionPlan, limits: &BundleLimits) -> Result<Bundle> {
    let mut manifest = Manifest {
        name: model.to_owned(),
        ..plan.manifest.clone()
    };
    // The artifact's path is relative to its folder, so it gives how far up that folder is.
    let depth = Path::new(manifest.artifact_file()).components().count();
    let folder = plan
        .artifact
        .ancestors()
        .nth(depth)
        .unwrap_or(Path::new("."));
    // A bundle is opened as a whole: it has more files than the artifact, such as samples.
    if plan.triton.is_none() && folder.join("model.toml").is_file() {
        return Ok(Bundle::open(folder, Some(model), limits)?);
    }
    if let Some(name) = plan.triton.as_ref().and_then(reshaped) {
        bail!(
            "{model}: \"{name}\" has a reshape in config.pbtxt, and a bundle has the shapes of the \
             model itself: remove it, and let clients send those"
        );
    }
    let mut files = Vec::new();
    if !plan.is_graph() {
        files.push(BundleFile::new(manifest.artifact.clone(), &plan.artifact));
        files.extend(weights(folder, plan)?);
    }
    if plan.triton.is_some() && !plan.is_graph() {
        // Large weights are in files of their own beside the artifact.
        for entry in std::fs::read_dir(folder)?.flatten() {
            let file = entry.file_name().to_string_lossy().into_owned();
            // Hidden files belong to editors and file systems. In a version they would change its
            // digest.
            let is_new = !files.iter().any(|other| other.path == file);
            if is_new && entry.file_type()?.is_file() && !file.starts_with('.') {
                files.push(BundleFile::new(file, entry.path()));
            }
        }
    }
    let mut labels: Vec<(&String, &Vec<String>)> = plan.labels.iter().collect();
    // Sorted, so that the same model always gives the same files, and with them the same digest.
    labels.sort();
    for (output, labels) in labels {
        // Numbered: the name of an output may hold characters that a file name may not.
        let file = format!("labels-{}.txt", manifest.outputs.len());
        files.push(BundleFile::made(
            file.clone(),
            format!("{}\n", labels.join("\n")).into_bytes(),
        ));
        manifest.outputs.push(OutputSpec {
            name: output.clone(),
            labels: Some(file),
        });
    }
    if let Some(config) = &plan.triton {
        manifest.signature = declared_by_triton(config);
    }
    Ok(Bundle::new(manifest, files, limits)?)
}

/// The files that the artifact's weights are in, which may be links in the cache of a hub.
fn weights(folder: &Path, plan: &VersionPlan) -> Result<Vec<BundleFile>> {
    // A file that cannot be read is refused by the checks, in words of their own.
    let Ok(summary) = Engines::summarize(&plan.artifact) else {
        return Ok(Vec::new());
    };
    let below = Path::new(&plan.manifest.artifact).parent();
    let beside = plan.artifact.parent().unwrap_or(folder);
    let files = summary.weight_files.into_iter().map(|file| {
        let path = below.unwrap_or(Path::new("")).join(&file);
        BundleFile::new(path.to_string_lossy(), beside.join(&file))
    });
    Ok(files.collect())
}

/// A tensor of a Triton configuration that clients see in another shape.
fn reshaped(config: &ModelConfig) -> Option<&str> {
    let inputs = config.input.iter();
    let inputs = inputs.filter_map(|input| input.reshape.as_ref().map(|_| &input.name));
    let outputs = config.output.iter();
    let mut outputs = outputs.filter_map(|output| output.reshape.as_ref().map(|_| &output.name));
    inputs
        .map(String::as_str)
        .next()
        .or_else(|| outputs.next().map(String::as_str))
}
