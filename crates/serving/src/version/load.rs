//! Loading a version: check its files, load it into an engine, warm it, check its answers.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use thiserror::Error;
use tidegate_core::{Manifest, Signature};
use tidegate_engines::{Allocator, Engines, Instance, LoadError, LoadedArtifact, REMOTE};
use tidegate_pipeline::Pipeline;
use tracing::{info, warn};

use super::known_answer::KnownAnswer;
use super::{
    DEFAULT_MAX_BATCH_ROWS, LastUsed, LoadMetrics, RemoteRuns, Runner, Version, VersionPlan,
    compile_graph, compile_pipeline,
};
use crate::clock::unix_ms;
use crate::memory::{self, MemoryUsage};
use crate::scheduler::{Limits, Scheduler};
use crate::sequences::{SequenceLimits, VersionSequences, Wiring};
use crate::source::reshape::Reshapes;
use crate::warmup::{self, WarmupReport};
use crate::{ModelState, check, source};

/// See [`Version::load_id`].
pub(super) static NEXT_LOAD_ID: AtomicU64 = AtomicU64::new(0);

/// Why a version cannot be served.
#[derive(Debug, Error)]
pub(crate) enum VersionLoadError {
    /// The engine cannot load it.
    #[error(transparent)]
    Engine(#[from] LoadError),
    /// Its graph is not one.
    #[error("the graph cannot be served: {0}")]
    Graph(String),
    /// Its pipeline does not fit it.
    #[error("the pipeline does not fit the model: {0}")]
    Pipeline(String),
    /// The states of its sequences do not fit it.
    #[error("[sequences] does not fit the model: {0}")]
    Sequences(String),
    /// It is not what its bundle says.
    #[error("the version failed its own checks: {0}")]
    Checks(String),
}

impl Version {
    /// Loads a version, warms it, and finds out whether its requests can share a run. A version
    /// from the registry must pass its own checks. Runs that take longer than `inline_run` leave
    /// the thread that serves connections. `report_state` gets each state that it passes through.
    /// Blocks.
    pub(crate) fn load(
        model: &str,
        mut plan: VersionPlan,
        engines: &Engines,
        metrics: &LoadMetrics,
        inline_run: Duration,
        report_state: &dyn Fn(ModelState),
    ) -> Result<Self, VersionLoadError> {
        if plan.is_graph() {
            return Self::load_graph(model, plan, metrics, report_state);
        }
        if plan.is_from_registry() {
            // Before the engine: an engine can crash the process on a broken file.
            report_state(ModelState::Verifying);
            check::files_and_weights(&plan).map_err(VersionLoadError::Checks)?;
        }
        report_state(ModelState::Loading);
        let started = Instant::now();
        let memory_before = MemoryUsage::now();
        let manifest = &plan.manifest;
        let engine = engines.select(&plan.artifact, &manifest.engine)?;
        let artifact = engines.load(&plan.artifact, &manifest.engine, &manifest.engine_options)?;
        let mut signature = declared_signature(&plan, artifact.signature())?;
        let wiring = wiring(&plan, &mut signature)?;
        let pipeline = compile(&plan, &signature, wiring.as_ref())?;
        let mut instances = default_instances(&*artifact)?;
        let runner = artifact.concurrent();

        report_state(ModelState::Warming);
        let mut warmup = match &runner {
            None => warm_up(&signature, &mut instances, manifest)?,
            // The servers that run it have warmed it, and synthetic requests would be in the way of
            // their clients.
            Some(_) => WarmupReport::declared(manifest),
        };
        check_batched(wiring.as_ref(), &warmup)?;
        if plan.is_from_registry() {
            let model = check::CheckedModel {
                signature: &signature,
                pipeline: pipeline.as_ref(),
                wiring: wiring.as_ref(),
            };
            let checked = check::contract(&plan, model, &mut *instances[0]);
            checked.map_err(VersionLoadError::Checks)?;
        }

        // It is dropped again where no breaker needs it.
        let sample = warmup.sample.take();
        // Clients see their own inputs and shapes from here on. Everything above asked the model.
        let sequences = wiring.map(|wiring| {
            let visible = wiring.visible(&signature);
            let signature = std::mem::replace(&mut signature, visible);
            sequences_of(&plan, wiring, signature, metrics, model)
        });
        artifact.serves(model, &plan.number.to_string());
        let reshapes = Reshapes::of(plan.triton.as_ref(), &mut signature);
        let number = plan.number.to_string();
        let max_rows = warmup.max_batch_rows.map_or(1, NonZeroUsize::get);
        let stats = Arc::new(metrics.requests().version_stats(model, &number, max_rows));
        let pipeline = pipeline.map(|pipeline| Arc::new(stats.counters().counted(pipeline)));
        let limits = Limits {
            inline_run,
            ..Limits::new(&manifest.batching, warmup.max_batch_rows)
        };
        let name = format!("{model}:{number}");
        let scheduler = Scheduler::new(name, limits, artifact.clone(), instances, stats.clone());
        // So that the first requests are admitted and batched by measured times.
        for (bytes, run_time) in &warmup.run_times {
            scheduler.learn(*bytes, *run_time);
        }
        add_classes(&mut plan.labels, &*artifact, &signature);
        let runner = match runner {
            None => Runner::Instances,
            Some(runner) => Runner::Remote(RemoteRuns::new(runner, stats.clone(), &signature)),
        };
        let load_time = started.elapsed();
        // After the warm-up, since engines take memory in their first runs too.
        let memory_bytes = memory_before.growth(engine.allocator() == Allocator::CLibrary);
        let version = Self {
            breaker: metrics.breakers().for_version(model, &number, sample),
            model: model.to_owned(),
            number,
            engine: engine.name(),
            platform: engine.platform(),
            known_answer: KnownAnswer::of(&signature.outputs),
            signature,
            pipeline,
            sequences: sequences.map(Box::new),
            reshapes,
            scheduler,
            runner,
            stats,
            memory_bytes,
            load_time,
            loaded_ms: unix_ms(),
            file_bytes: plan.file_bytes(),
            threads: artifact.threads(),
            last_used: LastUsed::now(),
            load_id: NEXT_LOAD_ID.fetch_add(1, Ordering::Relaxed),
            plan,
        };
        // Reading the file and the large batches of warm-up took memory that is free now.
        memory::give_back();
        let (took, memory_bytes) = (version.load_time, version.memory_bytes);
        metrics.set_loaded(model, version.number(), took, memory_bytes);
        version.log_load(&warmup);
        Ok(version)
    }

