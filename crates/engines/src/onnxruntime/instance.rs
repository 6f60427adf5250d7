//! One session, which runs one batch at a time.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ort::session::{Session, SessionInputValue, SessionInputs};
use smallvec::SmallVec;
use tidegate_core::{Signature, Tensor, TensorSpec};

use super::preallocated::{PreallocatedRun, PreallocationProof, Proof};
use super::values;
use crate::{Instance, RunError};

/// For runs that take longer the fast path saves nothing that can be measured, and its proof would
/// take two of them.
const LONG_RUN: Duration = Duration::from_millis(30);

/// Most models have few inputs: their list needs no allocation.
type Few<T> = SmallVec<[T; 4]>;

pub(super) struct OnnxRuntimeInstance {
    session: Session,
    inputs: Vec<TensorSpec>,
    /// The fast path, until a run shows that it does not fit this graph.
    preallocated: Option<PreallocatedRun>,
    proof: Arc<PreallocationProof>,
    /// By output; most graphs have none.
    classes: Arc<HashMap<String, Vec<String>>>,
}

impl OnnxRuntimeInstance {
    pub(super) fn new(
        session: Session,
        signature: &Signature,
        proof: Arc<PreallocationProof>,
        classes: Arc<HashMap<String, Vec<String>>>,
    ) -> Self {
        // Maps from classes to scores are no tensors in the runtime.
        let has_maps = !classes.is_empty();
        let preallocated = if has_maps {
            None
        } else {
            PreallocatedRun::new(signature)
        };
        Self {
            session,
            inputs: signature.inputs.clone(),
            preallocated,
            proof,
            classes,
        }
    }
}

impl Instance for OnnxRuntimeInstance {
    fn run(&mut self, inputs: &[Option<Tensor>]) -> Result<Vec<Tensor>, RunError> {
        // Values borrow the tensors' memory, so an unaligned tensor is copied here, where the copy
        // outlives the run.
        let aligned: Few<Option<Tensor>>;
        let inputs = if inputs.iter().flatten().all(Tensor::is_aligned) {
            inputs
        } else {
            aligned = inputs
                .iter()
                .map(|tensor| tensor.clone().map(Tensor::aligned))
                .collect();
            &aligned
        };
        let Some(preallocated) = &self.preallocated else {
            return self.run_general(inputs);
        };
        match self.proof.get() {
            Proof::Holds => {}
            Proof::Open => return self.run_and_prove(inputs),
            Proof::Fails => {
                self.preallocated = None;
                return self.run_general(inputs);
            }
        }
        match preallocated.run(&mut self.session, inputs) {
            Ok(Some(outputs)) => Ok(outputs),
            Ok(None) => self.run_general(inputs),
            Err(_) => {
                // Either the input is bad, or an output does not have the shape that follows from
                // its spec and the number of rows. Only the second is a reason to stay general.
                let outputs = self.run_general(inputs)?;
                self.preallocated = None;
                Ok(outputs)
            }
        }
    }
}

impl OnnxRuntimeInstance {
    /// A general run, which shows whether the fast path gives the same.
    fn run_and_prove(&mut self, inputs: &[Option<Tensor>]) -> Result<Vec<Tensor>, RunError> {
        let started = Instant::now();
        let outputs = self.run_general(inputs)?;
        let proof = match &self.preallocated {
            Some(preallocated) if started.elapsed() < LONG_RUN => {
                preallocated.proof(&mut self.session, inputs, &outputs)
            }
            // The first run of a graph takes longer than those that follow, and any run may be
            // interrupted.
            Some(_) => self.proof.after_long_run(),
            None => Proof::Fails,
        };
        self.proof.set(proof);
        Ok(outputs)
    }

    /// A run that takes every kind of value and any shape of output.
    fn run_general(&mut self, inputs: &[Option<Tensor>]) -> Result<Vec<Tensor>, RunError> {
        let mut names: Few<&str> = SmallVec::new();
        let mut values: Few<SessionInputValue<'_>> = SmallVec::new();
        for (spec, tensor) in self.inputs.iter().zip(inputs) {
            if let Some(tensor) = tensor {
                names.push(&spec.name);
                values.push(values::to_value(&spec.name, tensor)?);
            }
        }
        // Without names the runtime takes the required inputs in their order.
        let is_complete = self
            .inputs
            .iter()
            .zip(inputs)
            .all(|(spec, tensor)| tensor.is_some() && !spec.optional);
        let session_inputs: SessionInputs<'_, '_> = if is_complete {
            SessionInputs::ValueSlice(&values)
        } else {
            let names = names.into_iter().map(Cow::Borrowed);
            SessionInputs::ValueMap(names.zip(values.drain(..)).collect())
        };
        let outputs = self
            .session
            .run(session_inputs)
            .map_err(|error| RunError::Engine(error.message().to_owned()))?;
        let classes = &self.classes;
        outputs
            .iter()
            .map(|(name, value)| values::from_value(&value, classes.get(name).map(Vec::as_slice)))
            .collect()
    }
}
