//! The interface between the pipeline and a front end.

use std::sync::Arc;
use std::time::Instant;

use tidegate_core::Signature;
use tidegate_gateway::Credentials;

use crate::{
    InferError, InferRequest, InferResponse, MemoryReservation, RequestTrace, Target, Version,
};

/// One request and its answer, as a front end has them on the wire.
///
/// The pipeline is generic over it, so each front end gets a pipeline of its own from the compiler,
/// without a boxed call. The methods are called in this order, each once; [`Exchange::decode_inputs`]
/// again where another version follows one that has failed.
pub trait Exchange {
    /// The encoded answer.
    type Answer;

    /// What the request presents to show who sends it.
    fn credentials(&self) -> Credentials<'_>;

    /// The target. Known before the body is read.
    fn take_target(&mut self) -> Target;

    /// Reads the body and decodes as much as can be understood without the model's signature.
    ///
    /// # Errors
    /// What is wrong with the body or the headers.
    fn receive(&mut self) -> impl Future<Output = Result<Received, InferError>> + Send;

    /// The request's place in a trace; after [`Exchange::receive`] with the client's id in it.
    fn take_trace(&mut self) -> Option<Box<RequestTrace>>;

    /// Decodes inputs that say what they are only beside the version: KServe v1's instances have
    /// neither names nor types, and records go through the version's own pipeline. Called for each
    /// choice of an endpoint with fallbacks; for one that is no version, with the version that it answers
    /// for, which is `None` if it is not loaded. What is decoded for this version stays as it is.
    ///
    /// # Errors
    /// What does not fit the signature.
    fn decode_inputs(
        &mut self,
        _received: &mut Received,
        _signature: &Signature,
        _version: Option<&Arc<Version>>,
    ) -> impl Future<Output = Result<(), InferError>> + Send {
        std::future::ready(Ok(()))
    }

    /// Most bytes that the tensors of the answer may take.
    fn max_answer_bytes(&self) -> usize {
        usize::MAX
    }

    /// Encodes the answer. The memory that it takes is reserved, in the response's reservation,
    /// before it is taken, and until it was sent.
    ///
    /// # Errors
    /// If the wire form cannot carry it; the request then counts as failed.
    fn encode(
        &mut self,
        response: InferResponse,
    ) -> impl Future<Output = Result<Encoded<Self::Answer>, InferError>> + Send;
}

/// A request that has arrived.
#[derive(Debug)]
pub struct Received {
    /// The request.
    pub request: InferRequest,
    /// When its last byte arrived.
    pub at: Instant,
    /// What its body and its inputs take of the memory budget.
    pub memory: MemoryReservation,
}

/// An answer in its wire form.
#[derive(Debug)]
pub struct Encoded<A> {
    /// The answer.
    pub answer: A,
    /// The bytes of its body.
    pub bytes: usize,
}
