//! What differs between two versions.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tidegate_core::Manifest;
use tidegate_store::VersionFile;

use crate::{Registry, Result, VersionRecord};

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it is: a file's path, or a key of the manifest, such as `lineage.commit`.
    pub what: String,
    /// In the first version; `None` if it does not exist.
    pub from: Option<String>,
    /// In the second version; `None` if it does not exist.
    pub to: Option<String>,
}

/// What differs between two versions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionDiff {
    /// Inputs and outputs as declared, and what they mean.
    pub signature: Vec<Change>,
    /// Files, by length and digest.
    pub files: Vec<Change>,
    /// Where the versions come from.
    pub lineage: Vec<Change>,
    /// All other keys of the manifests.
    pub manifest: Vec<Change>,
}

impl Registry {
    /// The differences between two versions, without reading their contents.
    ///
    /// # Errors
    /// [`crate::Error`] of the database.
    pub async fn diff(&self, from: &VersionRecord, to: &VersionRecord) -> Result<VersionDiff> {
        let (one, two) = (self.entry(from).await?.files, self.entry(to).await?.files);
        let mut diff = VersionDiff {
            files: compare(&by_path(&one), &by_path(&two)),
            ..VersionDiff::default()
        };
        for change in compare(&keys(&from.manifest), &keys(&to.manifest)) {
            let part = match change.what.split(['.', '[']).next() {
                Some("signature") => &mut diff.signature,
                Some("lineage") => &mut diff.lineage,
                _ => &mut diff.manifest,
            };
            part.push(change);
        }
        Ok(diff)
    }
}

fn by_path(files: &[VersionFile]) -> BTreeMap<String, String> {
    files
        .iter()
        .map(|file| {
            (
                file.path.clone(),
                format!("{} bytes, sha256:{}", file.bytes, file.digest),
            )
        })
        .collect()
}

/// A manifest as `key.of.tables[0]` and value.
fn keys(manifest: &Manifest) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    flatten(
        "",
        &serde_json::to_value(manifest).unwrap_or_default(),
        &mut found,
    );
    found
}

fn flatten(prefix: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let dot = if prefix.is_empty() { "" } else { "." };
                flatten(&format!("{prefix}{dot}{key}"), value, into);
            }
        }
        Value::Array(values) if values.iter().any(|value| value.is_object()) => {
            for (at, value) in values.iter().enumerate() {
                flatten(&format!("{prefix}[{at}]"), value, into);
            }
        }
        Value::Null => {}
        // A key with an empty value and a missing key mean the same in a manifest.
        Value::Array(values) if values.is_empty() => {}
        Value::String(text) if text.is_empty() => {}
        Value::String(text) => {
            into.insert(prefix.to_owned(), text.clone());
        }
        other => {
            into.insert(prefix.to_owned(), other.to_string());
        }
    }
}

fn compare(one: &BTreeMap<String, String>, two: &BTreeMap<String, String>) -> Vec<Change> {
    let all: BTreeSet<&String> = one.keys().chain(two.keys()).collect();
    let changes = all.into_iter().map(|what| Change {
        what: what.clone(),
        from: one.get(what).cloned(),
        to: two.get(what).cloned(),
    });
    changes.filter(|change| change.from != change.to).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_named_by_its_key() {
        let one: Manifest =
            toml::from_str("description = 'a'\n[lineage]\ncommit = 'x'\nmetrics = { auc = 0.9 }")
                .unwrap();
        let two: Manifest = toml::from_str(
            "[lineage]\ncommit = 'y'\nmetrics = { auc = 0.9 }\n[[outputs]]\nname = 'p'",
        )
        .unwrap();
        let changes = compare(&keys(&one), &keys(&two));
        let changes: Vec<(&str, Option<&str>, Option<&str>)> = changes
            .iter()
            .map(|c| (c.what.as_str(), c.from.as_deref(), c.to.as_deref()))
            .collect();
        let wanted = [
            ("description", Some("a"), None),
            ("lineage.commit", Some("x"), Some("y")),
            ("outputs[0].name", None, Some("p")),
        ];
        assert_eq!(changes, wanted);
    }
}
