//! The facts about a version that are known before it is loaded.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use tidegate_core::Manifest;
use tidegate_protocol::inference::ModelConfig;
use tidegate_registry::CachedVersion;

/// Everything that is known of a version before it is loaded.
///
/// ```
/// use tidegate_core::Manifest;
/// use tidegate_serving::VersionPlan;
///
/// let plan = VersionPlan::new(Manifest::default(), "model.onnx".into());
/// assert_eq!(plan.number, 1);
/// ```
#[derive(Clone, Debug)]
pub struct VersionPlan {
    /// Its number.
    pub number: u64,
    /// How to run it.
    pub manifest: Manifest,
    /// The artifact's path.
    pub artifact: PathBuf,
    /// Class names by output, for the classification extension.
    pub labels: HashMap<String, Vec<String>>,
    /// Triton's configuration, if the model has one.
    pub triton: Option<ModelConfig>,
    /// Keeps the files in the local cache, if they come from the registry.
    pub files: Option<Arc<CachedVersion>>,
    /// Keeps the files that came with the request to load it.
    pub given: Option<Arc<tempfile::TempDir>>,
}

impl VersionPlan {
    /// Version 1 of an artifact and its manifest, without labels or other files.
    pub fn new(manifest: Manifest, artifact: PathBuf) -> Self {
        Self {
            number: 1,
            manifest,
            artifact,
            labels: HashMap::new(),
            triton: None,
            files: None,
            given: None,
        }
    }

    /// The folder that the manifest's paths are relative to.
    pub fn folder(&self) -> PathBuf {
        crate::check::folder(self)
    }

    /// Whether it comes from the registry. Only such versions promise to pass their own checks: a
    /// model in a folder is served as it is.
    pub(crate) fn is_from_registry(&self) -> bool {
        self.files.is_some()
    }

    /// Whether other servers run it.
    pub(crate) fn is_remote(&self) -> bool {
        self.manifest.remote.is_some()
    }

    /// Whether other models run it.
    pub fn is_graph(&self) -> bool {
        self.manifest.graph.is_some()
    }

    /// Whether it has no file that an engine of this process reads.
    pub(crate) fn has_no_artifact(&self) -> bool {
        self.is_remote() || self.is_graph()
    }

    /// Whether its own configuration asks for its answers to be kept: `response_cache` of
    /// `config.pbtxt`.
    pub(crate) fn asks_for_cache(&self) -> bool {
        let cache = self
            .triton
            .as_ref()
            .and_then(|triton| triton.response_cache.as_ref());
        cache.is_some_and(|cache| cache.enable)
    }

    /// The size of its files: all those of the registry, else the artifact alone.
    pub(super) fn file_bytes(&self) -> u64 {
        match &self.files {
            Some(files) => u64::try_from(files.version().bytes).unwrap_or(0),
            None => std::fs::metadata(&self.artifact).map_or(0, |file| file.len()),
        }
    }
}
