//! The list of engines, and the choice of one for an artifact.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_core::{EngineChoice, EngineOptions};

use crate::onnxruntime::OnnxRuntimeEngine;
use crate::portable::PortableEngine;
use crate::{ArtifactSummary, Engine, EngineStatus, LoadError, LoadedArtifact, onnx};

/// The name of the ONNX Runtime engine.
pub const ONNX_RUNTIME: &str = crate::onnxruntime::NAME;
/// The name of the portable engine.
pub const PORTABLE: &str = crate::portable::NAME;
/// The name of the engine whose versions run on other servers.
pub const REMOTE: &str = "remote";

/// Every engine of this build, in the order in which `auto` prefers them. A new engine adds a line.
///
/// `library` is the path of ONNX Runtime's shared library. Nothing is loaded before it is needed.
pub fn all(library: Option<&Path>) -> Vec<Arc<dyn Engine>> {
    vec![
        Arc::new(OnnxRuntimeEngine::new(library)),
        Arc::new(PortableEngine),
    ]
}

/// Whether the extension of a file says that an engine reads it.
///
/// ```
/// assert!(tidegate_engines::is_artifact("models/iris.onnx".as_ref()));
/// assert!(!tidegate_engines::is_artifact("models/iris.csv".as_ref()));
/// ```
pub fn is_artifact(path: &Path) -> bool {
    all(None).iter().any(|engine| reads(engine.as_ref(), path))
}

/// The artifact with the default name in a folder, such as `model.onnx`, if there is one.
pub fn artifact_in(folder: &Path) -> Option<PathBuf> {
    all(None)
        .iter()
        .flat_map(|engine| engine.extensions())
        .map(|extension| folder.join(format!("model.{extension}")))
        .find(|artifact| artifact.is_file())
}

/// Checks that a choice names an engine of this build.
///
/// # Errors
/// [`LoadError::UnknownEngine`] lists the names that can be used.
pub fn check_name(choice: &EngineChoice) -> Result<(), LoadError> {
    let EngineChoice::Named(name) = choice else {
        return Ok(());
    };
    let engines = all(None);
    let names: Vec<&str> = engines.iter().map(|engine| engine.name()).collect();
    if names.contains(&name.as_str()) || name == REMOTE {
        return Ok(());
    }
    Err(LoadError::UnknownEngine {
        name: name
            .chars()
            .take(64)
            .collect::<String>()
            .escape_default()
            .to_string(),
        known: format!("auto, {} or {REMOTE}", names.join(", ")),
    })
}

/// The engines of this process.
#[derive(Clone)]
pub struct Engines {
    engines: Vec<Arc<dyn Engine>>,
    default: EngineChoice,
    cores: usize,
}

impl Engines {
    /// Finds the engines of this machine. ONNX Runtime is searched at `library` if given, else next
    /// to the executable, in the user's cache, and on the system's library path. `default` is the
    /// engine of artifacts that do not choose one themselves.
    pub fn discover(library: Option<&Path>, default: EngineChoice) -> Self {
        let engines = all(library);
        // Libraries are loaded now, so that the first model does not wait for it.
        for engine in &engines {
            engine.status();
        }
        Self {
            engines,
            default,
            cores: cores(),
        }
    }

    /// These engines and one more, which only versions use that name it.
    #[must_use]
    pub fn with(mut self, engine: Arc<dyn Engine>) -> Self {
        self.engines.push(engine);
        self
    }

    /// Engines without a shared library.
    pub fn portable_only() -> Self {
        Self {
            engines: vec![Arc::new(PortableEngine)],
            default: EngineChoice::Auto,
            cores: cores(),
        }
    }

    /// The engines that can be used, with the versions of their libraries, as one text.
    pub fn versions(&self) -> String {
        let mut text = self.default.name().to_owned();
        for engine in &self.engines {
            match engine.status() {
                EngineStatus::BuiltIn => text += &format!(" {}", engine.name()),
                EngineStatus::Loaded { version, .. } => {
                    text += &format!(" {} {version}", engine.name());
                }
                EngineStatus::Missing { .. } => {}
            }
        }
        text
    }

    /// Whether an engine can be used.
    pub fn status(&self, name: &str) -> EngineStatus {
        match self.find(name) {
            Some(engine) => engine.status(),
            None => EngineStatus::Missing {
                reason: "it is switched off".to_owned(),
            },
        }
    }

