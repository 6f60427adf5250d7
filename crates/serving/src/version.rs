//! One loaded version of a model.

mod graph;
mod known_answer;
mod last_used;
mod load;
mod metrics;
mod plan;
mod prepare;
mod record_pipeline;
mod remote;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tidegate_core::Signature;
use tidegate_graph::Graph;
use tidegate_pipeline::Pipeline;

pub use self::graph::compile_graph;
use self::known_answer::KnownAnswer;
pub(crate) use self::last_used::LastUsed;
pub(crate) use self::load::try_to_load;
pub(crate) use self::metrics::LoadMetrics;
pub use self::plan::VersionPlan;
pub(crate) use self::prepare::Prepared;
pub use self::record_pipeline::compile as compile_pipeline;
use self::remote::RemoteRuns;
use crate::VersionFigures;
use crate::endpoints::VersionBreaker;
use crate::request_sample::{self, RequestSample};
use crate::scheduler::Scheduler;
use crate::sequences::VersionSequences;
use crate::source::reshape::Reshapes;
use crate::stats::VersionStats;

/// The largest batch, in rows, unless the manifest sets one.
pub(crate) const DEFAULT_MAX_BATCH_ROWS: NonZeroUsize =
    NonZeroUsize::new(64).expect("64 is not zero");

/// A loaded version: it can answer requests.
pub struct Version {
    model: String,
    number: String,
    plan: VersionPlan,
    engine: &'static str,
    platform: &'static str,
    signature: Signature,
    /// `Some` if it takes records: the steps before and after the engine.
    pipeline: Option<Arc<Pipeline>>,
    /// `Some` if it keeps states: how they are wired, and how many it keeps.
    sequences: Option<Box<VersionSequences>>,
    reshapes: Reshapes,
    known_answer: KnownAnswer,
    scheduler: Scheduler,
    runner: Runner,
    /// `None` where its endpoint has none configured.
    breaker: Option<VersionBreaker>,
    stats: Arc<VersionStats>,
    memory_bytes: u64,
    load_time: Duration,
    loaded_ms: u64,
    file_bytes: u64,
    threads: usize,
    last_used: LastUsed,
    load_id: u64,
}

/// What runs the requests of a version.
pub(crate) enum Runner {
    /// Instances of an engine, for which they wait in its queue.
    Instances,
    /// Other servers.
    Remote(RemoteRuns),
    /// Other models.
    Graph(Box<Graph>),
}

impl Version {
    /// A number that no other load of this process has, also not one of the same files.
    pub(crate) fn load_id(&self) -> u64 {
        self.load_id
    }

    /// What its answers depend on besides the inputs, the same on every server that has the same
    /// version: its files, the engine, and the release. `None` if its content is not known: it is not
    /// from the registry, or other servers or models run it.
    pub(crate) fn content(&self) -> Option<String> {
        let files = self.plan.files.as_ref()?;
        matches!(self.runner, Runner::Instances).then(|| {
            let (digest, release) = (files.version().digest.hex(), env!("CARGO_PKG_VERSION"));
            format!("{digest} {} {release}", self.engine)
        })
    }

    /// Whether the same inputs always give the same outputs, as its manifest says.
    pub(crate) fn is_deterministic(&self) -> bool {
        self.plan.manifest.deterministic
    }

    /// The model's name.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The version's number, as text.
    pub fn number(&self) -> &str {
        &self.number
    }

    /// The engine that runs it.
    pub fn engine(&self) -> &'static str {
        self.engine
    }

    /// The engine's name in the inference protocol.
    pub fn platform(&self) -> &'static str {
        self.platform
    }

    /// Its inputs and outputs.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// The steps from records to inputs and from outputs to decisions, if it has any.
    pub fn pipeline(&self) -> Option<&Arc<Pipeline>> {
        self.pipeline.as_ref()
    }

    /// Whether it keeps a state from one request of a sequence to the next.
    pub fn keeps_states(&self) -> bool {
        self.sequences.is_some()
    }

    /// What it needs to keep the states of sequences, if it keeps any.
    pub(crate) fn sequences(&self) -> Option<&VersionSequences> {
        self.sequences.as_deref()
    }

    /// All inputs and outputs of the model, with those that the server keeps to itself.
    pub fn model_signature(&self) -> &Signature {
        self.sequences()
            .map_or(&self.signature, |sequences| &sequences.signature)
    }

    /// What it was loaded from.
    pub fn plan(&self) -> &VersionPlan {
        &self.plan
    }

    /// Its queue and instances.
    pub fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// How other servers run it, if they do.
    pub(crate) fn remote(&self) -> Option<&RemoteRuns> {
        match &self.runner {
            Runner::Remote(remote) => Some(remote),
            _ => None,
        }
    }

    /// What runs its requests.
    pub(crate) fn runner(&self) -> &Runner {
        &self.runner
    }

    /// Whether its circuit breaker is open or half open.
    pub fn is_broken(&self) -> bool {
        self.breaker().is_some_and(VersionBreaker::is_open)
    }

    /// Its circuit breaker, if its endpoint has one.
    pub(crate) fn breaker(&self) -> Option<&VersionBreaker> {
        self.breaker.as_ref()
    }

    /// Whether axis 0 of its tensors is the batch axis.
    pub(crate) fn is_batched(&self) -> bool {
        self.scheduler().limits().max_batch_rows.is_some()
    }

    /// Class names of an output: those of a file, or those that the artifact itself has.
    pub fn labels(&self, output: &str) -> Option<&[String]> {
        self.plan.labels.get(output).map(Vec::as_slice)
    }

    /// Counts and times of its requests.
    pub fn figures(&self) -> VersionFigures {
        self.stats.figures()
    }

    /// Sets the gauge of requests that wait.
    pub fn count_waiting(&self) {
        let remote = self.remote().map_or(0, RemoteRuns::waiting);
        self.stats.set_queued(self.scheduler.queued() + remote);
    }

    /// How much the process grew while it was loaded, in bytes. Includes what other loads took at
    /// the same time.
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// How long it took to load, including warm-up.
    pub fn load_time(&self) -> Duration {
        self.load_time
    }

    /// When it was loaded, in Unix milliseconds.
    pub fn loaded_ms(&self) -> u64 {
        self.loaded_ms
    }

    /// A sample request, for people who try the version. Blocks: it may read a file.
    pub fn request_sample(&self) -> RequestSample {
        RequestSample::of(&self.plan, &self.signature)
    }

    /// The records of a sample in its bundle, if there is one that has any.
    pub fn record_sample(&self) -> Option<serde_json::Value> {
        request_sample::records(&self.plan)
    }

    /// The size of its files: all those of the registry, else the artifact alone.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// How many threads each of its runs keeps busy.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// How large its answers are, as far as that is known.
    pub(crate) fn known_answer(&self) -> KnownAnswer {
        self.known_answer
    }

    /// When it was last requested.
    pub(crate) fn last_used(&self) -> &LastUsed {
        &self.last_used
    }

    /// How the shapes that clients see differ from those of the model.
    pub(crate) fn reshapes(&self) -> &Reshapes {
        &self.reshapes
    }

    pub(crate) fn stats(&self) -> &Arc<VersionStats> {
        &self.stats
    }
}

impl std::fmt::Debug for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{} on {}", self.model, self.number, self.engine)
    }
}
