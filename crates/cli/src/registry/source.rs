//! What `push` and `check` take: files and folders in the forms that people have them in.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tidegate_core::{DeclaredSignature, DeclaredTensor, Manifest, OutputSpec};
use tidegate_engines::Engines;
use tidegate_registry::{Bundle, BundleFile, BundleLimits, Error, ErrorCode, Source};
use tidegate_serving::{VersionPlan, scan};

/// A bundle, and how its checks find it.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) bundle: Bundle,
    pub(super) plan: VersionPlan,
    /// Holds files that were made for the checks.
    _folder: Option<Arc<tempfile::TempDir>>,
}

/// Reads what stands at a path.
pub(super) fn find(path: &Path, name: Option<&str>) -> Result<Vec<Found>> {
    let limits = BundleLimits::default();
    if Bundle::is_mlflow(path) && !path.join("model.toml").exists() {
        return Ok(vec![mlflow(path, name, &limits)?]);
    }
    if path.is_file() || path.join("model.toml").is_file() {
        let bundle = Bundle::open(path, name, &limits)?;
        let artifact = match path.is_file() {
            true => path.to_owned(),
            false => path.join(&bundle.manifest().artifact),
        };
        let plan = VersionPlan::new(bundle.manifest().clone(), artifact);
        return Ok(vec![Found {
            bundle,
            plan,
            _folder: None,
        }]);
    }
    let models = scan(path)?;
    if name.is_some() && models.len() > 1 {
        bail!(
            "{} holds {} models: --name fits one",
            path.display(),
            models.len()
        );
    }
    let mut found = Vec::new();
    for (model, plans) in models {
        for plan in plans {
            let bundle = converted(name.unwrap_or(&model), &plan, &limits)?;
            found.push(Found {
                bundle,
                plan,
                _folder: None,
            });
        }
    }
    Ok(found)
}

fn mlflow(path: &Path, name: Option<&str>, limits: &BundleLimits) -> Result<Found> {
    let bundle = Bundle::open_mlflow(path, name, limits, |artifact| {
        let summary = Engines::summarize(artifact);
        let signature = summary
            .map_err(|error| error.to_string())
            .and_then(|summary| summary.signature);
        let signature =
            signature.map_err(|problem| Error::new(ErrorCode::InvalidBundle, problem))?;
        Ok(signature
            .inputs
            .into_iter()
            .map(|input| input.name)
            .collect())
    })?;
    let folder = materialize(&bundle)?;
    let artifact = folder.path().join(&bundle.manifest().artifact);
    let plan = VersionPlan::new(bundle.manifest().clone(), artifact);
    Ok(Found {
        bundle,
        plan,
        _folder: Some(Arc::new(folder)),
    })
}

/// Puts a bundle that was partly made here into a folder.
fn materialize(bundle: &Bundle) -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    for file in bundle.files() {
        let path = folder.path().join(&file.path);
        std::fs::create_dir_all(path.parent().context("a file is in a folder")?)?;
        match &file.source {
            Source::Bytes(bytes) => std::fs::write(&path, bytes)?,
            // A link costs nothing; on another file system it takes a copy.
            Source::File(from) => std::fs::hard_link(from, &path)
                .or_else(|_| std::fs::copy(from, &path).map(|_| ()))?,
        }
    }
    Ok(folder)
}

/// A bundle of what was found in another form: a Triton model's version, or a bare artifact in a
/// folder.
fn converted(model: &str, plan: &VersionPlan, limits: &BundleLimits) -> Result<Bundle> {
    let mut manifest = Manifest {
        name: model.to_owned(),
        ..plan.manifest.clone()
    };
    let depth = Path::new(&manifest.artifact).components().count();
    let folder = plan
        .artifact
        .ancestors()
        .nth(depth)
        .unwrap_or(Path::new("."));
    if plan.triton.is_none() && folder.join("model.toml").is_file() {
        return Ok(Bundle::open(folder, Some(model), limits)?);
    }
    let mut files = vec![BundleFile::new(manifest.artifact.clone(), &plan.artifact)];
    if plan.triton.is_some() {
        // Beside the artifact lie its weights, where they are in files of their own.
        for entry in std::fs::read_dir(folder)?.flatten() {
            let file = entry.file_name().to_string_lossy().into_owned();
            if file != manifest.artifact && entry.file_type()?.is_file() && !file.starts_with('.') {
                files.push(BundleFile::new(file, entry.path()));
            }
        }
    }
    let mut labels: Vec<(&String, &Vec<String>)> = plan.labels.iter().collect();
    labels.sort();
    for (output, labels) in labels {
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
        manifest.signature = declared(config);
    }
    Ok(Bundle::new(manifest, files, limits)?)
}

/// The inputs and outputs of a Triton configuration, with the batch axis that Triton leaves out.
fn declared(config: &tidegate_protocol::inference::ModelConfig) -> DeclaredSignature {
    let batch = (config.max_batch_size > 0).then_some(-1);
    let tensor = |name: &str, datatype: i32, dims: &[i64]| DeclaredTensor {
        name: name.to_owned(),
        datatype: tidegate_protocol::model_config::datatype_name(datatype)
            .and_then(|name| name.parse().ok()),
        shape: Some(batch.into_iter().chain(dims.iter().copied()).collect()),
        ..DeclaredTensor::default()
    };
    DeclaredSignature {
        inputs: config
            .input
            .iter()
            .map(|input| tensor(&input.name, input.data_type, &input.dims))
            .collect(),
        outputs: config
            .output
            .iter()
            .map(|output| tensor(&output.name, output.data_type, &output.dims))
            .collect(),
    }
}
