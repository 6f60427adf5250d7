//! What labels of predictions are compared with.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The section `[quality]`: how an answer is held against the label that comes later. What is left out
/// is read from the outputs: one with the names of classes gives classes, a single number is an estimate
/// of a number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct QualitySpec {
    /// The output of the model that labels are compared with; may be left out where there is a single
    /// one that can be.
    pub output: String,
    /// What the output says.
    pub task: Option<QualityTask>,
    /// The class that matters, where there are two: precision, recall and the like are of it. The second
    /// one by default.
    pub positive: Option<String>,
    /// From which probability on an answer is for that class.
    pub threshold: f64,
}

/// What an output says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QualityTask {
    /// A probability for each class, or the class itself.
    Classes,
    /// The probability of one class: labels are `true` and `false`, or 1 and 0.
    Probability,
    /// A number, such as a price.
    Number,
}

impl Default for QualitySpec {
    fn default() -> Self {
        Self {
            output: String::new(),
            task: None,
            positive: None,
            threshold: 0.5,
        }
    }
}
