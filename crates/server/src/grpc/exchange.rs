//! A request of the Open Inference Protocol over gRPC, alone or in a stream.

use std::time::{Duration, Instant};

use http::HeaderMap;
use tidegate_gateway::Credentials;
use tidegate_protocol::inference::{ModelInferRequest, ModelInferResponse};
use tidegate_serving::{
    Encoded, Exchange, InferError, InferResponse, Received, RequestTrace, Target,
};

use super::convert;
use crate::ServerConfig;

/// One message and its answer.
pub(super) struct GrpcExchange<'a> {
    config: &'a ServerConfig,
    metadata: &'a HeaderMap,
    message: ModelInferRequest,
    /// How long the client waits, by its `grpc-timeout`.
    timeout: Option<Duration>,
    /// The client's id of the request, which its answer repeats.
    id: String,
    trace: Option<Box<RequestTrace>>,
}

impl<'a> GrpcExchange<'a> {
    /// A message that has arrived with this metadata; for those of a stream, the stream's.
    pub(super) fn new(
        config: &'a ServerConfig,
        metadata: &'a HeaderMap,
        mut message: ModelInferRequest,
        mut trace: Option<Box<RequestTrace>>,
    ) -> Self {
        let id = std::mem::take(&mut message.id);
        if let Some(trace) = &mut trace {
            trace.set_id(&id);
        }
        Self {
            config,
            metadata,
            message,
            timeout: None,
            id,
            trace,
        }
    }

    /// The same with the client's timeout. The timeout of a stream is that of the whole stream.
    pub(super) fn with_timeout(self, timeout: Option<Duration>) -> Self {
        Self { timeout, ..self }
    }
}

impl Exchange for GrpcExchange<'_> {
    type Answer = ModelInferResponse;

    fn credentials(&self) -> Credentials<'_> {
        Credentials::of(self.metadata)
    }

    fn take_target(&mut self) -> Target {
        let version = std::mem::take(&mut self.message.model_version);
        Target {
            endpoint: std::mem::take(&mut self.message.model_name),
            version: (!version.is_empty()).then_some(version),
        }
    }

    async fn receive(&mut self) -> Result<Received, InferError> {
        let at = Instant::now();
        let message = std::mem::take(&mut self.message);
        let request = convert::request(message, self.timeout, at)?;
        Ok(Received { request, at })
    }

    fn take_trace(&mut self) -> Option<Box<RequestTrace>> {
        self.trace.take()
    }

    async fn encode(
        &mut self,
        response: InferResponse,
    ) -> Result<Encoded<ModelInferResponse>, InferError> {
        let id = std::mem::take(&mut self.id);
        convert::response(response, id, self.config.max_answer_bytes)
    }
}
