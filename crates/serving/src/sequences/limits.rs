//! How many sequences a version remembers, and how much of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidegate_core::SequenceSpec;

use super::live::EndReason;
use super::metrics::{SequenceMetrics, VersionSequenceMetrics};
use crate::{ErrorCode, InferError};

/// The limits of one load of a version, and what is taken of them.
pub(crate) struct SequenceLimits {
    model: String,
    max_sequences: usize,
    max_state_bytes: usize,
    /// After so long without a request a sequence ends.
    pub(super) idle_timeout: Duration,
    /// After so long a sequence of a version that was replaced ends.
    pub(super) replaced_timeout: Duration,
    live: AtomicUsize,
    bytes: AtomicUsize,
    metrics: VersionSequenceMetrics,
}

/// What one sequence takes of the limits, until it is dropped.
pub(super) struct Place {
    limits: Arc<SequenceLimits>,
    bytes: usize,
    /// Whether its first request was answered.
    has_started: bool,
    reason: EndReason,
}

impl SequenceLimits {
    pub(crate) fn new(
        spec: &SequenceSpec,
        metrics: &SequenceMetrics,
        model: &str,
        version: &str,
    ) -> Self {
        Self {
            model: model.to_owned(),
            max_sequences: spec.max_sequences,
            max_state_bytes: spec.max_state_bytes,
            idle_timeout: Duration::from_millis(spec.idle_timeout_ms),
            replaced_timeout: Duration::from_millis(spec.replaced_timeout_ms),
            live: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            metrics: metrics.of_version(model, version),
        }
    }

    /// A place for one more sequence with a state of so many bytes.
    ///
    /// # Errors
    /// [`ErrorCode::SequencesFull`].
    pub(super) fn place(self: &Arc<Self>, bytes: usize) -> Result<Place, InferError> {
        if !add(&self.live, 1, self.max_sequences) {
            return Err(self.full("sequences.max_sequences", self.max_sequences));
        }
        self.metrics.live.inc();
        let mut place = Place {
            limits: self.clone(),
            bytes: 0,
            has_started: false,
            reason: EndReason::End,
        };
        place.resize(bytes)?;
        Ok(place)
    }

    /// Counts a request that was refused.
    pub(crate) fn count_refused(&self, code: ErrorCode) {
        self.metrics.count_refused(code);
    }

    fn full(&self, limit: &str, most: usize) -> InferError {
        let message = format!(
            "model \"{}\" has no place for the state: {limit} is {most}; end a sequence, or retry \
             when one has ended",
            self.model
        );
        InferError::new(ErrorCode::SequencesFull, message)
    }
}

impl Place {
    /// Takes more bytes, or gives some back.
    ///
    /// # Errors
    /// [`ErrorCode::SequencesFull`] for more than there are.
    pub(super) fn resize(&mut self, bytes: usize) -> Result<(), InferError> {
        let limits = &self.limits;
        if bytes > self.bytes {
            let more = bytes - self.bytes;
            if !add(&limits.bytes, more, limits.max_state_bytes) {
                return Err(limits.full("sequences.max_state_bytes", limits.max_state_bytes));
            }
            limits.metrics.state_bytes.add(more as i64);
        } else if bytes < self.bytes {
            let less = self.bytes - bytes;
            limits.bytes.fetch_sub(less, Ordering::Relaxed);
            limits.metrics.state_bytes.sub(less as i64);
        }
        self.bytes = bytes;
        Ok(())
    }

    /// The first request was answered.
    pub(super) fn start(&mut self) {
        self.has_started = true;
        self.limits.metrics.started.inc();
    }

    /// Why it is about to be dropped.
    pub(super) fn end(&mut self, reason: EndReason) {
        self.reason = reason;
    }

    pub(super) fn limits(&self) -> &SequenceLimits {
        &self.limits
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let limits = &self.limits;
        limits.live.fetch_sub(1, Ordering::Relaxed);
        limits.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        limits.metrics.live.dec();
        limits.metrics.state_bytes.sub(self.bytes as i64);
        if self.has_started {
            limits.metrics.count_end(self.reason);
        }
    }
}

/// Adds to a count unless that makes it larger than it may be.
fn add(count: &AtomicUsize, more: usize, most: usize) -> bool {
    let added = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
        taken.checked_add(more).filter(|sum| *sum <= most)
    });
    added.is_ok()
}
