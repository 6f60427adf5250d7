//! `sequence_batching` of a `config.pbtxt`.

use tidegate_core::{Batching, FlagInput, SequenceSpec, StateSpec};
use tidegate_protocol::inference::model_config::SchedulingChoice;
use tidegate_protocol::inference::model_sequence_batching::control::Kind;
use tidegate_protocol::inference::model_sequence_batching::initial_state::StateData;
use tidegate_protocol::inference::model_sequence_batching::{
    Control, ControlInput, State, StrategyChoice,
};
use tidegate_protocol::inference::{DataType, ModelConfig, ModelSequenceBatching};
use tidegate_protocol::model_config;

/// Triton's default, in microseconds.
const DEFAULT_IDLE_US: u64 = 1_000_000;

/// An input or output that only the server sees, as a configuration declares it.
pub(super) struct HiddenTensor<'a> {
    pub(super) side: &'static str,
    pub(super) name: &'a str,
    pub(super) data_type: i32,
    /// Without the batch axis; `None` where the configuration does not say.
    pub(super) dims: Option<&'a [i64]>,
}

/// The section of a manifest that a configuration stands for; `None` without `sequence_batching`.
///
/// # Errors
/// What has no meaning, by its field.
pub(super) fn spec(config: &ModelConfig) -> Result<Option<SequenceSpec>, String> {
    let Some(batching) = batching(config) else {
        return Ok(None);
    };
    let idle_us = match batching.max_sequence_idle_microseconds {
        0 => DEFAULT_IDLE_US,
        idle_us => idle_us,
    };
    let mut spec = SequenceSpec {
        idle_timeout_ms: idle_us.div_ceil(1000),
        ..SequenceSpec::default()
    };
    for input in &batching.control_input {
        add_control(&mut spec, input)
            .map_err(|problem| format!("control_input \"{}\" {problem}", input.name))?;
    }
    for state in &batching.state {
        let state = state_spec(config, state)
            .map_err(|problem| format!("state \"{}\" {problem}", state.input_name))?;
        spec.states.push(state);
    }
    Ok(Some(spec))
}

/// What the strategy says of batches.
pub(super) fn add_batching(config: &ModelConfig, manifest: &mut Batching) {
    let strategy = batching(config).and_then(|batching| batching.strategy_choice.as_ref());
    match strategy {
        None => {}
        Some(StrategyChoice::Direct(direct)) => {
            manifest.max_queue_delay_us = direct.max_queue_delay_microseconds;
        }
        Some(StrategyChoice::Oldest(oldest)) => {
            manifest.max_queue_delay_us = oldest.max_queue_delay_microseconds;
            let preferred = oldest.preferred_batch_size.iter();
            manifest.preferred_batch_sizes = preferred
                .filter_map(|rows| usize::try_from(*rows).ok())
                .collect();
        }
    }
}

/// The states and flags, to hold against the model.
pub(super) fn hidden_tensors(config: &ModelConfig) -> Vec<HiddenTensor<'_>> {
    let mut hidden = Vec::new();
    let Some(batching) = batching(config) else {
        return hidden;
    };
    for state in &batching.state {
        for (side, name) in [("input", &state.input_name), ("output", &state.output_name)] {
            hidden.push(HiddenTensor {
                side,
                name,
                data_type: state.data_type,
                dims: Some(&state.dims),
            });
        }
    }
    for input in &batching.control_input {
        for control in &input.control {
            hidden.push(HiddenTensor {
                side: "input",
                name: &input.name,
                data_type: data_type(control),
                dims: None,
            });
        }
    }
    hidden
}

/// The settings that are taken and change no answer.
pub(super) fn without_effect(config: &ModelConfig) -> Vec<String> {
    let strategy = batching(config).and_then(|batching| batching.strategy_choice.as_ref());
    let (is_set, field) = match strategy {
        None => return Vec::new(),
        Some(StrategyChoice::Direct(direct)) => (
            direct.minimum_slot_utilization != 0.0,
            "direct.minimum_slot_utilization",
        ),
        Some(StrategyChoice::Oldest(oldest)) => (
            oldest.max_candidate_sequences != 0,
            "oldest.max_candidate_sequences",
        ),
    };
    let field = is_set.then(|| format!("sequence_batching.{field}"));
    field.into_iter().collect()
}

