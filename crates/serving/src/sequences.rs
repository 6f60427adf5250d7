//! Sequences: requests of a client that a model remembers.
//!
//! ```text
//! request of a sequence ─► Turn: one request of a sequence at a time, in order of arrival
//!                             │
//!    client's inputs          ▼
//!    states, flags, id ──► Wiring::assemble ─► scheduler ─► Wiring::take_off ─► client's outputs
//!          ▲                                                      │
//!          └────────────── once the answer is encoded ◄── states ─┘
//! ```
//!
//! A state is a tensor like any other: the scheduler joins the rows of different sequences into one
//! batch, on every engine. Invariants:
//! - A state is only read and replaced by the request that has the [`Turn`] of its sequence.
//! - It is replaced after the answer was encoded, or not at all.
//! - A sequence is found only by the caller, the endpoint and the id that it was started with.
//! - A sequence goes on with the version that it began on, and is never given to another one.
//! - A request that is not the first of its sequence never runs with the initial state.

mod controls;
mod initial_state;
mod limits;
mod live;
mod metrics;
mod sequence_id;
mod sweep;
mod table;
mod turn;
mod version_sequences;
mod wiring;

pub(crate) use self::limits::SequenceLimits;
pub(crate) use self::metrics::SequenceMetrics;
pub use self::sequence_id::{SequenceId, SequenceRequest};
pub(crate) use self::table::{SequenceKey, SequenceTable};
pub(crate) use self::turn::Turn;
pub(crate) use self::version_sequences::VersionSequences;
pub(crate) use self::wiring::Wiring;

#[cfg(test)]
mod tests;
