//! A version that is a graph of other models: it has no artifact, and no instances of its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tidegate_core::{Dim, Signature, TensorSpec};
use tidegate_engines::{Instance, LoadError, LoadedArtifact};
use tidegate_graph::Graph;
use tracing::{info, warn};

use super::known_answer::KnownAnswer;
use super::load::{NEXT_LOAD_ID, VersionLoadError};
use super::{
    DEFAULT_MAX_BATCH_ROWS, LastUsed, LoadMetrics, Runner, Version, VersionPlan, compile_pipeline,
};
use crate::clock::unix_ms;
use crate::scheduler::{Limits, Scheduler};
use crate::source::reshape::Reshapes;
use crate::{ModelState, check};

/// The name of graphs where a version's engine is shown.
pub(crate) const GRAPH: &str = "graph";
/// Triton's name of them.
const PLATFORM: &str = "ensemble";

/// The graph of a version, and its inputs and outputs; `None` if its manifest has none.
///
/// # Errors
/// What is wrong with it, by name.
pub fn compile_graph(plan: &VersionPlan) -> Result<Option<(Graph, Signature)>, String> {
    let Some(spec) = &plan.manifest.graph else {
        return Ok(None);
    };
    let signature = tidegate_graph::declared(&plan.manifest.signature);
    let signature = signature.map_err(|error| error.to_string())?;
    let has_rows = plan.manifest.batching.max_batch_size != Some(0)
        && signature
            .inputs
            .iter()
            .chain(&signature.outputs)
            .all(counts_rows);
    let graph = Graph::compile(spec, &signature, has_rows).map_err(|error| error.to_string())?;
    Ok(Some((graph, signature)))
}

fn counts_rows(spec: &TensorSpec) -> bool {
    let dims = spec.dims.as_ref();
    dims.is_some_and(|dims| dims.first() == Some(&Dim::Any))
}

impl Version {
    /// Loads a graph. Its nodes may still be absent: a request finds out which versions they are.
    pub(super) fn load_graph(
        model: &str,
        plan: VersionPlan,
        metrics: &LoadMetrics,
        report_state: &dyn Fn(ModelState),
    ) -> Result<Self, VersionLoadError> {
        let started = Instant::now();
        report_state(ModelState::Verifying);
        check::files_and_weights(&plan).map_err(VersionLoadError::Checks)?;
        report_state(ModelState::Loading);
        let compiled = compile_graph(&plan).map_err(VersionLoadError::Graph)?;
        let Some((graph, signature)) = compiled else {
            return Err(VersionLoadError::Graph("there is none".to_owned()));
        };
        let pipeline = compile_pipeline(&plan, &signature).map_err(VersionLoadError::Pipeline)?;
        let number = plan.number.to_string();
        let limits = limits(&plan, &graph);
        let max_rows = limits.max_batch_rows.map_or(1, usize::from);
        let stats = Arc::new(metrics.requests().version_stats(model, &number, max_rows));
        let pipeline = pipeline.map(|pipeline| Arc::new(stats.counters().counted(pipeline)));
        // Nothing ever waits in it: nodes wait in the queues of their own models.
        let nothing: Arc<dyn LoadedArtifact> = Arc::new(NoArtifact(signature.clone()));
        let name = format!("{model}:{number}");
        let scheduler = Scheduler::new(name, limits, nothing, Vec::new(), stats.clone());
        let load_time = started.elapsed();
        metrics.set_loaded(model, &number, load_time, 0);
        info!(
            model,
            version = plan.number,
            nodes = graph.nodes().len(),
            "graph loaded"
        );
        if !graph.unused().is_empty() {
            let unused = graph.unused().join(", ");
            warn!(
                model,
                version = plan.number,
                unused,
                "no output needs these"
            );
        }
        Ok(Self {
            breaker: metrics.breakers().for_version(model, &number, None),
            model: model.to_owned(),
            number,
            engine: GRAPH,
            platform: PLATFORM,
            known_answer: KnownAnswer::of(&signature.outputs),
            signature,
            pipeline,
            sequences: None,
            reshapes: Reshapes::default(),
            scheduler,
            runner: Runner::Graph(Box::new(graph)),
            stats,
            memory_bytes: 0,
            load_time,
            loaded_ms: unix_ms(),
            file_bytes: plan.file_bytes(),
            threads: 0,
            last_used: LastUsed::now(),
            load_id: NEXT_LOAD_ID.fetch_add(1, Ordering::Relaxed),
            plan,
        })
    }

    /// The graph of models that it is, if it is one.
    pub fn graph(&self) -> Option<&Graph> {
        match &self.runner {
            Runner::Graph(graph) => Some(graph),
            _ => None,
        }
    }
}

fn limits(plan: &VersionPlan, graph: &Graph) -> Limits {
    let batching = &plan.manifest.batching;
    let max_rows = batching
        .max_batch_size
        .and_then(std::num::NonZeroUsize::new);
    let max_rows = max_rows.unwrap_or(DEFAULT_MAX_BATCH_ROWS);
    Limits {
        inline_run: Duration::ZERO,
        ..Limits::new(batching, graph.has_rows().then_some(max_rows))
    }
}

/// What the queue of a graph would run, if anything were in it.
struct NoArtifact(Signature);

impl LoadedArtifact for NoArtifact {
    fn signature(&self) -> &Signature {
        &self.0
    }

    fn default_instances(&self) -> usize {
        0
    }

    fn run_time_is_bounded(&self) -> bool {
        false
    }

    fn instance(&self) -> Result<Box<dyn Instance>, LoadError> {
        Err(LoadError::Engine {
            engine: GRAPH,
            message: "a graph has no instances".to_owned(),
        })
    }
}
