//! A request of the Open Inference Protocol over gRPC, alone or in a stream.

use std::time::{Duration, Instant};

use tidegate_gateway::{Caller, Credentials};
use tidegate_protocol::inference::{ModelInferRequest, ModelInferResponse};
use tidegate_serving::{
    Encoded, ErrorCode, Exchange, InferError, InferResponse, MemoryReservation, Received,
    RequestTrace, Target,
};

use super::convert;
use crate::ServerConfig;
use crate::front_end::FrontEnd;

/// One message and its answer.
pub(super) struct GrpcExchange<'a> {
    config: &'a ServerConfig,
    /// What the message takes, until it is received.
    memory: MemoryReservation,
    credentials: Credentials<'a>,
    /// Who sends it, where that was found out before the message was read.
    caller: Option<&'a Caller>,
    message: ModelInferRequest,
    /// How long the client waits, by its `grpc-timeout`.
    timeout: Option<Duration>,
    /// The client's id of the request, which its answer repeats.
    id: String,
    trace: Option<Box<RequestTrace>>,
}

impl<'a> GrpcExchange<'a> {
    /// A message that has arrived with these credentials; for those of a stream, the stream's.
    pub(super) fn new(
        front_end: &'a FrontEnd,
        credentials: Credentials<'a>,
        mut message: ModelInferRequest,
        mut trace: Option<Box<RequestTrace>>,
        memory: MemoryReservation,
    ) -> Self {
        let id = std::mem::take(&mut message.id);
        if let Some(trace) = &mut trace {
            trace.set_id(&id);
        }
        Self {
            config: &front_end.config,
            memory,
            credentials,
            caller: None,
            message,
            timeout: None,
            id,
            trace,
        }
    }

    /// The same from this caller. The requests of a stream are checked one by one: credentials may
    /// end while it is open.
    pub(super) fn with_caller(self, caller: Option<&'a Caller>) -> Self {
        Self { caller, ..self }
    }

    /// The same with the client's timeout. The timeout of a stream is that of the whole stream.
    pub(super) fn with_timeout(self, timeout: Option<Duration>) -> Self {
        Self { timeout, ..self }
    }
}

impl Exchange for GrpcExchange<'_> {
    /// The message, and what it takes of the memory budget until it was sent.
    type Answer = (ModelInferResponse, MemoryReservation);

    fn credentials(&self) -> Credentials<'_> {
        self.credentials.checked(self.caller)
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
        let mut memory = std::mem::take(&mut self.memory);
        memory.grow(convert::request_bytes(&message), ErrorCode::BodyTooLarge)?;
        let request = convert::request(message, self.timeout, at)?;
        Ok(Received {
            request,
            at,
            memory,
        })
    }

    fn take_trace(&mut self) -> Option<Box<RequestTrace>> {
        self.trace.take()
    }

    fn max_answer_bytes(&self) -> usize {
        self.config.max_answer_bytes
    }

    async fn encode(
        &mut self,
        mut response: InferResponse,
    ) -> Result<Encoded<Self::Answer>, InferError> {
        let mut memory = std::mem::take(&mut response.memory);
        // The transport copies the message into a buffer of its own.
        memory.grow(memory.bytes(), ErrorCode::AnswerTooLarge)?;
        let id = std::mem::take(&mut self.id);
        let Encoded { answer, bytes } =
            convert::response(response, id, self.config.max_answer_bytes)?;
        Ok(Encoded {
            answer: (answer, memory),
            bytes,
        })
    }
}
