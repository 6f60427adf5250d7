//! `model.toml`: what a bundle says of itself.

mod contract;
mod graph;
mod lineage;
mod pipeline;
mod quality;
mod remote;
mod sequences;

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

pub use contract::{
    Category, Column, DeclaredSignature, DeclaredTensor, FileSpec, GoldenSample, ResourceLimits,
    Tolerance, WarmupSample,
};
pub use graph::{GraphMerge, GraphMergeSpec, GraphNodeSpec, GraphSpec};
pub use lineage::Lineage;
pub use pipeline::{
    ArgmaxStep, AudioStep, BucketizeStep, CalibrateStep, Calibration, CastStep, ChannelOrder,
    ClipStep, ConcatStep, CrossStep, CyclicalStep, DatePart, DatePartsStep, EngineInputSpec,
    EntityFieldSpec, EntityKeyType, ExpressionStep, FeatureDefault, FieldSpec, FieldType,
    FittedStep, FrameWindow, FunctionStep, HashStep, ImageColor, ImageCrop, ImageFilter,
    ImageLayout, ImageResize, ImageStep, ImputeStep, LabelStep, LongerSound, LookedUpFeatureSpec,
    LookupPolicy, LookupSpec, MelLog, MelNormName, MelScaleName, MelSpectrogramStep, NormalizeStep,
    NumberFunction, OneHotStep, OrdinalStep, PickStep, PipelineSpec, PoolMode, PoolStep, RatioStep,
    RenameStep, ResponseFieldSpec, RoundStep, ScaleStep, ShorterSound, SigmoidStep, SoftmaxStep,
    SoundNormalization, SoundPadding, SpectrogramLayout, StepSpec, ThresholdRule, ThresholdStep,
    TokenDatatype, TokenPadding, TokenTruncation, TokenizeStep, TopKStep, UnknownCategory,
    UnknownFields, ViolationPolicy,
};
pub use quality::{QualitySpec, QualityTask};
pub use remote::{BreakerSpec, RemoteSpec};
pub use sequences::{FlagInput, SequenceSpec, StateSpec};

/// The manifest of a bundle. Everything but the artifact has a default that is read from the
/// artifact itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Manifest {
    /// Version of this file's layout; 1.
    pub schema: u32,
    /// The model's name; the folder's name by default.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// The model's file, relative to the bundle.
    pub artifact: String,
    /// Which engine runs it.
    pub engine: EngineChoice,
    /// How the engine runs it.
    pub engine_options: EngineOptions,
    /// The servers that run it, for the engine `remote`.
    pub remote: Option<Box<RemoteSpec>>,
    /// The models that it is made of, in place of an artifact.
    pub graph: Option<Box<GraphSpec>>,
    /// How requests are batched and queued.
    pub batching: Batching,
    /// What the artifact cannot say of its outputs.
    pub outputs: Vec<OutputSpec>,
    /// What the owner promises of inputs and outputs, and what they mean.
    pub signature: DeclaredSignature,
    /// Whether the same inputs always give the same outputs. `false` declares a model that is random
    /// on purpose: it passes the check of two runs, and its requests run one by one.
    pub deterministic: bool,
    /// From the fields of a request to the inputs of the engine, and from its outputs to the fields of
    /// the answer.
    pub pipeline: Option<PipelineSpec>,
    /// What the model remembers from one request of a sequence to the next.
    pub sequences: Option<Box<SequenceSpec>>,
    /// What a loaded version may take.
    pub limits: ResourceLimits,
    /// Files whose content is fixed here; a push refuses the bundle where one differs.
    pub files: Vec<FileSpec>,
    /// Samples that a version runs before it answers.
    pub warmup: Vec<WarmupSample>,
    /// Samples with the answers that they must get.
    pub golden: Vec<GoldenSample>,
    /// A file of the bundle: the profile of the data that it was trained on, which drift is
    /// measured against.
    pub baseline: Option<String>,
    /// What labels of its predictions are compared with.
    pub quality: Option<QualitySpec>,
    /// Where the version comes from.
    pub lineage: Lineage,
    /// The licence of the model, as an SPDX expression.
    pub license: String,
    /// The owner's own words, by key.
    pub tags: BTreeMap<String, String>,
}

impl Manifest {
    /// The layout that this build reads.
    pub const SCHEMA: u32 = 1;

    /// The file of a bundle that holds its manifest.
    pub const FILE: &str = "model.toml";

    /// What is wrong with the text of a manifest, in one line: where it begins, and what a parser says.
    pub fn problem(text: &str, start: Option<usize>, message: &str) -> String {
        let lines: Vec<&str> = message.lines().map(str::trim).collect();
        let message = lines.join(", ");
        let before = start.and_then(|start| text.get(..start));
        let Some(before) = before else {
            return message;
        };
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|one| *one != '\n').count() + 1;
        format!("line {line}, column {column}: {message}")
    }

    /// The file that the engine reads, relative to the bundle. A version that other servers or other
    /// models run has no other one than the manifest.
    pub fn artifact_file(&self) -> &str {
        match self.remote.is_some() || self.graph.is_some() {
            true => Self::FILE,
            false => &self.artifact,
        }
    }

    /// The files of the bundle that this manifest names, the artifact first.
    pub fn named_files(&self) -> impl Iterator<Item = &str> {
        let labels = self
            .outputs
            .iter()
            .filter_map(|output| output.labels.as_deref());
        let samples = self.warmup.iter().map(|sample| sample.file.as_str());
        let golden = self.golden.iter().map(|sample| sample.file.as_str());
        let fixed = self.files.iter().map(|file| file.path.as_str());
        let pipeline = self.pipeline.iter().flat_map(PipelineSpec::files);
        let states = self.sequences.iter().flat_map(|spec| spec.files());
        std::iter::once(self.artifact_file())
            .chain(labels)
            .chain(samples)
            .chain(golden)
            .chain(self.baseline.as_deref())
            .chain(pipeline)
            .chain(states)
            .chain(fixed)
    }
}

