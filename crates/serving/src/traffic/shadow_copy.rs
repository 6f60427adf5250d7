//! A copy of a request, on its way to shadows.

use std::sync::Arc;
use std::time::Instant;

use tidegate_core::Tensor;

use super::{EndpointTraffic, OutputWatch};
use crate::pipeline::Executed;
use crate::{InferRequest, Version};

/// Outputs by name.
pub(super) type NamedOutputs = Vec<(String, Tensor)>;

/// A copy of a request for the shadows of its endpoint, with what clients were answered.
#[derive(Debug)]
pub(crate) struct ShadowCopy {
    pub(super) endpoint: Arc<str>,
    /// The versions that get it.
    pub(super) shadows: Vec<Arc<str>>,
    pub(super) request: InferRequest,
    /// The version that answered, and its outputs by name.
    pub(super) primary: Option<(Arc<Version>, NamedOutputs)>,
    /// What is noted of the answers of shadows, if versions of the endpoint are compared.
    pub(super) watch: Option<Arc<OutputWatch>>,
    /// The policy whose cascade is checked, if it is a check.
    pub(super) audit: Option<Arc<EndpointTraffic>>,
    /// When its answer was there.
    pub(super) answered: Instant,
}

impl ShadowCopy {
    pub(super) fn new(endpoint: Arc<str>, shadows: Vec<Arc<str>>, request: InferRequest) -> Self {
        Self {
            endpoint,
            shadows,
            request,
            primary: None,
            watch: None,
            audit: None,
            answered: Instant::now(),
        }
    }

    /// Notes what the client gets. The tensors share their memory with the answer.
    pub(crate) fn answered(&mut self, version: &Arc<Version>, executed: &Executed) {
        let signature = version.signature();
        let outputs = executed.outputs.iter().map(|output| {
            let name = signature.outputs[output.index].name.clone();
            (name, output.tensor.clone())
        });
        self.primary = Some((version.clone(), outputs.collect()));
        self.answered = Instant::now();
    }

    /// The memory that it holds, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let inputs = self.request.inputs.iter().map(|(_, tensor)| tensor);
        let outputs = self.primary.iter().flat_map(|(_, outputs)| outputs);
        let tensors = inputs.chain(outputs.map(|(_, tensor)| tensor));
        tensors.map(Tensor::byte_len).sum()
    }
}
