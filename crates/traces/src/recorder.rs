//! Deciding which finished requests are kept.

use std::time::Instant;

use crate::exporter::Queue;
use crate::slowest::Slowest;
use crate::spans::Spans;
use crate::{Ended, Finished, TracesConfig};

/// Why the trace of a request is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Its client, or chance, decided so before it ran.
    Sampled,
    /// It failed by the server's fault.
    Failed,
    /// It was among the slowest of its version.
    Slow,
}

impl Kept {
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

/// Takes finished requests and hands on the spans of those that are kept.
pub struct Recorder {
    keep_failed: bool,
    slowest: Slowest,
    spans: Spans,
    queue: Queue,
}

impl Recorder {
    pub(crate) fn new(config: &TracesConfig, queue: Queue) -> Self {
        let slowest = Slowest::new(config.keep_slowest, Instant::now());
        Self {
            keep_failed: config.keep_failed,
            slowest,
            spans: Spans::new(config.baggage.clone()),
            queue,
        }
    }

    /// Keeps the trace of a request, or not. Never blocks.
    pub fn offer(&mut self, request: &Finished<'_>, now: Instant) -> Option<Kept> {
        let kept = self.keeps(request, now)?;
        self.queue.push(self.spans.of(request));
        Some(kept)
    }

    fn keeps(&mut self, request: &Finished<'_>, now: Instant) -> Option<Kept> {
        if request.context.is_sampled {
            return Some(Kept::Sampled);
        }
        match request.ended {
            Ended::Failed { is_fault: true, .. } => self.keep_failed.then_some(Kept::Failed),
            Ended::Failed { .. } => None,
            Ended::Answered | Ended::Abandoned => self
                .slowest
                .keeps(request.version?, request.total, now)
                .then_some(Kept::Slow),
        }
    }
}
