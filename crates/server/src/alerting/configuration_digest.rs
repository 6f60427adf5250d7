//! Whether the configuration differs from that of the last start.
//!
//! Of each key a short digest of its value is saved: enough to see that it changed, too little to
//! find out what it was.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Digests of values by the keys that they are set under, such as `server.max_connections`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct ConfigurationDigest(Option<BTreeMap<String, String>>);

impl ConfigurationDigest {
    /// Replaces the known configuration, and returns the keys that differ; none the first time.
    pub(super) fn update(&mut self, configuration: &Value) -> Vec<String> {
        let mut now = BTreeMap::new();
        collect(configuration, "", &mut now);
        let before = self.0.replace(now.clone());
        let Some(before) = before else {
            return Vec::new();
        };
        let keys: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
        keys.into_iter()
            .filter(|key| before.get(*key) != now.get(*key))
            .cloned()
            .collect()
    }
}

/// Tables are descended into; everything else is a value.
fn collect(value: &Value, key: &str, digests: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let key = if key.is_empty() {
                    name.clone()
                } else {
                    format!("{key}.{name}")
                };
                collect(value, &key, digests);
            }
        }
        // A key without a value is the same as a missing one.
        Value::Null => {}
        value => drop(digests.insert(key.to_owned(), digest(key, value))),
    }
}

fn digest(key: &str, value: &Value) -> String {
    // With the key, so that equal values of two keys do not show as equal.
    let digest = Sha256::digest(format!("{key}\n{value}"));
    digest
        .iter()
        // Four bytes: so many values share a digest that none can be found out from it.
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn changed_keys_are_named_and_values_are_not_stored() {
        let mut known = ConfigurationDigest::default();
        let first = json!({"data": "/d", "server": {"max_connections": 10, "http": "x"}, "slo": [{"name": "a"}]});
        assert!(known.update(&first).is_empty(), "there was none before");
        assert!(known.update(&first).is_empty());
        let second = json!({"data": null, "server": {"max_connections": 20, "http": "x", "grpc": "hunter2"}, "slo": []});
        assert_eq!(
            known.update(&second),
            ["data", "server.grpc", "server.max_connections", "slo"]
        );
        let saved = serde_json::to_string(&known).unwrap();
        assert!(
            !saved.contains("hunter2") && saved.contains("server.grpc"),
            "{saved}"
        );
        let mut read: ConfigurationDigest = serde_json::from_str(&saved).unwrap();
        assert!(read.update(&second).is_empty());
    }
}
