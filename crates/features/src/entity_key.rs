//! Keys of entities as bytes, in version 3 of Feast's encoding.

use std::sync::Arc;

use tidegate_core::KeyValue;

/// The numbers of types in Feast's `ValueType`.
const STRING: u32 = 2;
const INT32: u32 = 3;
const INT64: u32 = 4;

/// The key of an entity, whose join keys are in ascending order: their number, each name, and each
/// value, all with type and length (`feast/infra/key_encoding_utils.py`).
pub(crate) fn encode(join_keys: &[Arc<str>], values: &[KeyValue]) -> Vec<u8> {
    let mut key = Vec::with_capacity(64);
    push_length(&mut key, join_keys.len());
    for name in join_keys {
        key.extend_from_slice(&STRING.to_le_bytes());
        push_bytes(&mut key, name.as_bytes());
    }
    for value in values {
        match value {
            KeyValue::Text(text) => {
                key.extend_from_slice(&STRING.to_le_bytes());
                push_bytes(&mut key, text.as_bytes());
            }
            KeyValue::Int32(number) => {
                key.extend_from_slice(&INT32.to_le_bytes());
                push_bytes(&mut key, &number.to_le_bytes());
            }
            KeyValue::Int64(number) => {
                key.extend_from_slice(&INT64.to_le_bytes());
                push_bytes(&mut key, &number.to_le_bytes());
            }
        }
    }
    key
}

/// As [`encode`], with one form for whole numbers of all sizes.
pub(crate) fn encode_wide(join_keys: &[Arc<str>], values: &[KeyValue]) -> Vec<u8> {
    let is_narrow = values
        .iter()
        .any(|value| matches!(value, KeyValue::Int32(_)));
    if !is_narrow {
        return encode(join_keys, values);
    }
    let wide = values.iter().map(|value| match value {
        KeyValue::Int32(number) => KeyValue::Int64(i64::from(*number)),
        other => other.clone(),
    });
    encode(join_keys, &wide.collect::<Vec<_>>())
}

fn push_bytes(key: &mut Vec<u8>, bytes: &[u8]) {
    push_length(key, bytes.len());
    key.extend_from_slice(bytes);
}

fn push_length(key: &mut Vec<u8>, length: usize) {
    // Fields of a request are limited far below 4 GiB.
    key.extend_from_slice(&(length as u32).to_le_bytes());
}
