//! The section `[pipeline]`: from the fields of a request to the inputs of the engine, and from its
//! outputs to the fields of the answer.

// All of them derive the same traits and refuse unknown keys.
macro_rules! steps {
    ($($(#[$meta:meta])* $name:ident {
        $($(#[$field_meta:meta])* $field:ident: $type:ty,)*
    })*) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
            #[serde(deny_unknown_fields)]
            pub struct $name {
                $($(#[$field_meta])* pub $field: $type,)*
            }
        )*
    };
}

mod audio_step;
mod image_step;
mod lookup;
mod score_step;
mod step;
mod text_step;

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Category;
pub use audio_step::{
    AudioStep, FrameWindow, LongerSound, MelLog, MelNormName, MelScaleName, MelSpectrogramStep,
    ShorterSound, SoundNormalization, SoundPadding, SpectrogramLayout,
};
pub use image_step::{
    ChannelOrder, ImageColor, ImageCrop, ImageFilter, ImageLayout, ImageResize, ImageStep,
};
pub use lookup::{
    EntityFieldSpec, EntityKeyType, FeatureDefault, LookedUpFeatureSpec, LookupPolicy, LookupSpec,
};
pub use score_step::{
    ArgmaxStep, CalibrateStep, Calibration, LabelStep, PickStep, RoundStep, SigmoidStep,
    SoftmaxStep, ThresholdRule, ThresholdStep, TopKStep,
};
pub use step::{
    BucketizeStep, CastStep, ClipStep, ConcatStep, CrossStep, CyclicalStep, DatePart,
    DatePartsStep, ExpressionStep, FittedStep, FunctionStep, HashStep, ImputeStep, NumberFunction,
    OneHotStep, OrdinalStep, RatioStep, RenameStep, ScaleStep, StepSpec, UnknownCategory,
};
pub use text_step::{
    NormalizeStep, PoolMode, PoolStep, TokenDatatype, TokenPadding, TokenTruncation, TokenizeStep,
};

/// The steps of a pipeline, in the order in which they run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PipelineSpec {
    /// A file of the bundle with what transformers have learned, as the exporter writes it.
    pub state: Option<String>,
    /// What happens to a value that breaks a rule of its field, unless the field says otherwise.
    pub on_violation: ViolationPolicy,
    /// What happens to a field of a request that is not listed here.
    pub unknown_fields: UnknownFields,
    /// The fields of a request.
    pub fields: Vec<FieldSpec>,
    /// Features that are looked up for each row.
    pub lookups: Vec<LookupSpec>,
    /// Steps from fields to inputs of the engine.
    pub before: Vec<StepSpec>,
    /// Which columns the inputs of the engine take. An input that is not listed takes the column of
    /// its own name.
    pub inputs: Vec<EngineInputSpec>,
    /// Steps from outputs of the engine to fields of the answer.
    pub after: Vec<StepSpec>,
    /// The fields of the answer; the outputs of the engine if there are none.
    pub response: Vec<ResponseFieldSpec>,
}

impl PipelineSpec {
    /// The files of the bundle that it reads, each once.
    pub fn files(&self) -> BTreeSet<&str> {
        let steps = self.before.iter().chain(&self.after);
        self.state
            .as_deref()
            .into_iter()
            .chain(steps.filter_map(StepSpec::file))
            .collect()
    }
}

/// What happens to a value that breaks a rule of its field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ViolationPolicy {
    /// The request fails, with the field and the row in its message.
    #[default]
    Reject,
    /// A number takes the nearest value of its range, and text is cut to its length. Everything else
    /// is rejected.
    Clip,
    /// The value is used as it is, and the answer says so. What cannot be used counts as missing.
    Flag,
}

/// What happens to a field of a request that the pipeline does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnknownFields {
    /// The request fails: a misspelt name would otherwise be a missing value.
    #[default]
    Reject,
    /// It is skipped.
    Ignore,
}

/// One field of a request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldSpec {
    /// Its name.
    pub name: String,
    /// What values it has.
    #[serde(rename = "type")]
    pub field_type: FieldType,
    /// Whether it may be left out or `null`.
    #[serde(default)]
    pub optional: bool,
    /// The smallest number.
    #[serde(default)]
    pub min: Option<f64>,
    /// The largest number.
    #[serde(default)]
    pub max: Option<f64>,
    /// The only values that it may have, if there are any.
    #[serde(default)]
    pub categories: Vec<Category>,
    /// A regular expression that text matches from its first to its last character.
    #[serde(default)]
    pub pattern: Option<String>,
    /// The fewest characters of text.
    #[serde(default)]
    pub min_length: Option<usize>,
    /// The most characters of text.
    #[serde(default)]
    pub max_length: Option<usize>,
    /// What happens to a value that breaks one of these rules.
    #[serde(default)]
    pub on_violation: Option<ViolationPolicy>,
    /// What it means.
    #[serde(default)]
    pub description: String,
}

/// What values a field has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FieldType {
    /// Numbers.
    #[default]
    Number,
    /// Whole numbers from -2^53 to 2^53, which a double holds exactly.
    Integer,
    /// Text.
    String,
    /// `true` and `false`.
    Boolean,
    /// A date or a time, as ISO 8601 writes it; without a zone it is in UTC.
    Time,
    /// Any bytes, such as an image: in JSON as base64, alone or as `{"b64": "…"}`.
    Bytes,
}

impl FieldType {
    /// The name in a manifest.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Integer => "integer",
            Self::String => "string",
            Self::Boolean => "boolean",
            Self::Time => "time",
            Self::Bytes => "bytes",
        }
    }
}

/// What an input of the engine takes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EngineInputSpec {
    /// The input's name in the model.
    pub name: String,
    /// The columns that stand side by side in it.
    pub columns: Vec<String>,
}

/// One field of the answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResponseFieldSpec {
    /// Its name.
    pub name: String,
    /// The column or output that it shows; the one of its own name by default.
    #[serde(default)]
    pub from: Option<String>,
    /// What it means.
    #[serde(default)]
    pub description: String,
}
