//! The file of fitted state.

use std::collections::BTreeMap;

use jiter::JsonValue;
use serde::Deserialize;
use serde_json::{Map, Number, Value};
use tidegate_core::FieldType;

use crate::error::CompileError;
use crate::node::Node;

/// What `format` and `version` say in a file that this build reads.
const FORMAT: &str = "tidegate-pipeline-state";
const VERSION: u32 = 1;

/// Transformers with what they have learned.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    format: String,
    version: u32,
    /// Which versions of which libraries wrote it.
    #[serde(default)]
    #[allow(dead_code, reason = "for people who read the file")]
    made_with: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) transformers: BTreeMap<String, Transformer>,
}

/// One fitted transformer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Transformer {
    /// The columns that it takes.
    pub(crate) inputs: Vec<TransformerInput>,
    /// The names of the columns that it makes.
    pub(crate) outputs: Vec<String>,
    pub(crate) node: Node,
    /// Rows with the results that the library gave for them. They must come out here, too.
    #[serde(default)]
    pub(crate) examples: Examples,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TransformerInput {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) field_type: FieldType,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Examples {
    pub(crate) rows: Vec<Vec<Value>>,
    /// `null` is NaN.
    pub(crate) expected: Vec<Vec<Option<f64>>>,
}

impl State {
    /// Reads the file.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, CompileError> {
        let value = JsonValue::parse(json, true)
            .map_err(|error| CompileError::new(format!("it is not JSON: {error}")))?;
        let state: Self = serde_json::from_value(exact(&value))
            .map_err(|error| CompileError::new(error.to_string()))?;
        if state.format != FORMAT || state.version != VERSION {
            let (format, version) = (&state.format, state.version);
            let problem = format!(
                "it has the format \"{format}\" {version}, this build reads \"{FORMAT}\" {VERSION}"
            );
            return Err(CompileError::new(problem));
        }
        Ok(state)
    }
}

/// The same value with every number to its last bit: serde_json's own reader may be one bit off, and
/// then a category or an edge of a bin would not be found.
fn exact(value: &JsonValue<'_>) -> Value {
    match value {
        JsonValue::Null => Value::Null,
        JsonValue::Bool(value) => Value::Bool(*value),
        JsonValue::Int(number) => Value::Number((*number).into()),
        // NaN and the infinities are no numbers of JSON.
        JsonValue::Float(number) => Number::from_f64(*number).map_or(Value::Null, Value::Number),
        JsonValue::Str(text) => Value::String(text.to_string()),
        JsonValue::Array(values) => Value::Array(values.iter().map(exact).collect()),
        JsonValue::Object(entries) => {
            let entries = entries.iter();
            Value::Object(
                entries
                    .map(|(key, value)| (key.to_string(), exact(value)))
                    .collect::<Map<_, _>>(),
            )
        }
    }
}
