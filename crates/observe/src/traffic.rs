//! Counts and times of the requests of a period.

use crate::Sketch;

/// One finished request, as [`Traffic`] counts it; times in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FinishedRequest {
    /// How it ended.
    pub outcome: RequestOutcome,
    /// Rows answered.
    pub rows: u64,
    /// Rows of the batch that the request ran in, its own included.
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
pub enum RequestOutcome {
    /// It was answered.
    #[default]
    Answered,
    /// The server failed it: one of [`SERVER_FAULTS`](crate::SERVER_FAULTS).
    Failed,
    /// The request was not valid.
    ClientError,
    /// The client went away before it was answered.
    Abandoned,
}

/// Counts and times of requests. Mergeable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests answered.
    pub answered: u64,
    /// Requests that the server failed.
    pub failed: u64,
    /// Requests that were not valid.
    pub client_errors: u64,
    /// Requests whose client went away.
    pub abandoned: u64,
    /// Rows answered.
    pub rows: u64,
    /// Sum over the answered requests: rows of the batch that each ran in.
    pub batch_rows: u64,
    /// Time of answered requests, from received to answered.
    pub request: Sketch,
    /// Time of answered requests waiting for an instance.
    pub queue: Sketch,
    /// Time of answered requests in the engine.
    pub run: Sketch,
}

impl Traffic {
    /// Counts one request.
    pub fn count(&mut self, request: &FinishedRequest) {
        match request.outcome {
            RequestOutcome::Failed => self.failed += 1,
            RequestOutcome::ClientError => self.client_errors += 1,
            RequestOutcome::Abandoned => self.abandoned += 1,
            // Only answered requests have times worth a quantile: a refusal is fast, an abandoned
            // request as long as its client was patient.
            RequestOutcome::Answered => {
                self.answered += 1;
                self.rows += request.rows;
                self.batch_rows += request.batch_rows;
                self.request.add(request.total_ns);
                self.queue.add(request.queue_ns);
                self.run.add(request.run_ns);
            }
        }
    }

    /// Adds other counts. Associative and commutative.
    pub fn merge(&mut self, other: &Self) {
        self.answered += other.answered;
        self.failed += other.failed;
        self.client_errors += other.client_errors;
        self.abandoned += other.abandoned;
        self.rows += other.rows;
        self.batch_rows += other.batch_rows;
        self.request.merge(&other.request);
        self.queue.merge(&other.queue);
        self.run.merge(&other.run);
    }

    /// All requests.
    pub fn requests(&self) -> u64 {
        self.answered + self.failed + self.client_errors + self.abandoned
    }

    /// Failed requests over answered and failed ones; `None` if there were none. Client errors and
    /// abandoned requests do not count.
    pub fn error_rate(&self) -> Option<f64> {
        // As in the availability objective, so that both show the same rate.
        let counted = self.answered + self.failed;
        (counted > 0).then(|| self.failed as f64 / counted as f64)
    }

    /// Mean rows of the batch that a request ran in; `None` without answered requests.
    pub fn mean_batch_rows(&self) -> Option<f64> {
        // Weighted by requests, not by batches: it is what a request meets.
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
