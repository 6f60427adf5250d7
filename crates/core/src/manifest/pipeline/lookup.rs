//! Features that the server looks up for each row of a request.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::FieldType;

/// Features of one view of a feature store. They become columns, as the fields of the request are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LookupSpec {
    /// Its name, in messages and metrics.
    pub name: String,
    /// The store, as the server's configuration names it.
    #[serde(default = "embedded")]
    pub store: String,
    /// The view that the features are in.
    pub view: String,
    /// Which fields of the request say whose features are wanted.
    pub entity: Vec<EntityFieldSpec>,
    /// The features, each of which becomes a column.
    pub features: Vec<LookedUpFeatureSpec>,
    /// Older values are not used, in seconds.
    #[serde(default)]
    pub max_age_s: Option<u64>,
    /// The longest that a request waits for the store, in milliseconds.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
    /// What happens while the store cannot be asked, or does not answer in time.
    #[serde(default)]
    pub on_unavailable: LookupPolicy,
    /// What happens to a value that is older than `max_age_s`.
    #[serde(default)]
    pub on_stale: LookupPolicy,
}

/// The store that every server has.
fn embedded() -> String {
    "embedded".to_owned()
}

const fn timeout_ms() -> u64 {
    100
}

/// What happens if a feature cannot be had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LookupPolicy {
    /// The request fails, with the lookup and the row in its message.
    #[default]
    Fail,
    /// The feature takes its default, or is missing where it is optional.
    Default,
}

/// A part of the key of an entity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntityFieldSpec {
    /// The name of the join key in the store.
    pub key: String,
    /// The field of the request that has its value; the one of the same name by default.
    #[serde(default)]
    pub field: Option<String>,
    /// The type of the key in the store; by default `int64` for integers, and `string` for text.
    #[serde(default, rename = "type")]
    pub key_type: Option<EntityKeyType>,
}

impl EntityFieldSpec {
    /// The field of the request.
    pub fn field(&self) -> &str {
        self.field.as_deref().unwrap_or(&self.key)
    }
}

/// The type of a join key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EntityKeyType {
    /// Text.
    String,
    /// Whole numbers of 32 bits.
    Int32,
    /// Whole numbers of 64 bits.
    Int64,
}

/// A feature and the column that it becomes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LookedUpFeatureSpec {
    /// The name of the column.
    pub name: String,
    /// The name in the store; that of the column by default.
    #[serde(default)]
    pub feature: Option<String>,
    /// What values it has.
    #[serde(default, rename = "type")]
    pub feature_type: FieldType,
    /// The value that stands in for a missing one. Without it, and unless the feature is optional, the
    /// store must have a value.
    #[serde(default)]
    pub default: Option<FeatureDefault>,
    /// Whether a missing value stays missing, for a step that fills it.
    #[serde(default)]
    pub optional: bool,
}

impl LookedUpFeatureSpec {
    /// The name in the store.
    pub fn feature(&self) -> &str {
        self.feature.as_deref().unwrap_or(&self.name)
    }
}

/// A value of a manifest that stands in for a missing one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum FeatureDefault {
    /// `true` or `false`.
    Boolean(bool),
    /// A number.
    Number(f64),
    /// Text, or a time.
    Text(String),
}
