//! Deciding which finished requests are kept.

use std::sync::Arc;
use std::time::Instant;

use tidegate_redaction::Redactor;

use crate::exporter::Queue;
use crate::slowest::Slowest;
use crate::spans::Spans;
use crate::{FinishedRequest, RequestOutcome, TracesConfig};

/// Why the trace of a request is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepReason {
    /// Its client decided it, or it was drawn at random, before it ran.
    Sampled,
    /// It failed through a fault of the server.
    Failed,
    /// It was among the slowest of its version.
    Slow,
}

impl KeepReason {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::Sampled, Self::Failed, Self::Slow];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sampled => "sampled",
            Self::Failed => "failed",
            Self::Slow => "slow",
        }
    }
}

/// Takes finished requests, and queues the spans of those that are kept.
pub struct Recorder {
    keep_failed: bool,
    slowest: Slowest,
    spans: Spans,
    queue: Queue,
}

impl Recorder {
    pub(crate) fn new(config: &TracesConfig, redactor: Arc<Redactor>, queue: Queue) -> Self {
        let slowest = Slowest::new(config.keep_slowest, Instant::now());
        Self {
            keep_failed: config.keep_failed,
            slowest,
            spans: Spans::new(config.baggage.clone(), redactor),
            queue,
        }
    }

    /// Decides whether the trace of a request is kept, and queues its spans if so. Never blocks.
    pub fn offer(&mut self, request: &FinishedRequest<'_>, now: Instant) -> Option<KeepReason> {
        let reason = self.keeps(request, now)?;
        self.queue.push(self.spans.of(request));
        Some(reason)
    }

    fn keeps(&mut self, request: &FinishedRequest<'_>, now: Instant) -> Option<KeepReason> {
        if request.context.is_sampled {
            return Some(KeepReason::Sampled);
        }
        match request.outcome {
            RequestOutcome::Failed { is_fault: true, .. } => {
                self.keep_failed.then_some(KeepReason::Failed)
            }
            // Errors of clients are not kept: one client that sends nonsense could fill the collector.
            RequestOutcome::Failed { .. } => None,
            RequestOutcome::Answered | RequestOutcome::Abandoned => self
                .slowest
                .keeps(request.version?, request.total, now)
                .then_some(KeepReason::Slow),
        }
    }
}
