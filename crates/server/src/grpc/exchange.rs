//! A request of the Open Inference Protocol over gRPC, alone or in a stream.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_core::Signature;
use tidegate_gateway::{Caller, Credentials, LimitStatus};
use tidegate_protocol::inference::{ModelInferRequest, ModelInferResponse};
use tidegate_serving::{
    CacheStatus, Encoded, ErrorCode, Exchange, InferError, InferResponse, MemoryReservation,
    Received, RequestTrace, Target, Version,
};
use tonic::metadata::MetadataMap;

use super::convert;
use crate::ServerConfig;
use crate::codec::run_codec;
use crate::features::Features;
use crate::front_end::FrontEnd;
use crate::named_fields::NamedFields;
use crate::shared_memory::{SharedMemory, SharedPart};
use crate::{cache_headers, limit_headers};

/// A message that answers a request, and what goes with it.
pub(super) struct GrpcAnswer {
    pub(super) message: ModelInferResponse,
    /// What the message takes of the memory budget until it was sent.
    pub(super) memory: MemoryReservation,
    /// What is left of the caller's limits, if there are any.
    limits: Option<Box<LimitStatus>>,
    /// Where the answer came from, if the endpoint has a cache.
    cache: Option<CacheStatus>,
}

impl GrpcAnswer {
    /// Adds what an answer over REST has in its header fields.
    pub(super) fn add_metadata(&self, metadata: &mut MetadataMap) {
        if self.limits.is_none() && self.cache.is_none() {
            return;
        }
        let mut headers = std::mem::take(metadata).into_headers();
        if let Some(limits) = &self.limits {
            limit_headers::insert(&mut headers, limits);
        }
        if let Some(cache) = self.cache {
            cache_headers::insert(&mut headers, cache);
        }
        *metadata = MetadataMap::from_headers(headers);
    }
}

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
    shared_memory: &'a Arc<SharedMemory>,
    features: &'a Features,
    /// For each requested output, where in shared memory it is wanted.
    shared_outputs: Vec<Option<SharedPart>>,
    /// Why it must not run, if it must not.
    refused: Option<Box<InferError>>,
    /// The inputs, if they are fields of a pipeline.
    fields: NamedFields,
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
            shared_memory: &front_end.shared_memory,
            features: &front_end.features,
            shared_outputs: Vec::new(),
            refused: None,
            fields: NamedFields::default(),
        }
    }

    /// The same, answered with an error.
    pub(super) fn refused(self, error: InferError) -> Self {
        Self {
            refused: Some(Box::new(error)),
            ..self
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
    type Answer = GrpcAnswer;

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
        if let Some(error) = self.refused.take() {
            return Err(*error);
        }
        let at = Instant::now();
        let message = std::mem::take(&mut self.message);
        let mut memory = std::mem::take(&mut self.memory);
        memory.grow(convert::request_bytes(&message), ErrorCode::BodyTooLarge)?;
        let convert::DecodedMessage {
            mut request,
            shared_inputs,
            shared_outputs,
            are_fields,
        } = convert::request(message, self.timeout, at)?;
        if !shared_inputs.is_empty() {
            let inputs = &mut request.inputs;
            // Boxed: other requests need not carry the place for it.
            Box::pin(
                self.shared_memory
                    .read_inputs(shared_inputs, inputs, &mut memory),
            )
            .await?;
        }
        self.shared_outputs = shared_outputs;
        self.fields = NamedFields::new(are_fields);
        Ok(Received {
            request,
            at,
            memory,
        })
    }

    fn take_trace(&mut self) -> Option<Box<RequestTrace>> {
        self.trace.take()
    }

    async fn decode_inputs(
        &mut self,
        received: &mut Received,
        _signature: &Signature,
        version: Option<&Arc<Version>>,
    ) -> Result<(), InferError> {
        if self.fields.are_tensors(version) {
            return Ok(());
        }
        // Boxed: requests of tensors need not carry the place for it.
        Box::pin(self.fields.before(received, version, self.features)).await
    }

    fn max_answer_bytes(&self) -> usize {
        self.config.max_answer_bytes
    }

    async fn encode(
        &mut self,
        mut response: InferResponse,
    ) -> Result<Encoded<Self::Answer>, InferError> {
        if self.fields.have_run() {
            response = Box::pin(self.fields.after(response)).await?;
        }
        let mut memory = std::mem::take(&mut response.memory);
        let (limits, cache) = (response.limits.take(), response.cache);
        // The transport copies the message into a buffer of its own.
        memory.grow(memory.bytes(), ErrorCode::AnswerTooLarge)?;
        let id = std::mem::take(&mut self.id);
        let shared = match self.shared_outputs.iter().any(Option::is_some) {
            false => Vec::new(),
            true => {
                let regions = self.shared_memory.clone();
                let wanted = std::mem::take(&mut self.shared_outputs);
                let writing = run_codec(&mut memory, move || {
                    let written = regions.write_outputs(&wanted, &response)?;
                    Ok::<_, InferError>((response, written))
                });
                let written;
                (response, written) = writing.await??;
                written
            }
        };
        let max_bytes = self.config.max_answer_bytes;
        let encoded = convert::response(response, id, &shared, max_bytes)?;
        Ok(Encoded {
            answer: GrpcAnswer {
                message: encoded.answer,
                memory,
                limits,
                cache,
            },
            bytes: encoded.bytes,
        })
    }
}