    /// Whether an engine cannot be used.
    pub fn lacks(&self, name: &str) -> bool {
        matches!(self.status(name), EngineStatus::Missing { .. })
    }

    /// The engine that runs an artifact: the chosen one, or the first one that can be used.
    ///
    /// # Errors
    /// [`LoadError::UnknownEngine`] or [`LoadError::Unavailable`] if the chosen engine is not here.
    pub fn select(&self, artifact: &Path, choice: &EngineChoice) -> Result<&dyn Engine, LoadError> {
        let choice = match choice {
            EngineChoice::Auto => &self.default,
            named @ EngineChoice::Named(_) => named,
        };
        match choice {
            EngineChoice::Auto => self.first_usable(artifact),
            EngineChoice::Named(name) => self.usable(name),
        }
    }

    /// Reads an artifact with the chosen engine.
    ///
    /// # Errors
    /// [`LoadError`] says what the engine cannot do. It names the input or output where there is
    /// one.
    pub fn load(
        &self,
        artifact: &Path,
        choice: &EngineChoice,
        options: &EngineOptions,
    ) -> Result<Arc<dyn LoadedArtifact>, LoadError> {
        let engine = self.select(artifact, choice)?;
        engine.load(artifact, options, self.cores)
    }

    /// How many instances of an artifact of this size are made.
    pub fn instances(&self, artifact_bytes: u64, options: &EngineOptions) -> usize {
        parallelism(artifact_bytes, options, self.cores).0
    }

    /// How often these instances have the weights in memory.
    pub fn weight_copies(&self, artifact_bytes: u64, options: &EngineOptions) -> usize {
        let (instances, threads) = parallelism(artifact_bytes, options, self.cores);
        instances.div_ceil(sharers(threads))
    }

    /// What a file says about itself, without loading it into an engine.
    ///
    /// # Errors
    /// [`LoadError`] if it cannot be read or is not an ONNX model.
    pub fn summarize(artifact: &Path) -> Result<ArtifactSummary, LoadError> {
        onnx::summarize(artifact)
    }

    fn find(&self, name: &str) -> Option<&dyn Engine> {
        self.engines
            .iter()
            .map(Arc::as_ref)
            .find(|engine| engine.name() == name)
    }

    fn usable(&self, name: &str) -> Result<&dyn Engine, LoadError> {
        check_name(&EngineChoice::from(name))?;
        if let EngineStatus::Missing { reason } = self.status(name) {
            return Err(LoadError::Unavailable {
                engine: name.to_owned(),
                reason,
            });
        }
        Ok(self
            .find(name)
            .expect("an engine that is not in the list is missing"))
    }

    /// The first engine that can be used, if possible one that reads files with this extension.
    fn first_usable(&self, artifact: &Path) -> Result<&dyn Engine, LoadError> {
        let usable: Vec<&dyn Engine> = self
            .engines
            .iter()
            .map(Arc::as_ref)
            .filter(|engine| !matches!(engine.status(), EngineStatus::Missing { .. }))
            .collect();
        let reader = usable.iter().find(|engine| reads(**engine, artifact));
        // A manifest may name an artifact without the usual extension.
        reader
            .or(usable.first())
            .copied()
            .ok_or_else(|| LoadError::Unavailable {
                engine: EngineChoice::Auto.name().to_owned(),
                reason: "no engine can be used".to_owned(),
            })
    }
}

fn reads(engine: &dyn Engine, path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str);
    extension.is_some_and(|extension| engine.extensions().contains(&extension))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Instances and threads per run where nothing is configured.
///
/// A small artifact runs one batch per core, on one thread each. A large one is loaded once and
/// spreads each run over the cores, so that its weights are in memory only once.
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
    let default_threads = if instances == 1 { cores } else { 1 };
    let threads = options.intra_op_threads.unwrap_or(default_threads);
    (instances, threads.max(1))
}

/// How many instances share a session of ONNX Runtime, and with it the weights.
///
/// Where a run has several threads, none do: a session has one pool of threads, and each run has as
/// many as were asked for. Else the locks of a session set the limit, which runs of a few
/// microseconds take several times: on many cores a single session would be a bottleneck.
pub(crate) fn sharers(threads: usize) -> usize {
    const MAX_SHARERS: usize = 8;
    match threads {
        1 => MAX_SHARERS,
        _ => 1,
    }
}
