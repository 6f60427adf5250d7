//! The limit of what an answer may hold.

use tidegate_serving::{ErrorCode, InferError};

/// Refuses an answer of so many bytes if it is larger than it may be.
pub(crate) fn refuse_beyond(max_bytes: usize, bytes: usize) -> Result<(), InferError> {
    if bytes <= max_bytes {
        return Ok(());
    }
    let message = format!(
        "the answer has at least {bytes} bytes, at most {max_bytes} are sent (server.max_answer_bytes)"
    );
    Err(InferError::new(ErrorCode::AnswerTooLarge, message))
}
