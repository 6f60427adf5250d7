//! The ONNX Runtime engine. It uses ONNX Runtime's shared library.

mod instance;
mod library;
mod peak_watch;
mod preallocated;
mod session;
mod signature;
mod strings;
mod values;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use tidegate_core::{Dim, EngineOptions, GraphOptimization, Signature};

use self::instance::OnnxRuntimeInstance;
use self::library::OnnxRuntime;
use self::preallocated::PreallocationProof;
use self::session::{Sessions, SharedSession};
use crate::engines::parallelism;
use crate::{Allocator, Engine, EngineStatus, Instance, LoadError, LoadedArtifact, onnx};

pub(crate) const NAME: &str = "onnxruntime";
/// A larger file is not read a second time to search it for loops. It is assumed to have one.
const READ_LIMIT_BYTES: u64 = 64 << 20;

/// ONNX Runtime, which is searched when it is needed first.
pub(crate) struct OnnxRuntimeEngine {
    library: Option<PathBuf>,
}

impl OnnxRuntimeEngine {
    pub(crate) fn new(library: Option<&Path>) -> Self {
        Self {
            library: library.map(Path::to_owned),
        }
    }

    fn runtime(&self) -> Result<OnnxRuntime, String> {
        OnnxRuntime::find(self.library.as_deref())
    }
}

impl Engine for OnnxRuntimeEngine {
    fn name(&self) -> &'static str {
        NAME
    }

    fn description(&self) -> &'static str {
        "ONNX Runtime, from its shared library"
    }

    fn platform(&self) -> &'static str {
        "onnxruntime_onnx"
    }

    fn extensions(&self) -> &'static [&'static str] {
        onnx::EXTENSIONS
    }

    fn allocator(&self) -> Allocator {
        Allocator::CLibrary
    }

    fn options(&self) -> &'static [&'static str] {
        &["instances", "intra_op_threads", "graph_optimization"]
    }

    fn status(&self) -> EngineStatus {
        match self.runtime() {
            Ok(runtime) => EngineStatus::Loaded {
                library: runtime.library().to_owned(),
                version: runtime.version().to_owned(),
            },
            Err(reason) => EngineStatus::Missing { reason },
        }
    }

    fn load(
        &self,
        path: &Path,
        options: &EngineOptions,
        cores: usize,
    ) -> Result<Arc<dyn LoadedArtifact>, LoadError> {
        Ok(Arc::new(self.open(path, options, cores)?))
    }
}

impl OnnxRuntimeEngine {
    /// The first session is made here, so that what cannot be loaded fails here.
    fn open(
        &self,
        path: &Path,
        options: &EngineOptions,
        cores: usize,
    ) -> Result<OnnxRuntimeArtifact, LoadError> {
        let runtime = self.runtime().map_err(|reason| LoadError::Unavailable {
            engine: NAME.to_owned(),
            reason,
        })?;
        let file = std::fs::metadata(path).map_err(|source| LoadError::Read {
            path: path.to_owned(),
            source,
        })?;
        let (instances, threads) = parallelism(file.len(), options, cores);
        let factory = SessionFactory {
            runtime,
            path: onnx::path_beside_weights(path),
            threads,
            optimization: options.graph_optimization,
        };
        let session = factory.session()?;
        let graph = read_graph(path, file.len());
        let mut signature = signature::of(&session)?;
        if let Some(graph) = &graph {
            graph.count_classes(&mut signature);
        }
        Ok(OnnxRuntimeArtifact {
            sessions: Sessions::new(factory, session, &signature)?,
            signature,
            instances,
            may_loop: graph.as_ref().is_none_or(|graph| graph.has_loop),
            classes: Arc::new(graph.map(|graph| graph.classes).unwrap_or_default()),
            proof: Arc::default(),
        })
    }
}

/// What the file says and the runtime does not. `None` where it is not read.
struct Graph {
    has_loop: bool,
    classes: Classes,
}

