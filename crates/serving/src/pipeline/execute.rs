//! The steps from the queue to the outputs that the client asked for.

use std::time::Instant;

use tidegate_gateway::{CacheOutcome, TenantShare};

use super::graph::{self, RunScope};
use super::postprocess::postprocess;
use crate::endpoints::{Sample, VersionBreaker, is_failed_run};
use crate::scheduler::{AllowedTime, Completed, Work};
use crate::version::Runner;
use crate::{InferError, OutputTensor, Timing, Version};

/// What a run gave.
#[derive(Clone, Debug)]
pub struct Executed {
    /// In the order asked for, or of the signature.
    pub outputs: Vec<OutputTensor>,
    /// Where the time went.
    pub timing: Timing,
}

impl Executed {
    /// The same as an answer: a run that was made for another request takes no time of this one.
    pub(super) fn answering(self, outcome: CacheOutcome) -> Self {
        match outcome.is_computed() {
            true => self,
            false => Self {
                timing: Timing::default(),
                ..self
            },
        }
    }

    /// Bytes of all outputs.
    pub(super) fn bytes(&self) -> usize {
        self.outputs
            .iter()
            .map(|output| output.tensor.byte_len())
            .sum()
    }
}

/// Schedules work, runs it, and picks the outputs that were asked for.
pub(super) async fn execute(
    version: &Version,
    work: Work,
    wanted: &[(usize, usize)],
    allowed: Option<AllowedTime>,
    scope: &RunScope<'_>,
) -> Result<Executed, InferError> {
    let scheduler = version.scheduler();
    let submitted = match (version.runner(), version.breaker()) {
        (Runner::Instances, None) => scheduler.submit(work).await,
        // Boxed: requests without a breaker need not carry the place for it.
        (_, Some(breaker)) => Box::pin(guarded(breaker, version, work, allowed, scope)).await,
        (Runner::Remote(remote), None) => remote.run(work, scope.trace).await,
        (Runner::Graph(graph), None) => graph::run(version, graph, work, scope).await,
    };
    let completed = submitted.map_err(|error| scheduler.explain_deadline(error, allowed))?;
    let outputs = postprocess(version, completed.outputs, wanted);
    Ok(Executed {
        timing: completed.timing,
        outputs: outputs.map_err(InferError::after_run)?,
    })
}

/// Schedules work and runs it, where the outputs are not only the client's.
pub(super) async fn submit(
    version: &Version,
    work: Work,
    allowed: Option<AllowedTime>,
    scope: &RunScope<'_>,
) -> Result<Completed, InferError> {
    let scheduler = version.scheduler();
    let submitted = match version.breaker() {
        None => scheduler.submit(work).await,
        Some(breaker) => Box::pin(guarded(breaker, version, work, allowed, scope)).await,
    };
    submitted.map_err(|error| scheduler.explain_deadline(error, allowed))
}

/// Runs work if the breaker of the version lets it through.
async fn guarded(
    breaker: &VersionBreaker,
    version: &Version,
    work: Work,
    allowed: Option<AllowedTime>,
    scope: &RunScope<'_>,
) -> Result<Completed, InferError> {
    let pass = breaker.pass()?;
    let deadline = work.deadline;
    let outcome = match version.runner() {
        Runner::Instances => version.scheduler().submit(work).await,
        Runner::Remote(remote) => remote.run(work, scope.trace).await,
        Runner::Graph(graph) => graph::run(version, graph, work, scope).await,
    };
    // A client that allows less time than a run takes is to blame itself: it must not shut others out.
    let scheduler = version.scheduler();
    let outcome = outcome.map_err(|error| scheduler.explain_deadline(error, allowed));
    match &outcome {
        Err(error) if is_failed_run(error.code) && version.remote().is_none() => {
            let now = Instant::now();
            let blame = breaker.blame(|sample| run_sample(version, sample)).await;
            pass.end_failed(blame, now);
        }
        outcome => pass.end(outcome, deadline),
    }
    outcome
}

/// Runs inputs that are known to be good.
async fn run_sample(version: &Version, sample: Sample) -> Result<(), InferError> {
    let work = Work {
        inputs: sample,
        rows: 1,
        deadline: None,
        // A request waits for it that has had its turn already.
        level: 0,
        // In a run with wrong inputs it would fail with them first.
        runs_alone: true,
        share: TenantShare::default(),
    };
    version.scheduler().submit(work).await.map(drop)
}
