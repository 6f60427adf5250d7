//! Versions as the protocol describes them, for both front ends.

mod sequences;

use std::collections::HashMap;

use tidegate_core::{Dim, GraphSpec};
use tidegate_protocol::inference::model_config::SchedulingChoice;
use tidegate_protocol::inference::model_ensembling::Step;
use tidegate_protocol::inference::{
    ModelConfig, ModelDynamicBatching, ModelEnsembling, ModelInput, ModelInstanceGroup,
    ModelOutput, ModelParameter, ModelQueuePolicy, model_instance_group,
};
use tidegate_protocol::model_config::datatype_number;
use tidegate_serving::{ModelState, Version};

use crate::named_fields::PIPELINE;
use crate::rest::pipeline_metadata;

/// The server's name in the protocol.
pub(crate) const SERVER_NAME: &str = "tidegate";
/// The product's version.
pub(crate) const SERVER_VERSION: &str = env!("CARGO_PKG_VERSION");
/// The protocol extensions that are served.
pub(crate) const EXTENSIONS: &[&str] = &[
    "binary_tensor_data",
    "classification",
    "logging",
    "model_configuration",
    "model_repository",
    "schedule_policy",
    "sequence",
    "statistics",
    "system_shared_memory",
    "trace",
];

/// The configuration that a version runs with, in Triton's form.
pub(crate) fn model_config(version: &Version) -> ModelConfig {
    let plan = version.plan();
    let limits = version.scheduler().limits();
    let batched = limits.max_batch_rows.is_some();
    let signature = version.signature();
    let configured = plan.triton.as_ref();
    let input = signature.inputs.iter().map(|spec| {
        let declared = configured.and_then(|config| input_of(config, &spec.name));
        ModelInput {
            name: spec.name.clone(),
            data_type: datatype_number(spec.datatype.name()),
            format: declared.map_or(0, |input| input.format),
            dims: triton_dims(spec.dims.as_deref(), batched),
            reshape: declared.and_then(|input| input.reshape.clone()),
            optional: spec.optional,
            ..ModelInput::default()
        }
    });
    let output = signature.outputs.iter().map(|spec| {
        let declared = configured.and_then(|config| output_of(config, &spec.name));
        ModelOutput {
            name: spec.name.clone(),
            data_type: datatype_number(spec.datatype.name()),
            dims: triton_dims(spec.dims.as_deref(), batched),
            reshape: declared.and_then(|output| output.reshape.clone()),
            label_filename: declared
                .map(|output| output.label_filename.clone())
                .unwrap_or_default(),
            ..ModelOutput::default()
        }
    });
    let mut parameters = configured.map_or_else(HashMap::new, |config| config.parameters.clone());
    parameters.extend(pipeline_parameter(version));
    ModelConfig {
        name: version.model().to_owned(),
        platform: version.platform().to_owned(),
        backend: version.engine().to_owned(),
        max_batch_size: limits
            .max_batch_rows
            // In Triton's form 0 means that the model has no batch axis.
            .map_or(0, |rows| i32::try_from(rows.get()).unwrap_or(i32::MAX)),
        input: input.collect(),
        output: output.collect(),
        instance_group: vec![instance_group(version)],
        default_model_filename: plan.manifest.artifact.clone(),
        scheduling_choice: match &plan.manifest.graph {
            Some(graph) => Some(SchedulingChoice::EnsembleScheduling(ensemble(graph))),
            None => sequences::sequence_batching(version)
                .map(SchedulingChoice::SequenceBatching)
                .or_else(|| {
                    batched.then(|| SchedulingChoice::DynamicBatching(dynamic_batching(version)))
                }),
        },
        version_policy: plan
            .triton
            .as_ref()
            .and_then(|config| config.version_policy.clone()),
        parameters,
        ..ModelConfig::default()
    }
}

