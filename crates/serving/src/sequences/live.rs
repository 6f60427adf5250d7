//! A sequence that a version remembers.

use std::sync::Arc;
use std::time::Instant;

use tidegate_core::Tensor;

use super::limits::{Place, SequenceLimits};
use crate::{InferError, Version};

/// The state of a sequence, and the version that it belongs to.
pub(crate) struct LiveSequence {
    version: Arc<Version>,
    states: Vec<Tensor>,
    place: Place,
    /// When it was first seen that new sequences begin on another version.
    pub(super) replaced_at: Option<Instant>,
}

/// Why a sequence is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndReason {
    /// The client has ended it.
    End,
    /// The client has begun anew under its id.
    Restart,
    /// It had no request for too long.
    Idle,
    /// Another version has served new sequences for too long.
    Replaced,
}

impl EndReason {
    pub(super) const ALL: [Self; 4] = [Self::End, Self::Restart, Self::Idle, Self::Replaced];

    /// The name in metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Restart => "restart",
            Self::Idle => "idle",
            Self::Replaced => "replaced",
        }
    }
}

impl LiveSequence {
    /// A sequence that begins on a version, with the initial states.
    pub(super) fn begin(
        version: Arc<Version>,
        limits: &Arc<SequenceLimits>,
        initial: &[Tensor],
    ) -> Result<Self, InferError> {
        Ok(Self {
            place: limits.place(bytes(initial))?,
            states: initial.to_vec(),
            version,
            replaced_at: None,
        })
    }

    pub(super) fn version(&self) -> &Arc<Version> {
        &self.version
    }

    pub(super) fn states(&self) -> &[Tensor] {
        &self.states
    }

    pub(super) fn limits(&self) -> &SequenceLimits {
        self.place.limits()
    }

    /// Takes the memory of the next states beside that of the present ones, as far as they are larger.
    pub(super) fn reserve(&mut self, next: &[Tensor]) -> Result<(), InferError> {
        self.place.resize(bytes(next).max(bytes(&self.states)))
    }

    /// Gives back what was reserved for states that are not taken.
    pub(super) fn release(&mut self) {
        let shrunk = self.place.resize(bytes(&self.states));
        debug_assert!(shrunk.is_ok(), "less is always given");
    }

    /// Replaces the states.
    pub(super) fn advance(&mut self, next: Vec<Tensor>) {
        self.states = next;
        self.release();
    }

    /// The first request was answered.
    pub(super) fn start(&mut self) {
        self.place.start();
    }

    /// Ends it.
    pub(super) fn end(mut self, reason: EndReason) {
        self.place.end(reason);
    }
}

fn bytes(states: &[Tensor]) -> usize {
    states.iter().map(Tensor::byte_len).sum()
}