impl Default for Manifest {
    fn default() -> Self {
        Self {
            schema: Self::SCHEMA,
            name: String::new(),
            description: String::new(),
            artifact: "model.onnx".to_owned(),
            engine: EngineChoice::default(),
            engine_options: EngineOptions::default(),
            remote: None,
            graph: None,
            batching: Batching::default(),
            outputs: Vec::new(),
            signature: DeclaredSignature::default(),
            deterministic: true,
            pipeline: None,
            sequences: None,
            limits: ResourceLimits::default(),
            files: Vec::new(),
            warmup: Vec::new(),
            golden: Vec::new(),
            baseline: None,
            quality: None,
            lineage: Lineage::default(),
            license: String::new(),
            tags: BTreeMap::new(),
        }
    }
}

/// The engine that executes an artifact. Which names exist is known to the engines alone.
///
/// ```
/// use tidegate_core::EngineChoice;
///
/// assert_eq!(EngineChoice::from("auto"), EngineChoice::Auto);
/// assert_eq!(EngineChoice::from("portable").name(), "portable");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum EngineChoice {
    /// The first engine of the server that can be used: ONNX Runtime where its library is found,
    /// else portable.
    #[default]
    Auto,
    /// The engine of this name.
    Named(String),
}

impl EngineChoice {
    /// The name in configuration and messages.
    pub fn name(&self) -> &str {
        match self {
            Self::Auto => "auto",
            Self::Named(name) => name,
        }
    }
}

impl From<&str> for EngineChoice {
    fn from(name: &str) -> Self {
        match name {
            "auto" => Self::Auto,
            name => Self::Named(name.to_owned()),
        }
    }
}

impl From<String> for EngineChoice {
    fn from(name: String) -> Self {
        Self::from(name.as_str())
    }
}

impl From<EngineChoice> for String {
    fn from(choice: EngineChoice) -> Self {
        choice.name().to_owned()
    }
}

impl JsonSchema for EngineChoice {
    fn schema_name() -> Cow<'static, str> {
        "EngineChoice".into()
    }

    /// The reference adds the names of the engines that exist.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "The engine that executes an artifact.", "type": "string" })
    }
}

/// How an engine runs an artifact. Unset numbers follow the machine and the artifact's size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EngineOptions {
    /// Loaded copies, each able to run one batch at a time. By default one per core, but a single
    /// one for an artifact above 64 MiB.
    pub instances: Option<usize>,
    /// Threads inside one run. By default 1, or one per core where there is a single instance.
    pub intra_op_threads: Option<usize>,
    /// How far ONNX Runtime rewrites the graph before running it.
    pub graph_optimization: GraphOptimization,
}

/// Graph optimization levels of ONNX Runtime.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GraphOptimization {
    /// Run the graph as it is written.
    None,
    /// Constant folding and redundant nodes.
    Basic,
    /// Also operator fusions.
    Extended,
    /// Also memory layout.
    #[default]
    All,
}

/// How requests wait and run together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Batching {
    /// Most rows in one run. By default 64 where the artifact has a batch axis; 0 means that axis 0
    /// is not a batch axis.
    pub max_batch_size: Option<usize>,
    /// How long the oldest waiting request may wait for others, in microseconds. 0 takes what is
    /// waiting and never idles while work waits.
    pub max_queue_delay_us: u64,
    /// Batch sizes, in rows, that run at once without waiting for the delay.
    pub preferred_batch_sizes: Vec<usize>,
    /// Requests that may wait; one more is refused with `queue_full`.
    pub max_queue_requests: usize,
    /// Deadline of a request that names none, in microseconds. 0 means none.
    pub default_timeout_us: u64,
    /// Number of priority levels, 1 the most urgent.
    pub priority_levels: u8,
    /// Level of a request that names none; 0 means the middle one.
    pub default_priority: u8,
}

impl Default for Batching {
    fn default() -> Self {
        Self {
            max_batch_size: None,
            max_queue_delay_us: 0,
            preferred_batch_sizes: Vec::new(),
            max_queue_requests: 1024,
            default_timeout_us: 0,
            priority_levels: 3,
            default_priority: 0,
        }
    }
}

impl Batching {
    /// The level of a request, from 0, the most urgent: `asked` counts from 1, and 0 takes the
    /// default.
    pub fn level(&self, asked: u64) -> usize {
        let levels = u64::from(self.priority_levels.max(1));
        let default = match u64::from(self.default_priority) {
            0 => levels.div_ceil(2),
            level => level,
        };
        // A level beyond the last is taken for the last: clients need not know how many a model has.
        let level = if asked == 0 { default } else { asked };
        usize::try_from(level.clamp(1, levels) - 1).unwrap_or(0)
    }
}

/// What a manifest adds to an output of the artifact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputSpec {
    /// The output's name.
    pub name: String,
    /// A file of the bundle with one class name per line, for the classification extension.
    #[serde(default)]
    pub labels: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_are_clamped_to_the_levels() {
        let batching = Batching::default();
        assert_eq!(
            [0, 1, 2, 3, 9].map(|asked| batching.level(asked)),
            [1, 0, 1, 2, 2]
        );
        let single = Batching {
            priority_levels: 1,
            ..Batching::default()
        };
        assert_eq!([0, 1, 7].map(|asked| single.level(asked)), [0, 0, 0]);
    }
}
