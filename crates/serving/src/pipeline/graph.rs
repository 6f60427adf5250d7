//! Running a graph: each node in the queue of its own model, together with whatever else waits there.
//!
//! ```text
//! execute ─► graph::run ─► Graph::run ─► run_node ─► prepare ─► execute ─► Scheduler of the node's version
//!                                           ▲                     │
//!                                           └── a graph in a graph┘
//! ```
//!
//! The request was authenticated and limited once, for the endpoint of the graph. Its nodes have its
//! deadline, priority and tenant, and leave no observation of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tidegate_core::Tensor;
use tidegate_gateway::TenantShare;
use tidegate_graph::{Graph, Node, NodeRunner, RunError};

use super::execute::{Executed, execute};
use crate::models::MAX_GRAPH_DEPTH;
use crate::request::NodeRun;
use crate::scheduler::{Completed, INLINE_RUN, Timing, Work};
use crate::version::Prepared;
use crate::version_finder::{VersionFinder, keeps_states, node_text, unavailable};
use crate::{
    ErrorCode, InferError, InferRequest, MemoryReservation, RequestTrace, RequestedOutput, Version,
};

/// Most nodes that one request runs, those of graphs in graphs included.
const MAX_NODE_RUNS: usize = 256;

/// What a run has beside its work.
pub(super) struct RunScope<'a> {
    pub(super) finder: &'a VersionFinder,
    pub(super) trace: Option<&'a RequestTrace>,
    /// What the request takes of the memory budget; graphs take more beside it.
    pub(super) memory: &'a MemoryReservation,
    /// The graph that this is a node of.
    pub(super) graph: Option<&'a GraphRequest>,
    /// How many graphs this is in.
    pub(super) depth: usize,
}

/// What the graphs of one request share.
pub(super) struct GraphRequest {
    /// What the tensors between the nodes take.
    memory: Mutex<MemoryReservation>,
    nodes_left: AtomicUsize,
    /// Whether a node has run: then the request counts in the limits of its caller.
    has_run: AtomicBool,
    /// When it last let the other requests of its thread go on.
    yielded: Mutex<Instant>,
    /// The nodes that ended, for the trace.
    ended: Option<Mutex<Vec<NodeRun>>>,
}

/// Runs a request of a graph. Dropping the future gives it up, with all of its nodes.
pub(super) fn run<'a>(
    version: &'a Version,
    graph: &'a Graph,
    work: Work,
    scope: &'a RunScope<'a>,
) -> BoxFuture<'a, Result<Completed, InferError>> {
    // In a box of its own type: a graph may be a node of another one.
    Box::pin(async move {
        match scope.graph {
            Some(request) => run_in(request, version, graph, work, scope).await,
            None => run_outermost(version, graph, work, scope).await,
        }
    })
}

async fn run_outermost(
    version: &Version,
    graph: &Graph,
    work: Work,
    scope: &RunScope<'_>,
) -> Result<Completed, InferError> {
    let request = GraphRequest {
        memory: Mutex::new(scope.memory.beside()),
        nodes_left: AtomicUsize::new(MAX_NODE_RUNS),
        has_run: AtomicBool::new(false),
        yielded: Mutex::new(Instant::now()),
        ended: scope.trace.map(|_| Mutex::default()),
    };
    let noted = NotedNodes(&request, scope.trace);
    let completed = run_in(&request, version, graph, work, scope).await;
    drop(noted);
    completed.map_err(|error| match request.has_run.load(Ordering::Relaxed) {
        true => error.after_run(),
        false => error,
    })
}

/// Shows the nodes in the trace of their request, also if that fails or is given up.
struct NotedNodes<'a>(&'a GraphRequest, Option<&'a RequestTrace>);

impl Drop for NotedNodes<'_> {
    fn drop(&mut self) {
        if let (Some(ended), Some(trace)) = (&self.0.ended, self.1) {
            let nodes = std::mem::take(&mut *ended.lock());
            // An attempt before this one may have noted its own; those of the first are kept.
            let _ = trace.nodes.set(nodes.into());
        }
    }
}

