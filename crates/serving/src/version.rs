//! One loaded version of a model.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use thiserror::Error;
use tidegate_core::{Manifest, Signature, SignatureError, Tensor};
use tidegate_engines::{Engines, LoadError};
use tidegate_protocol::inference::ModelConfig;
use tidegate_registry::CachedVersion;
use tracing::info;

use crate::memory::Taken;
use crate::metrics::unix_ms;
use crate::request::RequestedOutput;
use crate::request_sample::RequestSample;
use crate::scheduler::{Limits, Scheduler, Work};
use crate::stats::VersionStats;
use crate::{
    ErrorCode, InferError, InferRequest, Metrics, ModelState, VersionFigures, check, source, warmup,
};

/// Most rows in one run where nothing is configured.
pub(crate) const DEFAULT_MAX_BATCH_ROWS: NonZeroUsize =
    NonZeroUsize::new(64).expect("64 is not zero");

/// Everything that is known of a version before it is loaded.
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
    /// Triton's configuration, where the model came with one.
    pub triton: Option<ModelConfig>,
    /// Keeps the files in the local cache, where they come from the registry.
    pub files: Option<Arc<CachedVersion>>,
}

impl VersionPlan {
    /// Version 1 of an artifact and its manifest, with nothing beside.
    pub fn new(manifest: Manifest, artifact: PathBuf) -> Self {
        Self {
            number: 1,
            manifest,
            artifact,
            labels: HashMap::new(),
            triton: None,
            files: None,
        }
    }

    /// What its files take: all of those that the registry has, else the artifact alone.
    fn file_bytes(&self) -> u64 {
        match &self.files {
            Some(files) => u64::try_from(files.version().bytes).unwrap_or(0),
            None => std::fs::metadata(&self.artifact).map_or(0, |file| file.len()),
        }
    }
}

/// A loaded version: it can answer.
pub struct Version {
    model: String,
    number: String,
    plan: VersionPlan,
    engine: &'static str,
    signature: Signature,
    scheduler: Scheduler,
    stats: Arc<VersionStats>,
    memory_bytes: u64,
    load_time: Duration,
    loaded_ms: u64,
    file_bytes: u64,
    threads: usize,
    last_used: LastUsed,
}

