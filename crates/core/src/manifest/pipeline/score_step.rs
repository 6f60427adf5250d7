//! The steps that make decisions of scores.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

steps! {
    /// One of several columns that stand side by side, such as the probability of one class.
    PickStep {
        /// The columns.
        input: String,
        /// Its place, from 0.
        index: usize,
        /// The result's name.
        output: String,
    }

    /// Scores as probabilities that sum to 1.
    SoftmaxStep {
        /// The scores.
        input: String,
        /// The result's name; the input's by default.
        #[serde(default)]
        output: Option<String>,
    }

    /// Scores as probabilities, each by itself.
    SigmoidStep {
        /// The scores.
        input: String,
        /// The result's name; the input's by default.
        #[serde(default)]
        output: Option<String>,
    }

    /// The place, or the label, of the largest value. The first of equal ones counts.
    ArgmaxStep {
        /// The values, side by side.
        input: String,
        /// The label of each place, if labels are wanted.
        #[serde(default)]
        labels: Vec<String>,
        /// The result's name.
        output: String,
    }

    /// The labels of the largest values, in order. `OUTPUT_scores` has those values.
    TopKStep {
        /// The values, side by side.
        input: String,
        /// How many of them.
        k: usize,
        /// The label of each place; its number by default.
        #[serde(default)]
        labels: Vec<String>,
        /// The result's name.
        output: String,
    }

    /// The label of a class.
    LabelStep {
        /// A column of whole numbers from 0.
        input: String,
        /// The label of each number.
        labels: Vec<String>,
        /// The result's name; the input's by default.
        #[serde(default)]
        output: Option<String>,
    }

    /// A decision by thresholds: that of the first rule which the score reaches.
    ThresholdStep {
        /// The score.
        input: String,
        /// The rules, the highest threshold first.
        rules: Vec<ThresholdRule>,
        /// The decision below all thresholds.
        otherwise: String,
        /// The result's name.
        output: String,
    }

    /// One rule of a decision.
    ThresholdRule {
        /// The smallest score that it takes.
        at_least: f64,
        /// The decision.
        decision: String,
    }

    /// Fewer digits. Halves are rounded to the even neighbour, as NumPy does.
    RoundStep {
        /// The column.
        input: String,
        /// Digits behind the point.
        #[serde(default)]
        digits: u8,
        /// The result's name; the input's by default.
        #[serde(default)]
        output: Option<String>,
    }

    /// Scores as calibrated probabilities.
    CalibrateStep {
        /// The score.
        input: String,
        /// How.
        calibration: Calibration,
        /// The result's name; the input's by default.
        #[serde(default)]
        output: Option<String>,
    }
}

/// From a score to a probability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "method", rename_all = "lowercase", deny_unknown_fields)]
pub enum Calibration {
    /// `1 / (1 + exp(a * score + b))` (Platt 1999), as scikit-learn's sigmoid calibration.
    Platt {
        /// The slope; negative where higher scores mean higher probabilities.
        a: f64,
        /// The intercept.
        b: f64,
    },
    /// Straight lines between points, as scikit-learn's `IsotonicRegression`. A score outside takes
    /// the value of the nearest point.
    Isotonic {
        /// The scores, in ascending order.
        x: Vec<f64>,
        /// The probability at each of them.
        y: Vec<f64>,
    },
}
