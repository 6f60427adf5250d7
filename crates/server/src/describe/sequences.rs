//! How a version keeps states, in Triton's form.

use tidegate_core::{DataType, FlagInput, SequenceSpec, Signature, StateSpec, TensorSpec};
use tidegate_protocol::inference::model_config::SchedulingChoice;
use tidegate_protocol::inference::model_sequence_batching::control::Kind;
use tidegate_protocol::inference::model_sequence_batching::{
    Control, ControlInput, State, StrategyChoice, StrategyOldest,
};
use tidegate_protocol::inference::{ModelConfig, ModelSequenceBatching};
use tidegate_protocol::model_config::datatype_number;
use tidegate_serving::Version;

use super::triton_dims;

/// The section of a version that keeps states: that of its `config.pbtxt`, or what its `model.toml`
/// says.
pub(super) fn sequence_batching(version: &Version) -> Option<ModelSequenceBatching> {
    let plan = version.plan();
    let spec = plan.manifest.sequences.as_ref()?;
    let configured = plan.triton.as_ref().and_then(configured);
    Some(configured.unwrap_or_else(|| of_manifest(version, spec)))
}

fn configured(config: &ModelConfig) -> Option<ModelSequenceBatching> {
    match &config.scheduling_choice {
        Some(SchedulingChoice::SequenceBatching(batching)) => Some(batching.clone()),
        _ => None,
    }
}

fn of_manifest(version: &Version, spec: &SequenceSpec) -> ModelSequenceBatching {
    let limits = version.scheduler().limits();
    let batched = limits.max_batch_rows.is_some();
    let signature = version.model_signature();
    let states = spec.states.iter();
    let flags = [
        (&spec.start, Kind::ControlSequenceStart),
        (&spec.end, Kind::ControlSequenceEnd),
        (&spec.ready, Kind::ControlSequenceReady),
    ];
    let flags = flags.into_iter().filter_map(|(flag, kind)| {
        let flag = flag.as_ref()?;
        Some(flag_input(flag, kind, find(signature, &flag.input)?))
    });
    let ids = spec.correlation_id.iter().filter_map(|name| {
        let control = Control {
            kind: Kind::ControlSequenceCorrid.into(),
            data_type: datatype_number(find(signature, name)?.datatype.name()),
            ..Control::default()
        };
        Some(control_input(name, control))
    });
    ModelSequenceBatching {
        max_sequence_idle_microseconds: spec.idle_timeout_ms.saturating_mul(1000),
        control_input: flags.chain(ids).collect(),
        state: states
            .filter_map(|state| Some(state_of(state, find(signature, &state.input)?, batched)))
            .collect(),
        strategy_choice: Some(StrategyChoice::Oldest(StrategyOldest {
            max_candidate_sequences: i32::try_from(spec.max_sequences).unwrap_or(i32::MAX),
            ..StrategyOldest::default()
        })),
        ..ModelSequenceBatching::default()
    }
}

fn find<'a>(signature: &'a Signature, name: &str) -> Option<&'a TensorSpec> {
    signature.inputs.iter().find(|spec| spec.name == name)
}

fn state_of(state: &StateSpec, input: &TensorSpec, batched: bool) -> State {
    State {
        input_name: state.input.clone(),
        output_name: state.output.clone(),
        data_type: datatype_number(input.datatype.name()),
        dims: triton_dims(input.dims.as_deref(), batched),
        ..State::default()
    }
}

fn flag_input(flag: &FlagInput, kind: Kind, input: &TensorSpec) -> ControlInput {
    let mut control = Control {
        kind: kind.into(),
        ..Control::default()
    };
    match input.datatype {
        DataType::Bool => control.bool_false_true = vec![flag.off != 0.0, flag.on != 0.0],
        DataType::Int32 => control.int32_false_true = vec![flag.off as i32, flag.on as i32],
        _ => control.fp32_false_true = vec![flag.off as f32, flag.on as f32],
    }
    control_input(&flag.input, control)
}

fn control_input(name: &str, control: Control) -> ControlInput {
    ControlInput {
        name: name.to_owned(),
        control: vec![control],
    }
}
