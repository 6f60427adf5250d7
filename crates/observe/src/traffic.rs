//! What the requests of some time came to.

use crate::Sketch;

/// One finished request, as it is counted in [`Traffic`]; times in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Finished {
    /// How it ended.
    pub ending: Ending,
    /// Rows answered.
    pub rows: u64,
    /// Rows that ran together with them.
    pub batch_rows: u64,
    /// From received to answered.
    pub total_ns: u64,
    /// Waiting for an instance.
    pub queue_ns: u64,
    /// In the engine.
    pub run_ns: u64,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// It was answered.
    #[default]
    Answered,
    /// The server failed it: one of [`SERVER_FAULTS`](crate::SERVER_FAULTS).
    Failed,
    /// It was wrong.
    Wrong,
    /// Its client went away.
    Abandoned,
}

/// What requests came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests answered.
    pub answered: u64,
    /// Requests that the server failed.
    pub failed: u64,
    /// Requests that were wrong.
    pub wrong: u64,
    /// Requests whose client went away.
    pub abandoned: u64,
    /// Rows answered.
    pub rows: u64,
    /// Over the answered requests, the sum of the rows of the batches that they ran in.
    pub batch_rows: u64,
    /// Time of answered requests, from received to answered.
    pub request: Sketch,
    /// Time of answered requests waiting for an instance.
    pub queue: Sketch,
    /// Time of answered requests in the engine.
    pub run: Sketch,
}

impl Traffic {
    /// Counts a request.
    pub fn count(&mut self, request: &Finished) {
        match request.ending {
            Ending::Failed => self.failed += 1,
            Ending::Wrong => self.wrong += 1,
            Ending::Abandoned => self.abandoned += 1,
            Ending::Answered => {
                self.answered += 1;
                self.rows += request.rows;
                self.batch_rows += request.batch_rows;
                self.request.add(request.total_ns);
                self.queue.add(request.queue_ns);
                self.run.add(request.run_ns);
            }
        }
    }

    /// Adds what was counted elsewhere. Associative and commutative.
    pub fn merge(&mut self, other: &Self) {
        self.answered += other.answered;
        self.failed += other.failed;
        self.wrong += other.wrong;
        self.abandoned += other.abandoned;
        self.rows += other.rows;
        self.batch_rows += other.batch_rows;
        self.request.merge(&other.request);
        self.queue.merge(&other.queue);
        self.run.merge(&other.run);
    }

    /// All requests.
    pub fn requests(&self) -> u64 {
        self.answered + self.failed + self.wrong + self.abandoned
    }

    /// The share that the server failed of those that it answered or failed; `None` if there were
    /// none.
    pub fn error_rate(&self) -> Option<f64> {
        let counted = self.answered + self.failed;
        (counted > 0).then(|| self.failed as f64 / counted as f64)
    }

    /// The mean of the rows that a request ran together with, its own among them; `None` without
    /// answers.
    pub fn mean_batch_rows(&self) -> Option<f64> {
        (self.answered > 0).then(|| self.batch_rows as f64 / self.answered as f64)
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.request.bytes() + self.queue.bytes() + self.run.bytes()
    }

    pub(crate) fn shrink(&mut self) {
        for sketch in [&mut self.request, &mut self.queue, &mut self.run] {
            sketch.shrink();
        }
    }
}