    fn log_load(&self, warmup: &WarmupReport) {
        let one_row = warmup.run_times.first();
        info!(
            model = self.model,
            version = self.plan.number,
            engine = self.engine,
            instances = self.scheduler.instances(),
            max_batch_rows = warmup.max_batch_rows.map_or(0, NonZeroUsize::get),
            one_row_us = one_row.map_or(0, |(_, run_time)| run_time.as_micros() as u64),
            load_ms = self.load_time.as_millis() as u64,
            "model loaded"
        );
        let ignored = self
            .plan
            .triton
            .as_ref()
            .map(source::triton::without_effect);
        if let Some(settings) = ignored.filter(|settings| !settings.is_empty()) {
            warn!(
                model = self.model,
                version = self.plan.number,
                settings = settings.join(", "),
                "these settings of config.pbtxt have no effect"
            );
        }
        if let Some(reason) = &warmup.not_batched {
            info!(
                model = self.model,
                version = self.plan.number,
                reason,
                "requests run one by one"
            );
        }
    }
}

fn warm_up(
    signature: &Signature,
    instances: &mut [Box<dyn Instance>],
    manifest: &Manifest,
) -> Result<WarmupReport, LoadError> {
    let max_batch_size = warmup::wanted_batch_size(manifest);
    warmup::run(signature, instances, max_batch_size, DEFAULT_MAX_BATCH_ROWS)
}

/// How the states of its sequences are wired, if it keeps any.
fn wiring(
    plan: &VersionPlan,
    signature: &mut Signature,
) -> Result<Option<Wiring>, VersionLoadError> {
    Wiring::of(plan, signature).map_err(VersionLoadError::Sequences)
}

/// The pipeline, which knows the inputs and outputs of clients alone.
fn compile(
    plan: &VersionPlan,
    signature: &Signature,
    wiring: Option<&Wiring>,
) -> Result<Option<Pipeline>, VersionLoadError> {
    let pipeline = match wiring {
        None => compile_pipeline(plan, signature),
        Some(wiring) => compile_pipeline(plan, &wiring.visible(signature)),
    };
    pipeline.map_err(VersionLoadError::Pipeline)
}

/// Refuses a state that cannot be a row of a batch, where rows share runs.
fn check_batched(wiring: Option<&Wiring>, warmup: &WarmupReport) -> Result<(), VersionLoadError> {
    let wiring = wiring.filter(|_| warmup.max_batch_rows.is_some());
    match wiring.and_then(Wiring::unbatchable) {
        None => Ok(()),
        Some(problem) => Err(VersionLoadError::Sequences(format!(
            "{problem}; batching.max_batch_size = 0 says that there are no batches"
        ))),
    }
}

fn sequences_of(
    plan: &VersionPlan,
    wiring: Wiring,
    signature: Signature,
    metrics: &LoadMetrics,
    model: &str,
) -> VersionSequences {
    let spec = plan.manifest.sequences.clone().unwrap_or_default();
    let number = plan.number.to_string();
    let limits = SequenceLimits::new(&spec, metrics.sequences(), model, &number);
    VersionSequences {
        wiring,
        limits: Arc::new(limits),
        signature,
    }
}

/// Adds the names of classes that the artifact itself has. A file with others goes first.
fn add_classes(
    labels: &mut HashMap<String, Vec<String>>,
    artifact: &dyn LoadedArtifact,
    signature: &Signature,
) {
    for output in &signature.outputs {
        if let Some(classes) = artifact.classes(&output.name) {
            let own = labels.entry(output.name.clone());
            own.or_insert_with(|| classes.to_vec());
        }
    }
}

/// Does what a load does to find out whether it can be done, with one instance and without measuring
/// run times.
pub(crate) fn try_to_load(
    plan: &VersionPlan,
    is_from_registry: bool,
    engines: &Engines,
) -> Result<(), VersionLoadError> {
    if is_from_registry {
        check::files_and_weights(plan).map_err(VersionLoadError::Checks)?;
    }
    if plan.is_graph() {
        return compile_graph(plan)
            .map(|_| ())
            .map_err(VersionLoadError::Graph);
    }
    let manifest = &plan.manifest;
    let artifact = engines.load(&plan.artifact, &manifest.engine, &manifest.engine_options)?;
    let mut signature = declared_signature(plan, artifact.signature())?;
    let wiring = wiring(plan, &mut signature)?;
    let pipeline = compile(plan, &signature, wiring.as_ref())?;
    let mut instance = artifact.instance()?;
    warmup::try_out(
        &signature,
        &mut *instance,
        warmup::wanted_batch_size(manifest),
        DEFAULT_MAX_BATCH_ROWS,
    )?;
    if is_from_registry {
        let model = check::CheckedModel {
            signature: &signature,
            pipeline: pipeline.as_ref(),
            wiring: wiring.as_ref(),
        };
        check::contract(plan, model, &mut *instance).map_err(VersionLoadError::Checks)?;
    }
    Ok(())
}

/// The artifact's signature, narrowed to what is declared for it.
fn declared_signature(plan: &VersionPlan, found: &Signature) -> Result<Signature, LoadError> {
    let mut signature = found.clone();
    if let Some(config) = &plan.triton {
        source::triton::check_declared(config, &mut signature)?;
    }
    if plan.is_remote() {
        // Also of a folder: people declare what they rely on, and the servers can change.
        let declared = check::declared_signature(&plan.manifest.signature, &signature);
        declared.map_err(|problem| LoadError::Engine {
            engine: REMOTE,
            message: problem,
        })?;
    }
    for output in &plan.manifest.outputs {
        if signature.output(&output.name).is_err() {
            return Err(LoadError::Unsupported {
                side: "output",
                name: output.name.clone(),
                problem: "is in model.toml but not in the model".to_owned(),
            });
        }
    }
    Ok(signature)
}

fn default_instances(artifact: &dyn LoadedArtifact) -> Result<Vec<Box<dyn Instance>>, LoadError> {
    (0..artifact.default_instances())
        .map(|_| artifact.instance())
        .collect()
}