/// The fields of a pipeline, which Triton's form has no place for: as JSON, in a parameter.
fn pipeline_parameter(version: &Version) -> Option<(String, ModelParameter)> {
    let fields = pipeline_metadata(version)?;
    let string_value = serde_json::to_string(&fields).expect("metadata are JSON");
    Some((PIPELINE.to_owned(), ModelParameter { string_value }))
}

/// The format of an input in the model's own configuration, which is the only place that has the
/// layout of an image.
fn input_of<'a>(config: &'a ModelConfig, name: &str) -> Option<&'a ModelInput> {
    config.input.iter().find(|input| input.name == name)
}

fn output_of<'a>(config: &'a ModelConfig, name: &str) -> Option<&'a ModelOutput> {
    config.output.iter().find(|output| output.name == name)
}

fn dynamic_batching(version: &Version) -> ModelDynamicBatching {
    let limits = version.scheduler().limits();
    let batching = &version.plan().manifest.batching;
    let queue_policy = ModelQueuePolicy {
        default_timeout_microseconds: batching.default_timeout_us,
        // A request's own timeout always counts.
        allow_timeout_override: true,
        max_queue_size: u32::try_from(batching.max_queue_requests).unwrap_or(u32::MAX),
        ..ModelQueuePolicy::default()
    };
    ModelDynamicBatching {
        preferred_batch_size: limits
            .preferred_rows
            .iter()
            .filter_map(|rows| i32::try_from(*rows).ok())
            .collect(),
        max_queue_delay_microseconds: batching.max_queue_delay_us,
        // Answers of a stream keep the order of its requests.
        preserve_ordering: true,
        priority_levels: u64::from(batching.priority_levels),
        // `level` counts from 0, Triton from 1.
        default_priority_level: batching.level(0) as u64 + 1,
        default_queue_policy: Some(queue_policy),
        ..ModelDynamicBatching::default()
    }
}

fn instance_group(version: &Version) -> ModelInstanceGroup {
    ModelInstanceGroup {
        name: version.model().to_owned(),
        kind: model_instance_group::Kind::Cpu.into(),
        count: i32::try_from(version.scheduler().instances()).unwrap_or(i32::MAX),
        ..ModelInstanceGroup::default()
    }
}

/// The nodes of a graph, without conditions and merges, for which Triton's form has no place.
fn ensemble(graph: &GraphSpec) -> ModelEnsembling {
    let steps = graph.nodes.iter().map(|node| Step {
        model_name: node.model.clone(),
        // Triton writes -1 for the version that the model serves by itself.
        model_version: node
            .version
            .as_ref()
            .and_then(|version| version.parse().ok())
            .unwrap_or(-1),
        input_map: node.inputs.clone().into_iter().collect(),
        output_map: node.outputs.clone().into_iter().collect(),
        ..Step::default()
    });
    ModelEnsembling {
        step: steps.collect(),
        ..ModelEnsembling::default()
    }
}

/// The extents of a tensor. Triton's form leaves out the batch axis of models that it batches.
fn triton_dims(dims: Option<&[Dim]>, batched: bool) -> Vec<i64> {
    let dims = dims.unwrap_or_default().iter().map(Dim::to_wire);
    dims.skip(usize::from(batched)).collect()
}

/// The state of a model as the repository's index names it, and the reason.
pub(crate) fn state(state: &ModelState) -> (&'static str, String) {
    match state {
        ModelState::Ready => ("READY", String::new()),
        // It answers as before, so clients must go on sending.
        ModelState::Stale(reason) => (
            "READY",
            format!("still serves the old file; reload failed: {reason}"),
        ),
        ModelState::Unloaded => ("UNAVAILABLE", "unloaded".to_owned()),
        ModelState::Absent => ("UNAVAILABLE", "not loaded".to_owned()),
        ModelState::Fetching
        | ModelState::Verifying
        | ModelState::Loading
        | ModelState::Warming => ("LOADING", state.name().to_owned()),
        ModelState::Draining => ("UNLOADING", state.name().to_owned()),
        ModelState::Failed(reason) => ("UNAVAILABLE", reason.clone()),
    }
}
