//! What goes into the scheduler and what comes out of it.
//!
//! ```text
//! Work ──► Scheduler::submit ──► Completed { outputs, Timing }
//! ```

use std::time::{Duration, Instant};

use tidegate_core::{Tensor, TensorError};
use tidegate_gateway::TenantShare;

use crate::{ErrorCode, InferError};

/// One request for the scheduler: inputs in the order of the signature.
#[derive(Debug)]
pub struct Work {
    /// Bound inputs; `None` for an optional input that was left out.
    pub inputs: Vec<Option<Tensor>>,
    /// Rows along the batch axis; 1 where there is no batch axis.
    pub rows: usize,
    /// The latest time at which the answer is of use.
    pub deadline: Option<Instant>,
    /// Priority level; 0 is the most urgent.
    pub level: usize,
    /// Whether it shares no run, as it has inputs that others leave at their defaults. They may have
    /// no batch axis.
    pub runs_alone: bool,
    /// Who it is scheduled for.
    pub share: TenantShare,
}

impl Work {
    /// Bytes of all inputs: what run times are measured against.
    pub(crate) fn bytes(&self) -> usize {
        self.inputs.iter().flatten().map(Tensor::byte_len).sum()
    }

    pub(crate) fn row_bytes(&self) -> usize {
        self.bytes() / self.rows.max(1)
    }

    /// Parts of at most `max_rows` rows, in order. Their tensors share the memory of this one's.
    pub(super) fn split(&self, max_rows: usize) -> impl Iterator<Item = Self> {
        (0..self.rows.div_ceil(max_rows)).map(move |number| self.part(number, max_rows))
    }

    /// The same work once more, with the same tensors.
    pub(crate) fn share(&self) -> Self {
        Self {
            inputs: self.inputs.clone(),
            share: self.share.clone(),
            ..*self
        }
    }

    /// One of these parts, by its number.
    pub(super) fn part(&self, number: usize, max_rows: usize) -> Self {
        let first = number * max_rows;
        self.slice(first, max_rows.min(self.rows - first))
    }

    fn slice(&self, first: usize, rows: usize) -> Self {
        let inputs = self
            .inputs
            .iter()
            .map(|input| Some(input.as_ref()?.slice_rows(first, rows)))
            .collect();
        Self {
            inputs,
            rows,
            share: self.share.clone(),
            ..*self
        }
    }
}

/// The outputs of one request, in the order of the signature.
#[derive(Debug)]
pub struct Completed {
    /// The outputs.
    pub outputs: Vec<Tensor>,
    /// Where the time went.
    pub timing: Timing,
}

impl Completed {
    /// The parts of one request, in order, as one.
    pub(super) fn join(parts: &[Self]) -> Result<Self, TensorError> {
        let outputs = parts.first().map_or(0, |part| part.outputs.len());
        let timing = parts
            .iter()
            .map(|part| part.timing)
            .reduce(Timing::join)
            .unwrap_or_default();
        Ok(Self {
            outputs: (0..outputs)
                .map(|output| join_output(parts, output))
                .collect::<Result<_, _>>()?,
            timing,
        })
    }
}

/// The parts of one request that are done, in order. So many of them are joined into one at a time
/// that neither their number nor the copies take much.
#[derive(Default)]
pub(super) struct CompletedParts {
    joined: Vec<Completed>,
    latest: Vec<Completed>,
}

impl CompletedParts {
    const JOINED_AT_ONCE: usize = 1024;

    pub(super) fn is_empty(&self) -> bool {
        self.joined.is_empty() && self.latest.is_empty()
    }

    pub(super) fn push(&mut self, part: Completed) -> Result<(), InferError> {
        self.latest.push(part);
        if self.latest.len() == Self::JOINED_AT_ONCE {
            self.join_latest()?;
        }
        Ok(())
    }

    /// All of them as one.
    pub(super) fn join(mut self) -> Result<Completed, InferError> {
        self.join_latest()?;
        Completed::join(&self.joined).map_err(|error| not_joined(&error))
    }

    fn join_latest(&mut self) -> Result<(), InferError> {
        if !self.latest.is_empty() {
            let joined = Completed::join(&self.latest).map_err(|error| not_joined(&error))?;
            self.joined.push(joined);
            self.latest.clear();
        }
        Ok(())
    }
}

fn not_joined(error: &TensorError) -> InferError {
    InferError::new(ErrorCode::ExecutionFailed, error.to_string())
}

fn join_output(parts: &[Completed], output: usize) -> Result<Tensor, TensorError> {
    let slices: Vec<&Tensor> = parts.iter().map(|part| &part.outputs[output]).collect();
    Tensor::concat_rows(&slices)
}

/// Where the time of a request went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Waiting for an instance.
    pub queue: Duration,
    /// Joining the inputs of the batch.
    pub compute_input: Duration,
    /// Running the engine.
    pub compute_infer: Duration,
    /// Splitting the outputs of the batch.
    pub compute_output: Duration,
    /// Rows that ran together.
    pub batch_rows: usize,
    /// When its batch started to run.
    pub started: Option<Instant>,
    /// The number of its batch among those of the version, from 1.
    pub batch: u64,
}

impl Timing {
    /// The timing of two parts of one request, which ran one after the other or side by side.
    fn join(self, other: Self) -> Self {
        Self {
            // Parts wait at the same time; the work of the instances adds up.
            queue: self.queue.max(other.queue),
            compute_input: self.compute_input + other.compute_input,
            compute_infer: self.compute_infer + other.compute_infer,
            compute_output: self.compute_output + other.compute_output,
            batch_rows: self.batch_rows.max(other.batch_rows),
            started: self.started.min(other.started),
            batch: self.batch,
        }
    }
}
