//! Which inputs and outputs of a model are clients', and which are states and flags.

use tidegate_core::{Dim, SequenceSpec, Signature, StateSpec, Tensor, TensorSpec};

use super::controls::{self, Control};
use super::initial_state;
use super::{SequenceId, SequenceRequest};
use crate::{ErrorCode, InferError, VersionPlan};

/// How the inputs and outputs of a model with sequences are used.
#[derive(Debug)]
pub(crate) struct Wiring {
    /// For each input of the model, in order.
    inputs: Vec<Source>,
    /// For each output of the model, in order.
    outputs: Vec<Destination>,
    /// The inputs of the states, in the order of the manifest.
    states: Vec<TensorSpec>,
    /// What a sequence begins with.
    initial: Vec<Tensor>,
}

/// Where an input comes from.
#[derive(Debug)]
enum Source {
    Client,
    State(usize),
    Control(Box<Control>),
}

/// Where an output goes.
#[derive(Debug)]
struct Destination {
    client: bool,
    state: Option<usize>,
}

/// The outputs of a run: those of the client, and the next states.
pub(crate) struct StepOutputs {
    pub(crate) outputs: Vec<Tensor>,
    pub(crate) states: Vec<Tensor>,
}

impl Wiring {
    /// The wiring of a version, held against the signature of its artifact; `None` if its manifest has
    /// no sequences. From then on, the signature says that the model needs its states.
    ///
    /// # Errors
    /// What does not fit, by name.
    pub(crate) fn of(
        plan: &VersionPlan,
        signature: &mut Signature,
    ) -> Result<Option<Self>, String> {
        let Some(spec) = &plan.manifest.sequences else {
            return Ok(None);
        };
        check_limits(spec)?;
        let mut wiring = Self {
            inputs: signature.inputs.iter().map(|_| Source::Client).collect(),
            outputs: signature.outputs.iter().map(|_| CLIENT_ONLY).collect(),
            states: Vec::new(),
            initial: Vec::new(),
        };
        for state in &spec.states {
            wiring.add_state(plan, signature, state)?;
        }
        wiring.add_controls(signature, spec)?;
        let bytes: usize = wiring.initial.iter().map(Tensor::byte_len).sum();
        if bytes > spec.max_state_bytes {
            return Err(format!(
                "the initial states have {bytes} bytes, sequences.max_state_bytes is {}",
                spec.max_state_bytes
            ));
        }
        // A default of the artifact is never used: proofs and requests always give these inputs.
        for (input, source) in signature.inputs.iter_mut().zip(&wiring.inputs) {
            input.optional &= matches!(source, Source::Client);
        }
        Ok(Some(wiring))
    }

    fn add_state(
        &mut self,
        plan: &VersionPlan,
        signature: &Signature,
        state: &StateSpec,
    ) -> Result<(), String> {
        let at = self.free_input(signature, &state.input)?;
        let input = &signature.inputs[at];
        let given = signature
            .output(&state.output)
            .map_err(|error| error.to_string())?;
        let output = &signature.outputs[given];
        if self.outputs[given].state.is_some() {
            return Err(format!("output \"{}\" is the state twice", output.name));
        }
        if input.datatype != output.datatype {
            let (one, other) = (input.datatype, output.datatype);
            return Err(format!(
                "state input \"{}\" is {one} and its output \"{}\" is {other}",
                input.name, output.name
            ));
        }
        if !may_agree(input, output) {
            return Err(format!(
                "state input \"{}\" has shape {:?} and its output \"{}\" has {:?}",
                input.name,
                input.wire_shape(),
                output.name,
                output.wire_shape()
            ));
        }
        let index = self.states.len();
        self.initial
            .push(initial_state::tensor(plan, input, state)?);
        self.states.push(input.clone());
        self.inputs[at] = Source::State(index);
        self.outputs[given] = Destination {
            client: state.answered,
            state: Some(index),
        };
        Ok(())
    }

    fn add_controls(&mut self, signature: &Signature, spec: &SequenceSpec) -> Result<(), String> {
        if let Some(start) = &spec.start {
            let at = self.free_input(signature, &start.input)?;
            let flags = controls::flags(&signature.inputs[at], start)?;
            self.inputs[at] = Source::Control(Box::new(Control::Start(flags)));
        }
        if let Some(end) = &spec.end {
            let at = self.free_input(signature, &end.input)?;
            let flags = controls::flags(&signature.inputs[at], end)?;
            self.inputs[at] = Source::Control(Box::new(Control::End(flags)));
        }
        if let Some(ready) = &spec.ready {
            let at = self.free_input(signature, &ready.input)?;
            let [_, yes] = controls::flags(&signature.inputs[at], ready)?;
            self.inputs[at] = Source::Control(Box::new(Control::Ready(yes)));
        }
        if let Some(name) = &spec.correlation_id {
            let at = self.free_input(signature, name)?;
            let control = controls::correlation_id(&signature.inputs[at])?;
            self.inputs[at] = Source::Control(Box::new(control));
        }
        Ok(())
    }

    /// The place of an input that nothing else sets.
    fn free_input(&self, signature: &Signature, name: &str) -> Result<usize, String> {
        let mut inputs = signature.inputs.iter();
        let Some(at) = inputs.position(|spec| spec.name == name) else {
            let known: Vec<&str> = signature.inputs.iter().map(|spec| &*spec.name).collect();
            return Err(format!(
                "input \"{name}\" is not in the model, which has \"{}\"",
                known.join("\", \"")
            ));
        };
        match self.inputs[at] {
            Source::Client => Ok(at),
            _ => Err(format!("input \"{name}\" is used twice")),
        }
    }

