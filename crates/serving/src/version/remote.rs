//! Requests of a version that other servers run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tidegate_core::{Signature, Tensor};
use tidegate_engines::{ConcurrentRunner, RunContext};

use crate::scheduler::{Completed, Timing, Work};
use crate::stats::VersionStats;
use crate::{InferError, RequestTrace};

/// Sends requests as they come: the servers that run them make batches of their own.
pub(crate) struct RemoteRuns {
    runner: Arc<dyn ConcurrentRunner>,
    stats: Arc<VersionStats>,
    /// Whether axis 0 of every input and output takes any extent, so that it may count rows.
    may_have_rows: bool,
}

impl RemoteRuns {
    pub(super) fn new(
        runner: Arc<dyn ConcurrentRunner>,
        stats: Arc<VersionStats>,
        signature: &Signature,
    ) -> Self {
        let mut tensors = signature.inputs.iter().chain(&signature.outputs);
        Self {
            runner,
            stats,
            may_have_rows: tensors.all(|spec| spec.has_dynamic_first_axis()),
        }
    }

    /// Requests that wait to be sent.
    pub(super) fn waiting(&self) -> usize {
        self.runner.waiting()
    }

    /// The rows of a request, for statistics.
    pub(crate) fn rows(&self, work: &Work) -> usize {
        let first = work.inputs.iter().flatten().next();
        let rows = first.filter(|_| self.may_have_rows).map(Tensor::rows);
        rows.unwrap_or(work.rows)
    }

    /// Runs a request. Dropping the future gives it up. In a box: the future of every other request
    /// would be larger by what this one needs.
    ///
    /// # Errors
    /// Why the servers have no answer.
    pub(crate) fn run(
        &self,
        work: Work,
        trace: Option<&RequestTrace>,
    ) -> BoxFuture<'_, Result<Completed, InferError>> {
        let accepted = Instant::now();
        let rows = self.rows(&work);
        let context = RunContext {
            deadline: work.deadline,
            trace: trace.map(|trace| trace.context.clone()),
        };
        let run = self.runner.run(work.inputs, context);
        Box::pin(async move {
            let finished = run.await?;
            let infer = finished.started.elapsed();
            let batch = self.stats.count_batch(rows, Duration::ZERO, infer);
            let timing = Timing {
                queue: finished.started.saturating_duration_since(accepted),
                compute_infer: infer,
                batch_rows: rows,
                started: Some(finished.started),
                batch,
                ..Timing::default()
            };
            Ok(Completed {
                outputs: finished.outputs,
                timing,
            })
        })
    }
}
