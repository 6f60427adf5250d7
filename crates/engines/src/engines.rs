//! Finding the engines of this machine and choosing one for an artifact.

use std::path::Path;
use std::sync::Arc;

use tidegate_core::{EngineChoice, EngineOptions};

use crate::onnxruntime::OnnxRuntime;
use crate::{ArtifactSummary, LoadError, LoadedArtifact, onnx, portable};

/// The engines of this process.
#[derive(Clone)]
pub struct Engines {
    onnxruntime: Result<OnnxRuntime, String>,
    default: EngineChoice,
    cores: usize,
}

/// Whether ONNX Runtime can be used, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnnxRuntimeStatus {
    /// It was loaded from this library.
    Loaded {
        /// The library's path, or its bare name when the system's library path was searched.
        library: String,
        /// The runtime's own version.
        version: String,
    },
    /// It cannot be used.
    Missing {
        /// Where it was looked for, or why it cannot be used.
        reason: String,
    },
}

impl Engines {
    /// Looks for ONNX Runtime: at `library` if given, next to the executable, in the user's cache,
    /// on the system's library path. `default` is the engine of artifacts that do not choose one
    /// themselves.
    pub fn discover(library: Option<&Path>, default: EngineChoice) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            onnxruntime: OnnxRuntime::find(library),
            default,
            cores,
        }
    }

    /// Engines without a shared library.
    pub fn portable_only() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            onnxruntime: Err("it is switched off".to_owned()),
            default: EngineChoice::Portable,
            cores,
        }
    }

    /// Whether ONNX Runtime was found.
    pub fn onnxruntime(&self) -> OnnxRuntimeStatus {
        match &self.onnxruntime {
            Ok(runtime) => OnnxRuntimeStatus::Loaded {
                library: runtime.library().to_owned(),
                version: runtime.version().to_owned(),
            },
            Err(reason) => OnnxRuntimeStatus::Missing {
                reason: reason.clone(),
            },
        }
    }

    /// Reads an artifact with the chosen engine.
    ///
    /// # Errors
    /// [`LoadError`] says what the engine cannot do, naming the input or output where there is one.
    pub fn load(
        &self,
        artifact: &Path,
        choice: EngineChoice,
        options: &EngineOptions,
    ) -> Result<Arc<dyn LoadedArtifact>, LoadError> {
        let choice = if choice == EngineChoice::Auto {
            self.default
        } else {
            choice
        };
        match (choice, &self.onnxruntime) {
            (EngineChoice::Portable, _) | (EngineChoice::Auto, Err(_)) => {
                Ok(Arc::new(portable::load(artifact, options, self.cores)?))
            }
            (EngineChoice::OnnxRuntime, Err(reason)) => Err(LoadError::OnnxRuntimeMissing {
                reason: reason.clone(),
            }),
            (EngineChoice::OnnxRuntime | EngineChoice::Auto, Ok(runtime)) => {
                Ok(Arc::new(runtime.load(artifact, options, self.cores)?))
            }
        }
    }

    /// How many instances of an artifact of this size are made, each of which holds its weights.
    pub fn instances(&self, artifact_bytes: u64, options: &EngineOptions) -> usize {
        parallelism(artifact_bytes, options, self.cores).0
    }

    /// What a file says of itself, without loading it into an engine.
    ///
    /// # Errors
    /// [`LoadError`] if it cannot be read or is no ONNX model.
    pub fn summarize(artifact: &Path) -> Result<ArtifactSummary, LoadError> {
        onnx::summarize(artifact)
    }
}

/// Instances and threads per run where nothing is configured: small artifacts run one batch per
/// core on one thread each; a large one is loaded once and spreads each run over the cores, so that
/// its weights are in memory once.
pub(crate) fn parallelism(
    artifact_bytes: u64,
    options: &EngineOptions,
    cores: usize,
) -> (usize, usize) {
    const LARGE_BYTES: u64 = 64 << 20;
    let instances = match (options.instances, options.intra_op_threads) {
        (Some(instances), _) => instances.max(1),
        (None, Some(threads)) => (cores / threads.max(1)).max(1),
        (None, None) if artifact_bytes > LARGE_BYTES => 1,
        (None, None) => cores,
    };
    let threads = options
        .intra_op_threads
        .unwrap_or(if instances == 1 { cores } else { 1 });
    (instances, threads.max(1))
}