    /// What clients see of the model: neither states nor flags.
    pub(crate) fn visible(&self, signature: &Signature) -> Signature {
        let inputs = signature.inputs.iter().zip(&self.inputs);
        let outputs = signature.outputs.iter().zip(&self.outputs);
        Signature {
            inputs: inputs
                .filter(|(_, source)| matches!(source, Source::Client))
                .map(|(spec, _)| spec.clone())
                .collect(),
            outputs: outputs
                .filter(|(_, destination)| destination.client)
                .map(|(spec, _)| spec.clone())
                .collect(),
        }
    }

    /// What a sequence begins with.
    pub(crate) fn initial(&self) -> &[Tensor] {
        &self.initial
    }

    /// A state that cannot be one row of a batch, if there is one.
    pub(crate) fn unbatchable(&self) -> Option<String> {
        let mut states = self.states.iter().zip(&self.initial);
        let (spec, initial) = states.find(|(_, initial)| initial.shape().first() != Some(&1))?;
        Some(format!(
            "state \"{}\" begins with shape {}: in a batch it must have one row",
            spec.name,
            initial.shape()
        ))
    }

    /// The inputs of the model, from those of a client and the states of the sequence.
    pub(crate) fn assemble(
        &self,
        client: Vec<Option<Tensor>>,
        states: &[Tensor],
        request: &SequenceRequest,
    ) -> Result<Vec<Option<Tensor>>, InferError> {
        let mut client = client.into_iter();
        let mut inputs = Vec::with_capacity(self.inputs.len());
        for source in &self.inputs {
            inputs.push(match source {
                Source::Client => client.next().flatten(),
                Source::State(at) => states.get(*at).cloned(),
                Source::Control(control) => Some(control.tensor(request)?),
            });
        }
        Ok(inputs)
    }

    /// Takes the next states off the outputs of the model.
    ///
    /// # Errors
    /// If the model gives a state that it cannot take.
    pub(crate) fn take_off(&self, given: Vec<Tensor>) -> Result<StepOutputs, InferError> {
        let step = self.split(given);
        for (spec, state) in self.states.iter().zip(&step.states) {
            check_state(spec, state)?;
        }
        Ok(step)
    }

    /// The outputs of a run of samples that clients would see.
    pub(crate) fn visible_outputs(&self, given: Vec<Tensor>) -> Vec<Tensor> {
        self.split(given).outputs
    }

    fn split(&self, given: Vec<Tensor>) -> StepOutputs {
        let mut outputs = Vec::with_capacity(given.len());
        let mut states: Vec<Option<Tensor>> = vec![None; self.states.len()];
        for (tensor, destination) in given.into_iter().zip(&self.outputs) {
            match destination.state {
                Some(at) if destination.client => {
                    states[at] = Some(tensor.clone());
                    outputs.push(tensor);
                }
                Some(at) => states[at] = Some(tensor),
                None => outputs.push(tensor),
            }
        }
        StepOutputs {
            outputs,
            states: states.into_iter().flatten().collect(),
        }
    }

    /// Adds what a sample of one request leaves out: it is the only request of its sequence.
    pub(crate) fn complete(&self, signature: &Signature, inputs: &mut Vec<(String, Tensor)>) {
        let alone = SequenceRequest {
            id: SequenceId::Number(1),
            start: true,
            end: true,
        };
        for (spec, source) in signature.inputs.iter().zip(&self.inputs) {
            let added = match source {
                Source::Client => None,
                Source::State(at) => self.initial.get(*at).cloned(),
                Source::Control(control) => control.tensor(&alone).ok(),
            };
            let is_given = inputs.iter().any(|(name, _)| *name == spec.name);
            if let Some(tensor) = added.filter(|_| !is_given) {
                inputs.push((spec.name.clone(), tensor));
            }
        }
    }
}

const CLIENT_ONLY: Destination = Destination {
    client: true,
    state: None,
};

fn check_limits(spec: &SequenceSpec) -> Result<(), String> {
    // Longer times are as good as none, and the clock has an end.
    const MAX_MS: u64 = 7 * 24 * 3_600_000;
    let limits = [
        ("max_sequences", spec.max_sequences as u64, 1 << 24),
        ("max_state_bytes", spec.max_state_bytes as u64, 1 << 40),
        ("idle_timeout_ms", spec.idle_timeout_ms, MAX_MS),
        ("replaced_timeout_ms", spec.replaced_timeout_ms, MAX_MS),
    ];
    for (name, value, most) in limits {
        if value == 0 || value > most {
            return Err(format!(
                "sequences.{name} is {value}, it must be from 1 to {most}"
            ));
        }
    }
    Ok(())
}

/// Whether some tensor can be both.
fn may_agree(input: &TensorSpec, output: &TensorSpec) -> bool {
    let (Some(input), Some(output)) = (&input.dims, &output.dims) else {
        return true;
    };
    let mut dims = input.iter().zip(output);
    input.len() == output.len()
        && dims.all(|(one, other)| one == other || *one == Dim::Any || *other == Dim::Any)
}

fn check_state(spec: &TensorSpec, state: &Tensor) -> Result<(), InferError> {
    let fits = match &spec.dims {
        None => true,
        Some(dims) => {
            let shape = state.shape();
            let mut extents = dims.iter().zip(shape.iter());
            dims.len() == shape.len() && extents.all(|(dim, extent)| dim.accepts(*extent))
        }
    };
    if fits && state.datatype() == spec.datatype {
        return Ok(());
    }
    let message = format!(
        "the model gave a state {} of shape {} for its input \"{}\", which takes {} {:?}",
        state.datatype(),
        state.shape(),
        spec.name,
        spec.datatype,
        spec.wire_shape()
    );
    Err(InferError::new(ErrorCode::ExecutionFailed, message))
}
