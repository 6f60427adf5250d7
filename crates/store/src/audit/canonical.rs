//! States as canonical JSON: keys sorted, no white space.

use serde_json::{Value, json};

use super::chain::sha256_hex;

/// A larger state is replaced by its hash, in bytes.
const MAX_STATE_BYTES: usize = 16 << 10;

/// A state as it is stored; empty for `null`.
pub(super) fn state(state: &Value) -> String {
    if state.is_null() {
        return String::new();
    }
    let text = sorted(state).to_string();
    if text.len() <= MAX_STATE_BYTES {
        return text;
    }
    json!({"bytes": text.len(), "sha256": sha256_hex(text.as_bytes())}).to_string()
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut entries: Vec<_> = object.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            let entries = entries.into_iter();
            Value::Object(
                entries
                    .map(|(key, value)| (key.clone(), sorted(value)))
                    .collect(),
            )
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_at_every_depth() {
        let value = json!({"b": [{"z": 1, "a": null}], "a": 0.5});
        assert_eq!(state(&value), r#"{"a":0.5,"b":[{"a":null,"z":1}]}"#);
        assert_eq!(state(&Value::Null), "");
    }

    #[test]
    fn a_large_state_is_stored_as_its_hash() {
        let stored = state(&json!("x".repeat(MAX_STATE_BYTES)));
        assert!(stored.len() < 128 && stored.contains("sha256"), "{stored}");
    }
}
