//! Running requests together and handing each its own rows back.
//!
//! ```text
//! request A, 2 rows ─┐ join      ┌───────────┐      split ┌─► A: rows 0..2
//! request B, 1 row  ─┼────► 6 ──►│ Instance  ├──► 6 ──────┼─► B: row  2
//! request C, 3 rows ─┘    rows   └───────────┘   rows     └─► C: rows 3..6
//! ```
//!
//! Invariants: every request of a batch gets exactly one outcome, also if the engine fails or
//! panics. A bad request fails alone. One request alone is neither joined nor split: its tensors
//! pass through as they are.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use tidegate_core::{Tensor, TensorError};
use tidegate_engines::{Instance, RunError};

use super::accepted_work::AcceptedWork;
use super::batch_contract::RowCheck;
use super::run_time_model::RunTimeModel;
use super::{Completed, Limits, Timing};
use crate::InferError;
use crate::stats::VersionStats;

/// Requests that run together.
pub(super) struct Batch {
    requests: Vec<AcceptedWork>,
}

/// The state in which a run leaves the instance.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum InstanceState {
    Usable,
    /// The engine panicked: the instance may be in any state.
    Panicked,
}

/// The outputs of a run and where its time went.
struct FinishedRun {
    outputs: Vec<Tensor>,
    started: Instant,
    join: Duration,
    infer: Duration,
    ended: Instant,
}

enum Failure {
    Run(RunError),
    /// Outputs do not have the rows of the inputs; which.
    Rows(String),
    Panic(String),
}

impl Batch {
    pub(super) fn new(requests: Vec<AcceptedWork>) -> Self {
        Self { requests }
    }

    /// Rows of all its requests.
    pub(super) fn rows(&self) -> usize {
        self.requests.iter().map(|request| request.work.rows).sum()
    }

    /// Bytes of a row of its first request: the others' are much alike.
    pub(super) fn row_bytes(&self) -> usize {
        let first = self.requests.first();
        first.map_or(0, |request| request.work.row_bytes())
    }

    fn bytes(&self) -> usize {
        let bytes = self.requests.iter().map(|request| request.work.bytes());
        bytes.sum()
    }

    /// Whether outputs must have the rows of the inputs along their first axis.
    fn has_batch_axis(&self, limits: &Limits) -> bool {
        let runs_alone = self.requests.iter().any(|request| request.work.runs_alone);
        limits.batch_rows().is_some() && !runs_alone
    }

    /// Runs the batch and answers each request.
    pub(super) fn run(
        self,
        instance: &mut dyn Instance,
        limits: &Limits,
        run_times: &RunTimeModel,
        stats: &VersionStats,
    ) -> InstanceState {
        let has_batch_axis = self.has_batch_axis(limits);
        if self.requests.len() > 1 && !has_batch_axis {
            // It was formed before rows turned out to depend on each other.
            return self.run_one_by_one(instance, limits, run_times, stats);
        }
        match run_requests(instance, &self.requests, self.rows(), has_batch_axis) {
            Ok(run) => {
                run_times.learn(self.bytes(), run.infer);
                let number = stats.count_batch(self.rows(), run.join, run.infer);
                let check = self.row_check(&run, limits);
                self.respond(run, number, has_batch_axis);
                if let Some(check) = check {
                    limits.contract.check(&check, instance, stats);
                }
                InstanceState::Usable
            }
            Err(Failure::Rows(reason)) => {
                limits.contract.break_with(reason, stats);
                self.run_one_by_one(instance, limits, run_times, stats)
            }
            Err(Failure::Panic(message)) => {
                self.fail(RunError::Engine(format!("the engine panicked: {message}")));
                InstanceState::Panicked
            }
            Err(Failure::Run(error)) if self.requests.len() == 1 => {
                self.fail(error);
                InstanceState::Usable
            }
            Err(Failure::Run(_)) => self.run_one_by_one(instance, limits, run_times, stats),
        }
    }

    /// A request of the batch that should run again alone, if one is due: the last one, which could
    /// depend on all others.
    fn row_check(&self, run: &FinishedRun, limits: &Limits) -> Option<RowCheck> {
        let [_, .., last] = self.requests.as_slice() else {
            return None;
        };
        if !limits.contract.is_check_due(run.ended, run.infer) {
            return None;
        }
        let rows = last.work.rows;
        let outputs = slice_outputs(&run.outputs, self.rows() - rows, rows);
        Some(RowCheck::new(&last.work.inputs, outputs))
    }

