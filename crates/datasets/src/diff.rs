//! What differs between two data sets.

use serde::Serialize;

use crate::{DatasetColumn, DatasetRecord};

/// What differs between two data sets. Empty lists and `None` are equal.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DatasetDiff {
    /// Whether their bytes are the same.
    pub same_content: bool,
    /// Numbers and settings that differ.
    pub changes: Vec<ValueChange>,
    /// Columns that only the second has.
    pub added_columns: Vec<DatasetColumn>,
    /// Columns that only the first has.
    pub removed_columns: Vec<DatasetColumn>,
    /// Columns of another type.
    pub changed_columns: Vec<ValueChange>,
}

/// A value that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ValueChange {
    /// What it is.
    pub name: String,
    /// In the first.
    pub from: String,
    /// In the second.
    pub to: String,
}

impl DatasetDiff {
    /// Compares two data sets.
    pub fn new(from: &DatasetRecord, to: &DatasetRecord) -> Self {
        let (one, two) = (&from.manifest, &to.manifest);
        Self {
            same_content: one.digest == two.digest,
            changes: changes(from, to),
            added_columns: missing(&two.columns, &one.columns),
            removed_columns: missing(&one.columns, &two.columns),
            changed_columns: changed_types(&one.columns, &two.columns),
        }
    }
}

/// The columns of one list whose names the other has not.
fn missing(columns: &[DatasetColumn], others: &[DatasetColumn]) -> Vec<DatasetColumn> {
    let is_there = |column: &DatasetColumn| others.iter().any(|other| other.name == column.name);
    let missing = columns.iter().filter(|column| !is_there(column));
    missing.cloned().collect()
}

fn changed_types(from: &[DatasetColumn], to: &[DatasetColumn]) -> Vec<ValueChange> {
    let mut changed = Vec::new();
    for column in from {
        let other = to.iter().find(|other| other.name == column.name);
        changed.extend(other.and_then(|other| change(&column.name, &column.r#type, &other.r#type)));
    }
    changed
}

fn changes(from: &DatasetRecord, to: &DatasetRecord) -> Vec<ValueChange> {
    facts(from)
        .into_iter()
        .zip(facts(to))
        .filter_map(|((name, from), (_, to))| change(name, &from, &to))
        .collect()
}

fn change(name: &str, from: &str, to: &str) -> Option<ValueChange> {
    (from != to).then(|| ValueChange {
        name: name.to_owned(),
        from: from.to_owned(),
        to: to.to_owned(),
    })
}

/// What is compared, each as a text.
fn facts(record: &DatasetRecord) -> [(&'static str, String); 13] {
    let manifest = &record.manifest;
    let lineage = &manifest.lineage;
    let query = &lineage.query;
    [
        ("digest", manifest.digest.clone()),
        ("rows", manifest.rows.to_string()),
        ("labels", manifest.labels.to_string()),
        ("unusable_labels", lineage.unusable_labels.to_string()),
        ("label", manifest.label.name().to_owned()),
        ("endpoint", query.endpoint.clone()),
        ("from_ms", query.from_ms.to_string()),
        ("to_ms", query.to_ms.to_string()),
        ("labelled_only", query.labelled.to_string()),
        ("versions", lineage.versions.join(", ")),
        ("captures", lineage.captures_digest.clone()),
        ("redaction", lineage.redaction.to_string()),
        ("left_out_columns", lineage.left_out_columns.join(", ")),
    ]
}
