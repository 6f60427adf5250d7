//! The traits between the engines and everything above them.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use tidegate_core::{EngineOptions, Signature, Tensor, TraceContext};

use crate::{LoadError, RunError};

/// Executes artifacts: reads a file and makes instances that run batches.
///
/// ```
/// for engine in tidegate_engines::all(None) {
///     println!("{} reads {:?}", engine.name(), engine.extensions());
/// }
/// ```
pub trait Engine: Send + Sync {
    /// The name in manifests, configuration, metrics and messages, such as `onnxruntime`.
    fn name(&self) -> &'static str;

    /// What it is, in one line, for the command line's help.
    fn description(&self) -> &'static str;

    /// The platform's name in the inference protocol: Triton's name where Triton has one.
    fn platform(&self) -> &'static str;

    /// Extensions of the files that it reads, without the dot.
    fn extensions(&self) -> &'static [&'static str];

    /// Where its instances have their memory.
    fn allocator(&self) -> Allocator;

    /// The keys of `[engine_options]` that it follows. It ignores the others.
    fn options(&self) -> &'static [&'static str];

    /// Whether it can be used on this machine. The first call may load a shared library.
    fn status(&self) -> EngineStatus;

    /// Reads an artifact, for a machine with `cores` processor cores.
    ///
    /// # Errors
    /// [`LoadError`] says what the engine cannot do. It names the input or output where there is
    /// one.
    fn load(
        &self,
        artifact: &Path,
        options: &EngineOptions,
        cores: usize,
    ) -> Result<Arc<dyn LoadedArtifact>, LoadError>;
}

/// Where an engine allocates. It decides how the memory of a version is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocator {
    /// The C library's `malloc`, whose statistics count its bytes exactly.
    CLibrary,
    /// The allocator of this process, which requests use too. Only the growth of the process can
    /// be measured.
    Process,
}

/// Whether an engine can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineStatus {
    /// It is part of the binary.
    BuiltIn,
    /// It was loaded from a shared library.
    Loaded {
        /// The library's path, or its bare name when the system's library path was searched.
        library: String,
        /// The library's own version.
        version: String,
    },
    /// It cannot be used.
    Missing {
        /// Where its library was searched, or why it cannot be used.
        reason: String,
    },
}

/// An artifact that an engine has read and can run.
pub trait LoadedArtifact: Send + Sync {
    /// The inputs and outputs of the artifact.
    fn signature(&self) -> &Signature;

    /// How many instances suit this machine and this artifact.
    fn default_instances(&self) -> usize;

    /// How many threads a run keeps busy.
    fn threads(&self) -> usize {
        1
    }

    /// Whether the size of the inputs bounds the time of a run. A graph with a loop whose number of
    /// iterations depends on the values of its inputs has no such bound.
    fn run_time_is_bounded(&self) -> bool;

    /// The names of the classes that an output has columns for, if the artifact says them.
    fn classes(&self, _output: &str) -> Option<&[String]> {
        None
    }

    /// Says under which name and number it is served, before the first request.
    fn serves(&self, _model: &str, _version: &str) {}

    /// Runs requests as they come, many at a time, where a run waits for others instead of computing.
    /// `None` if instances run them.
    fn concurrent(&self) -> Option<Arc<dyn ConcurrentRunner>> {
        None
    }

    /// One more copy that can run a batch of its own.
    ///
    /// # Errors
    /// [`LoadError::Engine`] if the engine refuses, for example because memory is short.
    fn instance(&self) -> Result<Box<dyn Instance>, LoadError>;
}

/// A copy of an artifact that runs one batch at a time.
pub trait Instance: Send {
    /// Runs one batch. The inputs are in the order of the signature; `None` stands for an optional
    /// input that was left out. The outputs are in the order of the signature.
    ///
    /// # Errors
    /// [`RunError::Input`] if the values cannot be run, [`RunError::Engine`] for everything else.
    fn run(&mut self, inputs: &[Option<Tensor>]) -> Result<Vec<Tensor>, RunError>;

    /// Runs one batch like [`run`](Self::run), and returns memory that earlier, larger runs left
    /// behind, where the engine keeps it for the next.
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    fn run_and_release(&mut self, inputs: &[Option<Tensor>]) -> Result<Vec<Tensor>, RunError> {
        self.run(inputs)
    }
}

/// Runs many requests at a time. It waits for something else than this machine's cores, so that no
/// thread is held while a run is under way.
pub trait ConcurrentRunner: Send + Sync {
    /// Runs one request, with inputs and outputs as [`Instance::run`] has them. Dropping the future
    /// gives the run up.
    fn run(&self, inputs: Vec<Option<Tensor>>, context: RunContext) -> RunFuture<'_>;

    /// Requests that wait for a place.
    fn waiting(&self) -> usize;
}

/// A run under way.
pub type RunFuture<'a> = Pin<Box<dyn Future<Output = Result<FinishedRun, RunError>> + Send + 'a>>;

/// What a run has to know of its request besides the inputs.
#[derive(Clone, Debug, Default)]
pub struct RunContext {
    /// The latest time at which the outputs are of use.
    pub deadline: Option<Instant>,
    /// The request's own span.
    pub trace: Option<TraceContext>,
}

/// The outputs of a run that did not start at once.
#[derive(Debug)]
pub struct FinishedRun {
    /// In the order of the signature.
    pub outputs: Vec<Tensor>,
    /// When it had waited for its place.
    pub started: Instant,
}
