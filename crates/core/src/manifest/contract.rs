//! What a bundle promises of its model: names and ranges of its columns, files by digest, samples
//! with their answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::DataType;

/// A file of the bundle with the content that it must have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSpec {
    /// Relative to the bundle, with `/` between folders.
    pub path: String,
    /// SHA-256 of its content, as 64 hexadecimal digits, with or without `sha256:` before them.
    pub sha256: String,
    /// Its length, where it is to be checked too.
    #[serde(default)]
    pub bytes: Option<u64>,
}

/// The signature as its owner declares it. The artifact must agree; what only people know is added
/// here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeclaredSignature {
    /// The inputs; those that are left out are not checked.
    pub inputs: Vec<DeclaredTensor>,
    /// The outputs; those that are left out are not checked.
    pub outputs: Vec<DeclaredTensor>,
}

/// One declared input or output.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeclaredTensor {
    /// Its name in the artifact; may be left out where the artifact has a single one.
    pub name: String,
    /// Its element type.
    pub datatype: Option<DataType>,
    /// Its extents, outermost first and with the batch axis; -1 for any.
    pub shape: Option<Vec<i64>>,
    /// What it means.
    pub description: String,
    /// What stands in the columns of its last axis, in order.
    pub columns: Vec<Column>,
}

/// One column of an input or output.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Column {
    /// The name that people know it by.
    pub name: String,
    /// What it means.
    pub description: String,
    /// Its unit, such as `EUR` or `km/h`.
    pub unit: String,
    /// The smallest value that the model was made for.
    pub min: Option<f64>,
    /// The largest value that the model was made for.
    pub max: Option<f64>,
    /// The values that it may have, where there is a fixed set.
    pub categories: Vec<Category>,
}

/// One value out of a fixed set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
// The order matters: the first variant that fits is taken, and a whole number fits a float too.
pub enum Category {
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// Text.
    Text(String),
}

/// Inputs with the outputs that the model must give for them: the contract test of the version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GoldenSample {
    /// A file of the bundle: `{"inputs": [{"name", "shape", "datatype", "data"}], "outputs": […]}`.
    pub file: String,
    /// How far floating-point outputs may be from the expected ones.
    #[serde(default)]
    pub tolerance: Tolerance,
}

/// `|found - expected| <= absolute + relative * |expected|`, as NumPy's `isclose` has it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tolerance {
    /// In the output's own unit.
    pub absolute: f64,
    /// As a share of the expected value.
    pub relative: f64,
}

impl Default for Tolerance {
    fn default() -> Self {
        Self {
            absolute: 1e-5,
            relative: 1e-4,
        }
    }
}

impl Tolerance {
    /// Whether a value is near enough to the expected one. Two NaNs agree.
    pub fn accepts(&self, found: f64, expected: f64) -> bool {
        // NumPy's formula, whose infinite tolerance would accept anything where infinity is expected.
        let near = (found - expected).abs() <= self.absolute + self.relative * expected.abs();
        (near && expected.is_finite()) || found == expected || (found.is_nan() && expected.is_nan())
    }
}

/// Inputs that a version runs before it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WarmupSample {
    /// A file of the bundle: `{"inputs": [{"name", "shape", "datatype", "data"}]}`.
    pub file: String,
}

/// What a loaded version may take. Unset limits are those of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResourceLimits {
    /// Memory of all its instances, in bytes.
    pub max_memory_bytes: Option<u64>,
    /// Loading and warming, in seconds.
    pub max_load_seconds: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerance_follows_numpy_isclose() {
        let tolerance = Tolerance {
            absolute: 0.5,
            relative: 0.1,
        };
        assert!(tolerance.accepts(11.5, 10.0) && tolerance.accepts(8.5, 10.0));
        assert!(!tolerance.accepts(11.6, 10.0) && !tolerance.accepts(f64::NAN, 1.0));
        assert!(tolerance.accepts(f64::NAN, f64::NAN));
        assert!(tolerance.accepts(f64::INFINITY, f64::INFINITY));
        assert!(!tolerance.accepts(f64::NEG_INFINITY, f64::INFINITY));
    }
}
