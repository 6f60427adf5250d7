//! The limit of the size of an answer.

use tidegate_serving::{ErrorCode, InferError};

/// Refuses an answer of this many bytes if it exceeds the limit.
pub(crate) fn refuse_beyond(max_bytes: usize, bytes: usize) -> Result<(), InferError> {
    if bytes <= max_bytes {
        return Ok(());
    }
    let message = format!(
        "the answer has at least {bytes} bytes, the maximum is {max_bytes} (server.max_answer_bytes)"
    );
    Err(InferError::new(ErrorCode::AnswerTooLarge, message))
}
