//! What can be wrong with a file, and with a text.

use thiserror::Error;

/// Why a file is no tokenizer, or does not fit its options.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct TokenizerError(pub(crate) String);

/// Why a text cannot be tokenized.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("row {row}: the text {problem}")]
pub struct EncodeError {
    /// Its row, from 0.
    pub row: usize,
    /// What the problem is.
    pub problem: TextProblem,
}

/// What is wrong with a text. Each reads on from the name of a field.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TextProblem {
    /// Tokenizing takes many times the memory of the text.
    #[error("has {bytes} bytes, at most {max} are tokenized")]
    Bytes {
        /// Its length.
        bytes: usize,
        /// The longest.
        max: usize,
    },
    /// It is not truncated.
    #[error("has {tokens} tokens, the model takes {max}")]
    Tokens {
        /// Its tokens and the special ones.
        tokens: usize,
        /// The most tokens.
        max: usize,
    },
    /// The text that may be cut is shorter than what is to be cut off.
    #[error("cannot be cut to {max} tokens: the other text alone has as many")]
    OtherTooLong {
        /// The most tokens.
        max: usize,
    },
    /// The tokenizer cannot take it.
    #[error("cannot be tokenized: {0}")]
    Failed(String),
}
