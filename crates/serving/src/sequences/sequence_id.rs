//! Which sequence a request belongs to.

use std::fmt;
use std::sync::Arc;

/// The place of a request in a sequence, as the client says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceRequest {
    /// The sequence.
    pub id: SequenceId,
    /// Whether the sequence begins with this request.
    pub start: bool,
    /// Whether it ends with this request.
    pub end: bool,
}

/// The client's name of a sequence. A number and its digits as text are different sequences.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SequenceId {
    /// A number from 1.
    Number(u64),
    /// A text of 1 to [`SequenceId::MAX_BYTES`] bytes.
    Text(Arc<str>),
}

impl SequenceId {
    /// The longest text that is an id, in bytes, as in Triton.
    pub const MAX_BYTES: usize = 128;
}

/// As an error message shows it.
impl fmt::Display for SequenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}
