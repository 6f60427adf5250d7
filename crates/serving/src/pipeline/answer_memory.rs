//! The memory of answers: reserved before a run where the signature tells how much it will be.

use crate::{ErrorCode, InferError, MemoryReservation, Version};

/// Reserves what the outputs of so many rows take at least.
pub(super) fn reserve(
    memory: &mut MemoryReservation,
    version: &Version,
    rows: usize,
    max_answer_bytes: usize,
) -> Result<(), InferError> {
    let bytes = version.known_answer().bytes(rows);
    if bytes > max_answer_bytes {
        let message = format!(
            "the outputs of {rows} rows have {bytes} bytes, the maximum is {max_answer_bytes} \
             (server.max_answer_bytes)"
        );
        return Err(InferError::new(ErrorCode::AnswerTooLarge, message));
    }
    memory.grow(bytes, ErrorCode::AnswerTooLarge)
}

/// Reserves what the outputs take, once they are known and the inputs are gone.
pub(super) fn resize(memory: &mut MemoryReservation, bytes: usize) -> Result<(), InferError> {
    memory.resize(bytes, ErrorCode::AnswerTooLarge)
}
