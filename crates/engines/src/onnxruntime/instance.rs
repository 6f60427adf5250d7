//! An instance: its place in a session, and the way that its runs take.

use std::collections::HashMap;
use std::ffi::c_char;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ort::AsPointer;
use ort::session::SessionInputValue;
use ort::sys;
use smallvec::SmallVec;
use tidegate_core::{Signature, Tensor};

use super::preallocated::{PreallocatedRun, PreallocationProof, Proof};
use super::session::SharedSession;
use super::values;
use crate::{Instance, RunError};

/// For runs that take longer the fast path saves nothing that can be measured, and its proof would
/// take two of them.
const LONG_RUN: Duration = Duration::from_millis(30);

/// Most models have few inputs: their list needs no allocation.
type Few<T> = SmallVec<[T; 4]>;

pub(super) struct OnnxRuntimeInstance {
    session: Arc<SharedSession>,
    signature: Signature,
    /// The fast path, until a run shows that it does not fit this graph.
    preallocated: Option<PreallocatedRun>,
    proof: Arc<PreallocationProof>,
    /// By output; most graphs have none.
    classes: Arc<HashMap<String, Vec<String>>>,
}

impl OnnxRuntimeInstance {
    pub(super) fn new(
        session: Arc<SharedSession>,
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
            signature: signature.clone(),
            preallocated,
            proof,
            classes,
        }
    }
}

impl Instance for OnnxRuntimeInstance {
    fn run(&mut self, inputs: &[Option<Tensor>]) -> Result<Vec<Tensor>, RunError> {
        self.run_with(inputs, false)
    }

    fn run_and_release(&mut self, inputs: &[Option<Tensor>]) -> Result<Vec<Tensor>, RunError> {
        self.run_with(inputs, true)
    }
}

impl OnnxRuntimeInstance {
    fn run_with(
        &mut self,
        inputs: &[Option<Tensor>],
        release: bool,
    ) -> Result<Vec<Tensor>, RunError> {
        let (mut bytes, mut is_aligned) = (0, true);
        for tensor in inputs.iter().flatten() {
            bytes += tensor.byte_len();
            is_aligned &= tensor.is_aligned();
        }
        let release = release || self.session.is_peak_over(bytes);
        // Values borrow the tensors' memory, so an unaligned tensor is copied here, where the copy
        // outlives the run.
        let aligned: Few<Option<Tensor>>;
        let inputs = if is_aligned {
            inputs
        } else {
            aligned = inputs
                .iter()
                .map(|tensor| tensor.clone().map(Tensor::aligned))
                .collect();
            &aligned
        };
        let Some(preallocated) = &self.preallocated else {
            return self.run_general(inputs, release);
        };
        match self.proof.get() {
            Proof::Holds => {}
            Proof::Open => return self.run_and_prove(inputs, release),
            Proof::Fails => {
                self.preallocated = None;
                return self.run_general(inputs, release);
            }
        }
        match preallocated.run(&self.session, inputs, release) {
            Ok(Some(outputs)) => Ok(outputs),
            Ok(None) => self.run_general(inputs, release),
            Err(_) => {
                // Either the input is bad, or an output does not have the shape that follows from
                // its spec and the number of rows. Only the second is a reason to stay general.
                let outputs = self.run_general(inputs, release)?;
                self.preallocated = None;
                Ok(outputs)
            }
        }
    }

    /// A general run, which shows whether the fast path gives the same.
    fn run_and_prove(
        &mut self,
        inputs: &[Option<Tensor>],
        release: bool,
    ) -> Result<Vec<Tensor>, RunError> {
        let started = Instant::now();
        let outputs = self.run_general(inputs, release)?;
        let proof = match &self.preallocated {
            Some(preallocated) if started.elapsed() < LONG_RUN => {
                preallocated.proof(&self.session, inputs, &outputs)
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
    fn run_general(
        &self,
        inputs: &[Option<Tensor>],
        release: bool,
    ) -> Result<Vec<Tensor>, RunError> {
        let mut names: Few<*const c_char> = SmallVec::new();
        let mut values: Few<SessionInputValue<'_>> = SmallVec::new();
        let ports = self.signature.inputs.iter().zip(self.session.input_names());
        for ((spec, name), tensor) in ports.zip(inputs) {
            if let Some(tensor) = tensor {
                names.push(name.as_ptr());
                values.push(values::to_value(&spec.name, tensor)?);
            }
        }
        let pointers: Few<*const sys::OrtValue> = values.iter().map(|value| value.ptr()).collect();
        // SAFETY: names and values stay alive until the end of this function.
        let outputs = unsafe { self.session.run(&names, &pointers, release) }?;
        let specs = self.signature.outputs.iter().zip(&outputs);
        specs
            .map(|(spec, value)| {
                let classes = self.classes.get(&spec.name).map(Vec::as_slice);
                values::from_value(value, classes)
            })
            .collect()
    }
}
