//! Loading the version that scores.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use tidegate_batch::ScoringVersion;
use tidegate_registry::{Bundle, BundleLimits, VersionState};
use tidegate_serving::{MetricRegistry, Models, Serving, Version};

use crate::config::EnginesConfig;
use crate::engines;
use crate::options::Engine;
use crate::output::eprint_line;
use crate::registry_access::{RegistryAccess, resolve};

/// Runs of any length stay on the thread that has read their rows: no connection waits for it, and its
/// rows are in the caches of its core.
const INLINE_RUN: Duration = Duration::from_secs(3600);

/// Loads a version of the registry, or the model at a path.
pub(super) fn load(
    reference: &str,
    engine: Option<Engine>,
    access: &RegistryAccess,
) -> Result<ScoringVersion> {
    let mut config = access.config.engines.clone();
    if let Some(engine) = engine {
        config.default = engine.into();
    }
    let path = Path::new(reference);
    // As for a shell: what has a slash is a path, also if it is not there.
    if reference.contains('/') || path.exists() {
        return load_path(path, &config);
    }
    load_registered(reference, access, &config)
}

fn load_path(path: &Path, config: &EnginesConfig) -> Result<ScoringVersion> {
    // Before it is loaded: what is there now is what the digest is of.
    let bundle = Bundle::open(path, None, &BundleLimits::default())?;
    let digest = bundle.content_digest()?.to_string();
    let models = models(vec![path.to_owned()], config);
    let report = models.load_all();
    if let Some((name, reason)) = report.failed.first() {
        bail!("{name} cannot be loaded: {reason}");
    }
    let [name] = report.ready.as_slice() else {
        let count = report.ready.len();
        bail!("{} has {count} models: name one of them", path.display());
    };
    let version = models.version(name, None);
    let version = version.map_err(|error| anyhow!("{error}"))?;
    scoring(models, version, digest)
}

fn load_registered(
    reference: &str,
    access: &RegistryAccess,
    config: &EnginesConfig,
) -> Result<ScoringVersion> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let files = runtime.block_on(async {
        let registry = access.open().await?;
        let version = resolve(&registry, reference).await;
        let files = match version {
            Ok(version) => registry.fetch(&version).await.map_err(Into::into),
            Err(error) => Err(error),
        };
        // Also after an error: closing folds SQLite's log into the database file.
        registry.close().await;
        files
    })?;
    let record = files.version();
    let (name, digest) = (record.name(), record.digest.to_string());
    if record.state == VersionState::Deprecated {
        eprint_line!("{name} is deprecated: {}", record.reason);
    }
    let models = models(Vec::new(), config);
    let version = models
        .load_registry_version(files)
        .map_err(anyhow::Error::msg)
        .with_context(|| format!("{name} cannot be loaded"))?;
    scoring(models, version, digest)
}

fn models(paths: Vec<std::path::PathBuf>, config: &EnginesConfig) -> Models {
    let engines = engines::find(config);
    Models::new(paths, engines, &MetricRegistry::new()).with_inline_run(INLINE_RUN)
}

fn scoring(models: Models, version: Arc<Version>, digest: String) -> Result<ScoringVersion> {
    let serving = Arc::new(Serving::new(models));
    Ok(ScoringVersion::new(serving, version, digest)?)
}
