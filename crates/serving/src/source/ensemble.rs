//! Triton's ensembles: `platform: "ensemble"` with an `ensemble_scheduling`, read as graphs.

use std::collections::BTreeMap;

use tidegate_core::{DeclaredSignature, DeclaredTensor, GraphNodeSpec, GraphSpec};
use tidegate_protocol::inference::ModelConfig;
use tidegate_protocol::inference::model_config::SchedulingChoice;
use tidegate_protocol::inference::model_ensembling::Step;
use tidegate_protocol::model_config::datatype_name;

/// Triton's name of them.
const PLATFORM: &str = "ensemble";

/// Whether a configuration is one of an ensemble.
pub(super) fn is_ensemble(config: &ModelConfig) -> bool {
    config.platform == PLATFORM
}

/// Refuses what an ensemble cannot have.
pub(super) fn check(config: &ModelConfig) -> Result<(), String> {
    let has_steps = steps(config).is_some();
    match (is_ensemble(config), has_steps) {
        (false, false) => return Ok(()),
        (false, true) => return Err("ensemble_scheduling needs platform: \"ensemble\"".to_owned()),
        (true, false) => {
            return Err("platform: \"ensemble\" needs an ensemble_scheduling".to_owned());
        }
        (true, true) => {}
    }
    if let Some(input) = config.input.iter().find(|input| input.optional) {
        return Err(format!(
            "input \"{}\" of an ensemble is optional",
            input.name
        ));
    }
    let inputs = config.input.iter();
    let mut reshaped = inputs
        .filter(|input| input.reshape.is_some())
        .map(|input| &input.name);
    let outputs = config.output.iter();
    let mut others = outputs
        .filter(|output| output.reshape.is_some())
        .map(|output| &output.name);
    match reshaped.next().or_else(|| others.next()) {
        None => Ok(()),
        Some(name) => Err(format!("\"{name}\" of an ensemble has a reshape")),
    }
}

fn steps(config: &ModelConfig) -> Option<&[Step]> {
    match &config.scheduling_choice {
        Some(SchedulingChoice::EnsembleScheduling(ensemble)) => Some(&ensemble.step),
        _ => None,
    }
}

/// The graph of an ensemble; `None` if it is none.
pub(super) fn graph(config: &ModelConfig) -> Option<GraphSpec> {
    let steps = steps(config)?;
    let mut nodes: Vec<GraphNodeSpec> = Vec::with_capacity(steps.len());
    for step in steps {
        let same = nodes
            .iter()
            .filter(|node| node.model == step.model_name)
            .count();
        let name = match same {
            0 => step.model_name.clone(),
            same => format!("{} {}", step.model_name, same + 1),
        };
        nodes.push(GraphNodeSpec {
            name,
            model: step.model_name.clone(),
            // Triton writes -1 for the version that the model serves by itself.
            version: (step.model_version > 0).then(|| step.model_version.to_string()),
            inputs: sorted(&step.input_map),
            outputs: sorted(&step.output_map),
            when: None,
            else_of: None,
        });
    }
    Some(GraphSpec {
        nodes,
        merges: Vec::new(),
    })
}

fn sorted<'a>(map: impl IntoIterator<Item = (&'a String, &'a String)>) -> BTreeMap<String, String> {
    let pairs = map.into_iter();
    pairs
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// The inputs and outputs of a configuration, with the batch axis that Triton leaves out.
pub fn declared(config: &ModelConfig) -> DeclaredSignature {
    // `dims` lack the batch axis if `max_batch_size` is above 0, and are complete otherwise
    // (Triton's model_configuration.md, "Maximum Batch Size").
    let batch = (config.max_batch_size > 0).then_some(-1);
    let inputs = config.input.iter();
    let inputs = inputs.map(|input| tensor(&input.name, input.data_type, batch, &input.dims));
    let outputs = config.output.iter();
    let outputs = outputs.map(|output| tensor(&output.name, output.data_type, batch, &output.dims));
    DeclaredSignature {
        inputs: inputs.collect(),
        outputs: outputs.collect(),
    }
}

fn tensor(name: &str, datatype: i32, batch: Option<i64>, dims: &[i64]) -> DeclaredTensor {
    DeclaredTensor {
        name: name.to_owned(),
        datatype: datatype_name(datatype).and_then(|name| name.parse().ok()),
        shape: Some(batch.into_iter().chain(dims.iter().copied()).collect()),
        ..DeclaredTensor::default()
    }
}