async fn run_in(
    request: &GraphRequest,
    version: &Version,
    graph: &Graph,
    work: Work,
    scope: &RunScope<'_>,
) -> Result<Completed, InferError> {
    let started = Instant::now();
    if scope.depth >= MAX_GRAPH_DEPTH {
        let name = version.model();
        let problem = format!("graphs are nested deeper than {MAX_GRAPH_DEPTH} at \"{name}\"");
        return Err(InferError::new(ErrorCode::GraphFailed, problem));
    }
    let runner = GraphRunner {
        graph,
        versions: loaded_versions(graph, scope.finder),
        request,
        scope,
        deadline: work.deadline,
        priority: work.level as u64 + 1,
        share: work.share,
        held_bytes: AtomicUsize::new(0),
    };
    let rows = work.rows;
    // The signature of a graph has no optional inputs.
    let inputs = work.inputs.into_iter().flatten().collect();
    let outputs = graph.run(inputs, rows, &runner).await.map_err(of_graph)?;
    let took = started.elapsed();
    Ok(Completed {
        outputs,
        timing: Timing {
            compute_infer: took,
            batch_rows: rows,
            started: Some(started),
            // The time of engines is counted where they run.
            batch: version
                .stats()
                .count_batch(rows, Duration::ZERO, Duration::ZERO),
            ..Timing::default()
        },
    })
}

/// The versions of nodes, all of them as they are at one moment: a model that is swapped meanwhile does
/// not answer by two versions in one request.
fn loaded_versions(graph: &Graph, finder: &VersionFinder) -> Vec<Option<Arc<Version>>> {
    let nodes = graph.nodes().iter();
    let nodes = nodes.map(|node| (node.model(), node.version()));
    finder.models.loaded_versions(nodes)
}

fn of_graph(error: RunError<InferError>) -> InferError {
    match error {
        RunError::Node { error, .. } | RunError::Memory(error) => error,
        RunError::Unfit(problem) => InferError::new(ErrorCode::GraphFailed, problem),
    }
}

/// Runs the nodes of one graph for one request.
struct GraphRunner<'a> {
    graph: &'a Graph,
    /// `None` for those that are loaded when they are needed.
    versions: Vec<Option<Arc<Version>>>,
    request: &'a GraphRequest,
    scope: &'a RunScope<'a>,
    deadline: Option<Instant>,
    priority: u64,
    share: TenantShare,
    /// What the tensors of this graph take.
    held_bytes: AtomicUsize,
}

impl NodeRunner for GraphRunner<'_> {
    type Error = InferError;

    async fn run(
        &self,
        at: usize,
        inputs: Vec<Tensor>,
        rows: usize,
    ) -> Result<Vec<Tensor>, InferError> {
        let node = &self.graph.nodes()[at];
        self.request.let_others_go_on().await;
        let began = Instant::now();
        let version = self.version(node, at).await?;
        let outcome = self.run_node(node, &version, inputs).await;
        self.note(node, &version, began, rows, &outcome);
        if outcome
            .as_ref()
            .map_or_else(|error| error.has_run, |_| true)
        {
            self.request.has_run.store(true, Ordering::Relaxed);
        }
        match outcome {
            Ok(executed) => {
                let outputs = executed.outputs.into_iter();
                Ok(outputs.map(|output| output.tensor).collect())
            }
            Err(error) => Err(InferError {
                message: format!("{}: {}", node_text(node), error.message).into(),
                ..error
            }),
        }
    }

    fn hold(&self, bytes: usize) -> Result<(), InferError> {
        let before = self.held_bytes.swap(bytes, Ordering::Relaxed);
        if before == bytes {
            return Ok(());
        }
        let mut memory = self.request.memory.lock();
        match bytes.checked_sub(before) {
            Some(more) => memory.grow(more, ErrorCode::AnswerTooLarge),
            None => {
                let left = memory.bytes().saturating_sub(before - bytes);
                memory.shrink_to(left);
                Ok(())
            }
        }
    }
}