fn batching(config: &ModelConfig) -> Option<&ModelSequenceBatching> {
    match &config.scheduling_choice {
        Some(SchedulingChoice::SequenceBatching(batching)) => Some(batching),
        _ => None,
    }
}

fn add_control(spec: &mut SequenceSpec, input: &ControlInput) -> Result<(), String> {
    let [control] = input.control.as_slice() else {
        return Err(format!(
            "has {} controls, it must have one",
            input.control.len()
        ));
    };
    let name = input.name.clone();
    let (place, kind) = match control.kind() {
        Kind::ControlSequenceStart => (&mut spec.start, "CONTROL_SEQUENCE_START"),
        Kind::ControlSequenceEnd => (&mut spec.end, "CONTROL_SEQUENCE_END"),
        Kind::ControlSequenceReady => (&mut spec.ready, "CONTROL_SEQUENCE_READY"),
        Kind::ControlSequenceCorrid => {
            return match spec.correlation_id.replace(name) {
                None => Ok(()),
                Some(_) => Err("is the second one of CONTROL_SEQUENCE_CORRID".to_owned()),
            };
        }
    };
    if place.is_some() {
        return Err(format!("is the second one of {kind}"));
    }
    let (off, on) = false_true(control)?;
    *place = Some(FlagInput {
        input: name,
        off,
        on,
    });
    Ok(())
}

fn false_true(control: &Control) -> Result<(f64, f64), String> {
    let Control {
        int32_false_true: integers,
        fp32_false_true: floats,
        bool_false_true: bools,
        ..
    } = control;
    match (integers.as_slice(), floats.as_slice(), bools.as_slice()) {
        ([off, on], [], []) => Ok((f64::from(*off), f64::from(*on))),
        ([], [off, on], []) => Ok((f64::from(*off), f64::from(*on))),
        ([], [], [off, on]) => Ok((f64::from(u8::from(*off)), f64::from(u8::from(*on)))),
        _ => Err(
            "needs two values in one of int32_false_true, fp32_false_true and bool_false_true"
                .to_owned(),
        ),
    }
}

/// The data type that the values of a control have.
fn data_type(control: &Control) -> i32 {
    let datatype = match control.kind() {
        Kind::ControlSequenceCorrid => return control.data_type,
        _ if !control.int32_false_true.is_empty() => DataType::TypeInt32,
        _ if !control.fp32_false_true.is_empty() => DataType::TypeFp32,
        _ => DataType::TypeBool,
    };
    datatype.into()
}

fn state_spec(config: &ModelConfig, state: &State) -> Result<StateSpec, String> {
    let mut spec = StateSpec {
        input: state.input_name.clone(),
        output: state.output_name.clone(),
        initial: StateSpec::ZEROS.to_owned(),
        shape: None,
        // As in Triton, clients get a state that is declared as an output, too.
        answered: config
            .output
            .iter()
            .any(|output| output.name == state.output_name),
    };
    let initial = match state.initial_state.as_slice() {
        [] => return Ok(spec),
        [initial] => initial,
        several => return Err(format!("has {} initial states", several.len())),
    };
    if initial.data_type != state.data_type {
        let name = |number| model_config::datatype_name(number).unwrap_or("without a type");
        return Err(format!(
            "is {}, and its initial state {}",
            name(state.data_type),
            name(initial.data_type)
        ));
    }
    let batch_axis = (config.max_batch_size > 0).then_some(1);
    spec.shape = Some(
        batch_axis
            .into_iter()
            .chain(initial.dims.iter().copied())
            .collect(),
    );
    if let Some(StateData::DataFile(file)) = &initial.state_data {
        spec.initial.clone_from(file);
    }
    Ok(spec)
}
