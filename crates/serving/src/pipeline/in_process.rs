//! Requests from within the process, such as the command line's.

use std::time::Instant;

use http::HeaderMap;
use tidegate_gateway::Credentials;

use super::{Encoded, Exchange, Received};
use crate::{InferError, InferRequest, InferResponse, MemoryReservation, RequestTrace, Target};

/// A request without a wire: its answer is the response itself.
#[derive(Debug)]
pub struct InProcess {
    target: Target,
    request: InferRequest,
    headers: HeaderMap,
}

impl InProcess {
    /// A request to a target. It counts as received when the pipeline takes it.
    pub fn new(target: Target, request: InferRequest) -> Self {
        Self {
            target,
            request,
            headers: HeaderMap::new(),
        }
    }
}

impl Exchange for InProcess {
    type Answer = InferResponse;

    fn credentials(&self) -> Credentials<'_> {
        Credentials::of(&self.headers)
    }

    fn take_target(&mut self) -> Target {
        std::mem::take(&mut self.target)
    }

    async fn receive(&mut self) -> Result<Received, InferError> {
        Ok(Received {
            request: std::mem::take(&mut self.request),
            at: Instant::now(),
            memory: MemoryReservation::default(),
        })
    }

    fn take_trace(&mut self) -> Option<Box<RequestTrace>> {
        None
    }

    async fn encode(
        &mut self,
        response: InferResponse,
    ) -> Result<Encoded<InferResponse>, InferError> {
        Ok(Encoded {
            answer: response,
            // Nothing is sent within a process.
            bytes: 0,
        })
    }
}