impl GraphRunner<'_> {
    /// The version of a node, loaded if it is not.
    async fn version(&self, node: &Node, at: usize) -> Result<Arc<Version>, InferError> {
        if self.request.take_run().is_none() {
            let problem = format!(
                "{}: a request runs at most {MAX_NODE_RUNS} nodes, those of graphs in graphs included",
                node_text(node)
            );
            return Err(InferError::new(ErrorCode::GraphFailed, problem));
        }
        if let Some(version) = &self.versions[at] {
            return Ok(version.clone());
        }
        let (model, number) = (node.model(), node.version());
        let demanded = self.scope.finder.demand(model, number, self.deadline).await;
        match demanded {
            Ok((version, _)) => Ok(version),
            Err(error) if is_absent(error.code) => Err(unavailable(node, &error)),
            Err(error) => Err(InferError {
                message: format!("{}: {}", node_text(node), error.message).into(),
                ..error
            }),
        }
    }

    async fn run_node(
        &self,
        node: &Node,
        version: &Arc<Version>,
        inputs: Vec<Tensor>,
    ) -> Result<Executed, InferError> {
        if version.sequences().is_some() {
            return Err(InferError::new(ErrorCode::GraphFailed, keeps_states(node)));
        }
        let now = Instant::now();
        version.last_used().set(now);
        let request = InferRequest {
            inputs: node.inputs().map(str::to_owned).zip(inputs).collect(),
            outputs: node.outputs().map(plain_output).collect(),
            deadline: self.deadline,
            priority: self.priority,
            sequence: None,
            prediction: None,
        };
        let prepared = version.prepare(request, now, self.share.clone());
        // The client has sent what the graph takes; that a node takes something else is no fault of its.
        let unfit = |error: InferError| InferError::new(ErrorCode::GraphFailed, error.message);
        let Prepared { work, outputs } = prepared.map_err(unfit)?;
        version.stats().counters().count_node_run();
        let scope = RunScope {
            graph: Some(self.request),
            depth: self.scope.depth + 1,
            ..*self.scope
        };
        execute(version, work, &outputs, None, &scope).await
    }

    fn note(
        &self,
        node: &Node,
        version: &Version,
        began: Instant,
        rows: usize,
        outcome: &Result<Executed, InferError>,
    ) {
        let Some(ended) = &self.request.ended else {
            return;
        };
        let (model, number) = version.stats().counters().names();
        ended.lock().push(NodeRun {
            node: node.name().into(),
            model: model.clone(),
            version: number.clone(),
            began,
            took: began.elapsed(),
            rows,
            timing: outcome
                .as_ref()
                .map_or_else(|_| Timing::default(), |run| run.timing),
            failed: outcome.as_ref().err().map(|error| error.code),
        });
    }
}

impl Drop for GraphRunner<'_> {
    fn drop(&mut self) {
        // A graph in a graph gives back what its own tensors took.
        let held = *self.held_bytes.get_mut();
        let mut memory = self.request.memory.lock();
        let left = memory.bytes().saturating_sub(held);
        memory.shrink_to(left);
    }
}

impl GraphRequest {
    /// Each short run may stay on the thread that serves the connection. Many of them in a row would hold
    /// up its other connections for as long as a run that may not.
    async fn let_others_go_on(&self) {
        let is_due = {
            let mut yielded = self.yielded.lock();
            let is_due = yielded.elapsed() > INLINE_RUN;
            if is_due {
                *yielded = Instant::now();
            }
            is_due
        };
        if is_due {
            tokio::task::yield_now().await;
        }
    }

    /// Takes one of the runs of nodes that are left.
    fn take_run(&self) -> Option<usize> {
        let one_less = |left: usize| left.checked_sub(1);
        let relaxed = Ordering::Relaxed;
        self.nodes_left
            .fetch_update(relaxed, relaxed, one_less)
            .ok()
    }
}

fn plain_output(name: &str) -> RequestedOutput {
    RequestedOutput {
        name: name.to_owned(),
        classes: 0,
    }
}

/// Whether there is nothing to run.
fn is_absent(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::UnknownModel | ErrorCode::UnknownVersion | ErrorCode::NotReady
    )
}