/// The names of classes by output.
type Classes = HashMap<String, Vec<String>>;

fn read_graph(path: &Path, file_bytes: u64) -> Option<Graph> {
    if file_bytes > READ_LIMIT_BYTES {
        return None;
    }
    let model = onnx::read(path).ok()?;
    Some(Graph {
        has_loop: onnx::has_loop(&model),
        classes: onnx::classes_of_maps(&model),
    })
}

impl Graph {
    /// Sets the number of columns of outputs that are maps from classes.
    fn count_classes(&self, signature: &mut Signature) {
        for output in &mut signature.outputs {
            if let Some(classes) = self.classes.get(&output.name)
                && let Some([_, columns @ Dim::Any]) = output.dims.as_deref_mut()
            {
                *columns = Dim::Fixed(classes.len());
            }
        }
    }
}

/// A file that instances are made from.
struct OnnxRuntimeArtifact {
    sessions: Sessions,
    signature: Signature,
    instances: usize,
    may_loop: bool,
    classes: Arc<Classes>,
    proof: Arc<PreallocationProof>,
}

impl LoadedArtifact for OnnxRuntimeArtifact {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn default_instances(&self) -> usize {
        self.instances
    }

    fn threads(&self) -> usize {
        self.sessions.threads()
    }

    fn run_time_is_bounded(&self) -> bool {
        !self.may_loop
    }

    fn classes(&self, output: &str) -> Option<&[String]> {
        self.classes.get(output).map(Vec::as_slice)
    }

    fn instance(&self) -> Result<Box<dyn Instance>, LoadError> {
        let session = self.place()?;
        let (proof, classes) = (self.proof.clone(), self.classes.clone());
        let instance = OnnxRuntimeInstance::new(session, &self.signature, proof, classes);
        Ok(Box::new(instance))
    }
}

impl OnnxRuntimeArtifact {
    /// The session of one more instance.
    fn place(&self) -> Result<Arc<SharedSession>, LoadError> {
        self.sessions.next(&self.signature)
    }
}

/// ONNX Runtime has operators for some types only. What names one in vain is most often a model of
/// scikit-learn that was converted with float64 columns, which pandas has by default.
fn with_hint(message: &str) -> String {
    match message.contains("Could not find an implementation for") {
        true => format!(
            "{message}; ONNX Runtime does not have it for these types: export the model with float32 \
             inputs, as in to_onnx(pipeline, X[:1].astype(numpy.float32)), or with \
             initial_types=[(\"age\", FloatTensorType([None, 1])), …]"
        ),
        false => message.to_owned(),
    }
}

/// How sessions of an artifact are made.
struct SessionFactory {
    runtime: OnnxRuntime,
    path: PathBuf,
    threads: usize,
    optimization: GraphOptimization,
}

impl SessionFactory {
    fn session(&self) -> Result<Session, LoadError> {
        let built = self
            .builder()
            .and_then(|mut builder| builder.commit_from_file(&self.path));
        built.map_err(|error| LoadError::Engine {
            engine: NAME,
            message: with_hint(error.message()),
        })
    }

    fn builder(&self) -> ort::Result<SessionBuilder> {
        let level = match self.optimization {
            GraphOptimization::None => GraphOptimizationLevel::Disable,
            GraphOptimization::Basic => GraphOptimizationLevel::Level1,
            GraphOptimization::Extended => GraphOptimizationLevel::Level2,
            GraphOptimization::All => GraphOptimizationLevel::All,
        };
        // Spinning threads save microseconds on an idle machine. On a busy one they take whole
        // cores from the other models.
        let builder = Session::builder(self.runtime.environment())?
            .with_optimization_level(level)?
            .with_intra_threads(self.threads)?
            .with_intra_op_spinning(false)?
            .with_log_level(LogLevel::Error)?;
        Ok(builder)
    }
}
