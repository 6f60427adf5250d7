//! Where a version comes from.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a version comes from, as far as its owner says. Who pushed it and when is recorded by the
/// registry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Lineage {
    /// Who trained it.
    pub author: String,
    /// When it was trained, as RFC 3339 has it.
    pub trained_at: String,
    /// The commit of the code that trained it.
    pub commit: String,
    /// The run of an experiment tracker, as an id or a URL.
    pub training_run: String,
    /// What it was trained on.
    pub dataset: String,
    /// Which version of that.
    pub dataset_version: String,
    /// The SHA-256 of the data set, in hexadecimal digits, if the registry knows it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub dataset_digest: String,
    /// The trigger that asked for this version, if one did; a push closes it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub trigger: String,
    /// The versions that it was made from, such as `fraud:6`.
    pub parents: Vec<String>,
    /// What its evaluation measured.
    pub metrics: BTreeMap<String, f64>,
}
