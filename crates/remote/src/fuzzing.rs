//! Entry point for fuzzers: answers of other servers, as bytes.

use bytes::Bytes;

use crate::json;

/// Reads an answer whose JSON ends with its first line break, or fills all of it. Returns whether it
/// was accepted; every output then has as many elements as its shape says.
///
/// # Panics
/// If an output does not.
pub fn answer(bytes: &[u8]) -> bool {
    let line = bytes.iter().position(|byte| *byte == b'\n');
    let json_bytes = line.map_or(bytes.len(), |at| at + 1);
    let Ok(answer) = json::decode(&Bytes::copy_from_slice(bytes), json_bytes) else {
        return false;
    };
    for (_, tensor) in &answer.outputs {
        if let Some(width) = tensor.datatype().element_bytes() {
            assert_eq!(tensor.byte_len(), tensor.shape().element_count() * width);
        }
    }
    true
}