/// Why a version cannot be served.
#[derive(Debug, Error)]
pub(crate) enum NotServed {
    /// The engine cannot load it.
    #[error(transparent)]
    Engine(#[from] LoadError),
    /// It is not as its bundle promises.
    #[error("the version does not keep its contract: {0}")]
    Contract(String),
}

impl Version {
    /// Loads a version, runs it warm, and finds out whether its requests can share a run. One from
    /// the registry is held against its contract. Runs longer than `inline_run` leave the thread
    /// that serves connections. `stage` hears how far it is. Blocks.
    pub(crate) fn load(
        model: &str,
        plan: VersionPlan,
        engines: &Engines,
        metrics: &Metrics,
        inline_run: Duration,
        stage: &dyn Fn(ModelState),
    ) -> Result<Self, NotServed> {
        if plan.files.is_some() {
            stage(ModelState::Verifying);
            check::files_and_weights(&plan).map_err(NotServed::Contract)?;
        }
        stage(ModelState::Loading);
        let started = Instant::now();
        let before = Taken::now();
        let manifest = &plan.manifest;
        let artifact = engines.load(&plan.artifact, manifest.engine, &manifest.engine_options)?;
        let mut signature = artifact.signature().clone();
        if let Some(config) = &plan.triton {
            source::triton::check_declared(config, &mut signature)?;
        }
        for output in &manifest.outputs {
            if signature.output(&output.name).is_err() {
                let problem = "is in model.toml and not in the model".to_owned();
                return Err(LoadError::Unsupported {
                    side: "output",
                    name: output.name.clone(),
                    problem,
                }
                .into());
            }
        }
        let count = artifact.default_instances();
        let mut instances = (0..count)
            .map(|_| artifact.instance())
            .collect::<Result<Vec<_>, _>>()?;
        stage(ModelState::Warming);
        let asked = manifest.batching.max_batch_size;
        let warm = warmup::run(&signature, &mut instances, asked, DEFAULT_MAX_BATCH_ROWS)?;
        if plan.files.is_some() {
            check::contract(&plan, &signature, &mut *instances[0]).map_err(NotServed::Contract)?;
        }

        let number = plan.number.to_string();
        let most = warm.max_batch_rows.map_or(1, NonZeroUsize::get);
        let stats = Arc::new(VersionStats::new(metrics, model, &number, most));
        let limits = Limits {
            inline_run,
            ..Limits::new(&manifest.batching, warm.max_batch_rows)
        };
        let name = format!("{model}:{number}");
        let scheduler = Scheduler::new(name, limits, artifact.clone(), instances, stats.clone());
        for (bytes, took) in &warm.run_times {
            scheduler.learn(*bytes, *took);
        }
        let labels = &[model, number.as_str()];
        let load_time = started.elapsed();
        metrics.load_seconds.observe(load_time.as_secs_f64());
        metrics
            .load_seconds_last
            .with_label_values(labels)
            .set(load_time.as_secs_f64());
        // ONNX Runtime is a C++ library; the portable engine is Rust, which has another allocator
        // here.
        let memory_bytes = before.growth(artifact.engine() == "onnxruntime");
        metrics
            .memory_bytes
            .with_label_values(labels)
            .set(i64::try_from(memory_bytes).unwrap_or(i64::MAX));
        info!(
            model,
            version = plan.number,
            engine = artifact.engine(),
            instances = count,
            max_batch_rows = warm.max_batch_rows.map_or(0, NonZeroUsize::get),
            one_row_us = warm
                .run_times
                .first()
                .map_or(0, |(_, took)| took.as_micros() as u64),
            load_ms = load_time.as_millis() as u64,
            "model loaded"
        );
        if let Some(reason) = warm.not_batched {
            info!(
                model,
                version = plan.number,
                reason,
                "requests run one by one"
            );
        }
        let (file_bytes, threads) = (plan.file_bytes(), artifact.threads());
        let (model, engine, last_used) = (model.to_owned(), artifact.engine(), LastUsed::now());
        let loaded_ms = unix_ms();
        Ok(Self {
            model,
            number,
            engine,
            signature,
            scheduler,
            stats,
            plan,
            memory_bytes,
            load_time,
            loaded_ms,
            file_bytes,
            threads,
            last_used,
        })
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

    /// What it takes and gives.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// What it was loaded from.
    pub fn plan(&self) -> &VersionPlan {
        &self.plan
    }

    /// Its queue and instances.
    pub fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// Class names of an output.
    pub fn labels(&self, output: &str) -> Option<&[String]> {
        self.plan.labels.get(output).map(Vec::as_slice)
    }

    /// What became of its requests.
    pub fn figures(&self) -> VersionFigures {
        self.stats.figures()
    }

    /// Lets the metrics say how many of its requests wait.
    pub fn count_waiting(&self) {
        self.stats.pending(self.scheduler.queued());
    }

    /// Counts bytes that were sent with its answers.
    pub fn count_sent(&self, bytes: usize) {
        self.stats.sent(bytes);
    }

    /// How much more memory the process took after it was loaded; other loads at the same time
    /// count in.
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// How long it took to load, warm-up included.
    pub fn load_time(&self) -> Duration {
        self.load_time
    }

    /// When it was loaded, in Unix milliseconds.
    pub fn loaded_ms(&self) -> u64 {
        self.loaded_ms
    }

    /// A request to begin with. Blocks: it may read a file.
    pub fn request_sample(&self) -> RequestSample {
        RequestSample::of(&self.plan, &self.signature)
    }

    /// What its files take on disk: all of those that the registry has, else the artifact alone.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// How many threads each of its runs keeps busy.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// When it was last asked.
    pub(crate) fn last_used(&self) -> &LastUsed {
        &self.last_used
    }

    pub(crate) fn stats(&self) -> &Arc<VersionStats> {
        &self.stats
    }

    /// Checks a request against the signature and gives it its place in the queue's terms.
    pub(crate) fn prepare(
        &self,
        request: InferRequest,
        received: Instant,
    ) -> Result<Prepared, InferError> {
        let outputs = self.outputs(&request.outputs)?;
        let inputs = self.signature.bind(request.inputs)?;
        let rows = self.rows(&inputs)?;
        let batching = &self.plan.manifest.batching;
        let default_deadline = || {
            let timeout = batching.default_timeout_us;
            (timeout > 0).then(|| received + Duration::from_micros(timeout))
        };
        let deadline = request.deadline.or_else(default_deadline);
        let level = batching.level(request.priority);
        Ok(Prepared {
            work: Work {
                inputs,
                rows,
                deadline,
                level,
            },
            outputs,
        })
    }

    /// The places of the wanted outputs in the signature, with the number of classes wanted.
    fn outputs(&self, wanted: &[RequestedOutput]) -> Result<Vec<(usize, usize)>, InferError> {
        if wanted.is_empty() {
            return Ok((0..self.signature.outputs.len())
                .map(|at| (at, 0))
                .collect());
        }
        let mut places: Vec<(usize, usize)> = Vec::with_capacity(wanted.len());
        for output in wanted {
            let at = self.signature.output(&output.name)?;
            if places.iter().any(|(other, _)| *other == at) {
                let message = format!("output \"{}\" is asked for twice", output.name);
                return Err(InferError::new(ErrorCode::MalformedRequest, message));
            }
            places.push((at, output.classes));
        }
        Ok(places)
    }

    /// The rows of a request: all inputs must agree on them where axis 0 is the batch axis.
    fn rows(&self, inputs: &[Option<Tensor>]) -> Result<usize, InferError> {
        if self.scheduler.limits().max_batch_rows.is_none() {
            return Ok(1);
        }
        let mut rows = None;
        for (spec, tensor) in self.signature.inputs.iter().zip(inputs) {
            let Some(tensor) = tensor else { continue };
            match rows {
                None => rows = Some(tensor.rows()),
                Some(wanted) if wanted == tensor.rows() => {}
                Some(wanted) => {
                    let (input, found) = (spec.name.clone(), tensor.rows());
                    return Err(SignatureError::Rows {
                        input,
                        found,
                        wanted,
                    }
                    .into());
                }
            }
        }
        match rows {
            Some(0) => Err(InferError::new(
                ErrorCode::WrongDimension,
                "the request has no rows",
            )),
            rows => Ok(rows.unwrap_or(1)),
        }
    }
}

/// A moment that many threads move, in nanoseconds since the process looked at the clock first.
#[derive(Debug)]
pub(crate) struct LastUsed(AtomicU64);

impl LastUsed {
    fn now() -> Self {
        let used = Self(AtomicU64::new(0));
        used.set(Instant::now());
        used
    }

    pub(crate) fn set(&self, at: Instant) {
        self.0.store(
            at.saturating_duration_since(*EPOCH).as_nanos() as u64,
            Ordering::Relaxed,
        );
    }

    pub(crate) fn get(&self) -> Instant {
        *EPOCH + Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A request that a version has accepted.
pub(crate) struct Prepared {
    pub(crate) work: Work,
    /// Places of the outputs in the signature, with the number of classes wanted, 0 for the plain
    /// output.
    pub(crate) outputs: Vec<(usize, usize)>,
}

impl std::fmt::Debug for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{} on {}", self.model, self.number, self.engine)
    }
}
