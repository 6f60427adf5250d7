//! A model that is made of other models.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The section `[graph]`: models whose outputs become inputs of others, in place of an artifact.
///
/// The inputs and outputs of the graph are those of the section `[signature]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GraphSpec {
    /// The models that run, in any order.
    pub nodes: Vec<GraphNodeSpec>,
    /// Tensors that are made of others without a model.
    pub merges: Vec<GraphMergeSpec>,
}

/// One run of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GraphNodeSpec {
    /// Its name in messages and traces.
    pub name: String,
    /// The model that runs.
    pub model: String,
    /// A number or an alias; by default the version that the model's endpoint serves.
    #[serde(default)]
    pub version: Option<String>,
    /// From the inputs of the model to the tensors of the graph that they get.
    pub inputs: BTreeMap<String, String>,
    /// From the outputs of the model to the tensors of the graph that they become.
    pub outputs: BTreeMap<String, String>,
    /// The node runs on the rows for which this expression is true; by default on all.
    #[serde(default)]
    pub when: Option<String>,
    /// A node with a `when`: this one runs on the rows that the other leaves out.
    #[serde(default)]
    pub else_of: Option<String>,
}

/// One tensor that is made of others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GraphMergeSpec {
    /// The tensor that is made.
    pub tensor: String,
    /// How it is made.
    pub merge: GraphMerge,
    /// The tensors that it is made of.
    pub of: Vec<String>,
    /// For `mean`: the weight of each tensor; equal by default.
    #[serde(default)]
    pub weights: Vec<f64>,
}

/// How a tensor is made of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GraphMerge {
    /// Each row of the first tensor that has it.
    First,
    /// The mean, or the weighted mean, of each element.
    Mean,
    /// The largest of each element.
    Max,
    /// The smallest of each element.
    Min,
    /// The columns of all tensors, one after the other.
    Concat,
    /// The largest value in each row of a single tensor.
    RowMax,
}

impl GraphMerge {
    /// The name in a manifest.
    pub const fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Mean => "mean",
            Self::Max => "max",
            Self::Min => "min",
            Self::Concat => "concat",
            Self::RowMax => "row_max",
        }
    }
}
