//! What a loaded version needs to remember sequences.

use std::sync::Arc;

use tidegate_core::Signature;

use super::{SequenceLimits, Wiring};

/// The sequences of one load of a version.
pub(crate) struct VersionSequences {
    pub(crate) wiring: Wiring,
    pub(crate) limits: Arc<SequenceLimits>,
    /// All inputs and outputs of the model, with the states and flags that clients do not see.
    pub(crate) signature: Signature,
}
