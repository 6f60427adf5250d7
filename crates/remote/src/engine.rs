//! The engine `remote`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tidegate_core::{EngineOptions, Manifest, Signature, Tensor};
use tidegate_engines::{
    Allocator, ConcurrentRunner, Engine, EngineStatus, FinishedRun, Instance, LoadError,
    LoadedArtifact, REMOTE, RunContext, RunError, RunFuture,
};
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinHandle;

use crate::config::RemoteConfig;
use crate::remotes::Remotes;
use crate::version::RemoteVersion;

/// The largest manifest, in bytes.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// The engine whose versions run on other servers. Its artifact is the manifest itself.
pub struct RemoteEngine {
    remotes: Arc<Remotes>,
    /// The folder of bearer tokens.
    credentials: Option<PathBuf>,
    /// Where requests to other servers run. It starts with the first version: a process without one
    /// has no threads for it.
    runtime: OnceLock<Result<Runtime, String>>,
}

impl RemoteEngine {
    /// An engine that tells `remotes` of its versions, and finds bearer tokens in `credentials`.
    pub fn new(remotes: Arc<Remotes>, credentials: Option<PathBuf>) -> Self {
        Self {
            remotes,
            credentials,
            runtime: OnceLock::new(),
        }
    }

    fn runtime(&self) -> Result<&Handle, LoadError> {
        let started = self.runtime.get_or_init(|| {
            tokio::runtime::Builder::new_multi_thread()
                .thread_name("remote")
                .enable_all()
                .build()
                .map_err(|error| format!("no thread can be started: {error}"))
        });
        let started = started.as_ref().map(Runtime::handle);
        started.map_err(|problem| failed(problem.clone()))
    }
}

impl Drop for RemoteEngine {
    fn drop(&mut self) {
        // The engine may end on a thread of another runtime, which may not wait for this one.
        if let Some(Ok(runtime)) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Engine for RemoteEngine {
    fn name(&self) -> &'static str {
        REMOTE
    }

    fn description(&self) -> &'static str {
        "Another inference server, over the Open Inference Protocol"
    }

    fn platform(&self) -> &'static str {
        "tidegate_remote"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &[]
    }

    fn allocator(&self) -> Allocator {
        Allocator::Process
    }

    fn options(&self) -> &'static [&'static str] {
        &[]
    }

    fn status(&self) -> EngineStatus {
        EngineStatus::BuiltIn
    }

    fn load(
        &self,
        artifact: &Path,
        _: &EngineOptions,
        _: usize,
    ) -> Result<Arc<dyn LoadedArtifact>, LoadError> {
        let manifest = read_manifest(artifact)?;
        let folder = artifact.parent().and_then(Path::file_name);
        let folder = folder.map(|name| name.to_string_lossy().into_owned());
        let name = folder.unwrap_or_default();
        let config = RemoteConfig::new(&manifest, &name, self.credentials.as_deref());
        let config = config.map_err(failed)?;
        let runtime = self.runtime()?.clone();
        let entered = runtime.enter();
        let version =
            RemoteVersion::new(&manifest, config, self.remotes.clone()).map_err(failed)?;
        drop(entered);
        let version = Arc::new(version);
        let loading = version.clone();
        let signature = wait(&runtime, async move { loading.load_signature().await })?;
        let signature = signature.map_err(failed)?;
        let runner = Arc::new(RemoteRunner { version, runtime });
        Ok(Arc::new(RemoteArtifact { signature, runner }))
    }
}

fn failed(message: String) -> LoadError {
    LoadError::Engine {
        engine: REMOTE,
        message,
    }
}

fn read_manifest(path: &Path) -> Result<Manifest, LoadError> {
    let unreadable = |source| LoadError::Read {
        path: path.to_owned(),
        source,
    };
    let length = std::fs::metadata(path).map_err(unreadable)?.len();
    if length > MAX_MANIFEST_BYTES {
        return Err(failed(format!("model.toml has {length} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    toml::from_str(&text).map_err(|error| {
        let start = error.span().map(|span| span.start);
        failed(Manifest::problem(&text, start, error.message()))
    })
}

/// Waits on a thread that may be one of another runtime: it blocks on a channel, never on a runtime.
fn wait<T: Send + 'static>(
    runtime: &Handle,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, LoadError> {
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    runtime.spawn(async move {
        // Nobody waits any more only if that thread is gone.
        let _ = sender.send(work.await);
    });
    let ended = receiver.recv();
    ended.map_err(|_| failed("the call of another server ended without a result".to_owned()))
}

struct RemoteArtifact {
    signature: Arc<Signature>,
    runner: Arc<RemoteRunner>,
}

impl LoadedArtifact for RemoteArtifact {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn default_instances(&self) -> usize {
        1
    }

    /// No core of this machine works while a request is under way.
    fn threads(&self) -> usize {
        0
    }

    fn run_time_is_bounded(&self) -> bool {
        false
    }

    fn serves(&self, model: &str, version: &str) {
        self.runner.version.serves(model, version);
        let watched = Arc::downgrade(&self.runner.version);
        self.runner.runtime.spawn(RemoteVersion::watch(watched));
    }

    fn concurrent(&self) -> Option<Arc<dyn ConcurrentRunner>> {
        Some(self.runner.clone())
    }

    fn instance(&self) -> Result<Box<dyn Instance>, LoadError> {
        Ok(Box::new(RemoteInstance(self.runner.clone())))
    }
}

/// Runs requests on the engine's own runtime.
struct RemoteRunner {
    version: Arc<RemoteVersion>,
    runtime: Handle,
}

/// A request under way, which is given up if nobody waits for it any more.
struct Running(JoinHandle<Result<FinishedRun, RunError>>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl RemoteRunner {
    fn spawn(&self, inputs: Vec<Option<Tensor>>, context: RunContext) -> Running {
        let version = self.version.clone();
        let run = async move { version.run(inputs, context).await.map_err(RunError::from) };
        Running(self.runtime.spawn(run))
    }
}

impl ConcurrentRunner for RemoteRunner {
    fn run(&self, inputs: Vec<Option<Tensor>>, context: RunContext) -> RunFuture<'_> {
        Box::pin(async move {
            let mut running = self.spawn(inputs, context);
            let ended = (&mut running.0).await;
            ended.unwrap_or_else(|error| Err(RunError::Engine(error.to_string())))
        })
    }

    fn waiting(&self) -> usize {
        self.version.waiting()
    }
}

/// Runs one request at a time, for checks of a version before it is served.
struct RemoteInstance(Arc<RemoteRunner>);

impl Instance for RemoteInstance {
    fn run(&mut self, inputs: &[Option<Tensor>]) -> Result<Vec<Tensor>, RunError> {
        let version = self.0.version.clone();
        let inputs = inputs.to_vec();
        let started = Instant::now();
        let run = async move { version.run(inputs, RunContext::default()).await };
        let ended = wait(&self.0.runtime, run);
        let ended = ended.map_err(|error| RunError::Engine(error.to_string()))?;
        tracing::debug!(
            took_ms = started.elapsed().as_millis() as u64,
            "upstream server asked"
        );
        Ok(ended?.outputs)
    }
}