    /// Runs each request of a failed batch again by itself, so that a bad request fails alone.
    fn run_one_by_one(
        self,
        instance: &mut dyn Instance,
        limits: &Limits,
        run_times: &RunTimeModel,
        stats: &VersionStats,
    ) -> InstanceState {
        let mut state = InstanceState::Usable;
        for request in self.requests {
            let alone = Self::new(vec![request]);
            if state == InstanceState::Usable {
                state = alone.run(instance, limits, run_times, stats);
            } else {
                let message = "the engine panicked on another request of the batch";
                // The instance is in an unknown state, and the pool replaces it only after this
                // call.
                alone.fail(RunError::Engine(message.to_owned()));
            }
        }
        state
    }

    /// Answers every request with the same error of a run.
    fn fail(self, error: RunError) {
        let error = InferError::from(error).after_run();
        for request in self.requests {
            request.respond(Err(error.clone()));
        }
    }

    /// Answers each request with its own rows of the outputs.
    fn respond(self, run: FinishedRun, number: u64, has_batch_axis: bool) {
        let batch_rows = self.rows();
        let is_single = self.requests.len() == 1;
        let takes_all = is_single || !has_batch_axis;
        let mut outputs = run.outputs;
        let mut first = 0;
        for request in self.requests {
            let rows = request.work.rows;
            let own_outputs = if takes_all {
                std::mem::take(&mut outputs)
            } else {
                slice_outputs(&outputs, first, rows)
            };
            first += rows;
            let compute_output = if is_single {
                // Nothing was split, so the clock need not be read.
                Duration::ZERO
            } else {
                run.ended.elapsed()
            };
            let timing = Timing {
                queue: run.started.saturating_duration_since(request.accepted_at),
                compute_input: run.join,
                compute_infer: run.infer,
                compute_output,
                batch_rows,
                started: Some(run.started),
                batch: number,
            };
            request.respond(Ok(Completed {
                outputs: own_outputs,
                timing,
            }));
        }
    }
}

/// Joins the inputs, runs the engine and checks the rows of what it returns.
fn run_requests(
    instance: &mut dyn Instance,
    requests: &[AcceptedWork],
    rows: usize,
    has_batch_axis: bool,
) -> Result<FinishedRun, Failure> {
    let started = Instant::now();
    let joined;
    let (inputs, join) = match requests {
        [request] => (&request.work.inputs, Duration::ZERO),
        requests => {
            joined = join_inputs(requests).map_err(|error| engine_failure(error.to_string()))?;
            (&joined, started.elapsed())
        }
    };
    // The instance is not used again after a panic, so what it was doing cannot be observed.
    let result = catch_unwind(AssertUnwindSafe(|| instance.run(inputs)));
    let outputs = match result {
        Ok(outputs) => outputs.map_err(Failure::Run)?,
        Err(panic) => return Err(Failure::Panic(panic_message(&*panic))),
    };
    if has_batch_axis {
        check_rows(&outputs, rows)?;
    }
    let ended = Instant::now();
    Ok(FinishedRun {
        outputs,
        started,
        join,
        // Triton's statistics have the join as a stage of its own.
        infer: ended - started - join,
        ended,
    })
}

/// Without this, a model that mixes rows up would give clients the rows of others.
fn check_rows(outputs: &[Tensor], rows: usize) -> Result<(), Failure> {
    let mut shapes = outputs.iter().map(Tensor::shape).enumerate();
    match shapes.find(|(_, shape)| shape.first() != Some(&rows)) {
        None => Ok(()),
        Some((at, shape)) => Err(Failure::Rows(format!(
            "output {at} has shape {shape} for {rows} rows: it does not follow the batch axis"
        ))),
    }
}

fn engine_failure(message: String) -> Failure {
    Failure::Run(RunError::Engine(message))
}

fn join_inputs(requests: &[AcceptedWork]) -> Result<Vec<Option<Tensor>>, TensorError> {
    let inputs = requests.first().map_or(0, |first| first.work.inputs.len());
    (0..inputs)
        .map(|input| join_input(requests, input))
        .collect()
}

fn join_input(requests: &[AcceptedWork], input: usize) -> Result<Option<Tensor>, TensorError> {
    let parts: Vec<&Tensor> = requests
        .iter()
        .filter_map(|request| request.work.inputs[input].as_ref())
        .collect();
    if parts.is_empty() {
        return Ok(None);
    }
    Tensor::concat_rows(&parts).map(Some)
}

fn slice_outputs(outputs: &[Tensor], first: usize, rows: usize) -> Vec<Tensor> {
    outputs
        .iter()
        .map(|output| output.slice_rows(first, rows))
        .collect()
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
        .to_owned()
}
