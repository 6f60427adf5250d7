//! Checks of a request against the signature of the version that will answer it.

use std::time::{Duration, Instant};

use tidegate_core::{SignatureError, Tensor};
use tidegate_gateway::TenantShare;

use super::Version;
use crate::request::RequestedOutput;
use crate::scheduler::Work;
use crate::{ErrorCode, InferError, InferRequest};

/// A request that a version has accepted.
pub(crate) struct Prepared {
    pub(crate) work: Work,
    /// Positions of the outputs in the signature, with the number of classes wanted, 0 for the
    /// plain output.
    pub(crate) outputs: Vec<(usize, usize)>,
}

impl Version {
    /// Checks a request against the signature, and turns it into work for the scheduler, on behalf of
    /// a tenant.
    pub(crate) fn prepare(
        &self,
        request: InferRequest,
        received: Instant,
        share: TenantShare,
    ) -> Result<Prepared, InferError> {
        let outputs = self.outputs(&request.outputs)?;
        let mut inputs = self.signature.bind(request.inputs)?;
        let runs_alone = self.gives_optional(&inputs);
        let rows = if runs_alone { 1 } else { self.rows(&inputs)? };
        self.reshapes.inputs(&mut inputs)?;
        let work = Work {
            inputs,
            rows,
            runs_alone,
            deadline: request.deadline.or_else(|| self.default_deadline(received)),
            level: self.plan.manifest.batching.level(request.priority),
            share,
        };
        Ok(Prepared { work, outputs })
    }

    fn default_deadline(&self, received: Instant) -> Option<Instant> {
        let timeout_us = self.plan.manifest.batching.default_timeout_us;
        (timeout_us > 0).then(|| received + Duration::from_micros(timeout_us))
    }

    /// The positions of the requested outputs in the signature, with the number of classes wanted.
    fn outputs(&self, requested: &[RequestedOutput]) -> Result<Vec<(usize, usize)>, InferError> {
        if requested.is_empty() {
            let all = 0..self.signature.outputs.len();
            return Ok(all.map(|at| (at, 0)).collect());
        }
        let mut outputs: Vec<(usize, usize)> = Vec::with_capacity(requested.len());
        for output in requested {
            let at = self.signature.output(&output.name)?;
            if outputs.iter().any(|(other, _)| *other == at) {
                let message = format!("output \"{}\" is requested twice", output.name);
                return Err(InferError::new(ErrorCode::MalformedRequest, message));
            }
            outputs.push((at, output.classes));
        }
        Ok(outputs)
    }

    /// Whether a request gives an input that has a default. That batches do what rows do alone is
    /// proven with the defaults only.
    fn gives_optional(&self, inputs: &[Option<Tensor>]) -> bool {
        let mut inputs = self.signature.inputs.iter().zip(inputs);
        inputs.any(|(spec, tensor)| spec.optional && tensor.is_some())
    }

    /// The rows of a request. All inputs must have the same number where axis 0 is the batch axis.
    fn rows(&self, inputs: &[Option<Tensor>]) -> Result<usize, InferError> {
        if self.scheduler.limits().batch_rows().is_none() {
            return Ok(1);
        }
        let mut rows = None;
        for (spec, tensor) in self.signature.inputs.iter().zip(inputs) {
            let Some(tensor) = tensor else { continue };
            let found = tensor.rows();
            let wanted = *rows.get_or_insert(found);
            if found != wanted {
                let input = spec.name.clone();
                return Err(SignatureError::Rows {
                    input,
                    found,
                    wanted,
                }
                .into());
            }
        }
        match rows {
            // An empty batch has nothing to answer, and engines differ in what they do with one.
            Some(0) => Err(InferError::new(
                ErrorCode::WrongDimension,
                "the request has no rows",
            )),
            rows => Ok(rows.unwrap_or(1)),
        }
    }
}
