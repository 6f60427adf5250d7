//! What goes into the scheduler and what comes out of it.

use std::time::{Duration, Instant};

use tidegate_core::Tensor;

/// What one request asks of the scheduler: inputs in the order of the signature.
#[derive(Debug)]
pub struct Work {
    /// Bound inputs; `None` for an optional one that was left out.
    pub inputs: Vec<Option<Tensor>>,
    /// Rows along the batch axis; 1 where there is no batch axis.
    pub rows: usize,
    /// When the answer is no longer of use.
    pub deadline: Option<Instant>,
    /// Priority level, from 0, the most urgent.
    pub level: usize,
}

impl Work {
    /// Bytes of all inputs, the measure of how long a run takes.
    pub(crate) fn bytes(&self) -> usize {
        self.inputs.iter().flatten().map(Tensor::byte_len).sum()
    }

    pub(crate) fn row_bytes(&self) -> usize {
        self.bytes() / self.rows.max(1)
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
    /// When its batch began to run.
    pub started: Option<Instant>,
    /// The number of its batch among those of the version, from 1.
    pub batch: u64,
}

impl Timing {
    /// Two parts of one request, which ran one after the other or side by side.
    pub(super) fn join(self, other: Self) -> Self {
        Self {
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
