//! A request and its answer, free of any wire format.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tidegate_core::{Signature, Tensor, TraceContext};
use tidegate_gateway::{LimitStatus, Resource};

use crate::{
    CacheStatus, ErrorCode, MemoryReservation, Prediction, SequenceRequest, Timing, Version,
};

/// Longest id of a client's that is shown in its trace, in bytes.
const MAX_ID_BYTES: usize = 256;

/// The endpoint and version that a request is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Target {
    /// The endpoint. A model has one of its own name.
    pub endpoint: String,
    /// The version asked for, by number or alias; the endpoint's own choice if absent.
    pub version: Option<String>,
}

impl Resource for Target {
    fn name(&self) -> &str {
        &self.endpoint
    }
}

/// A decoded request.
#[derive(Clone, Debug, Default)]
pub struct InferRequest {
    /// Named inputs, in any order.
    pub inputs: Vec<(String, Tensor)>,
    /// The outputs wanted; all of them if empty.
    pub outputs: Vec<RequestedOutput>,
    /// The latest time at which the answer is of use.
    pub deadline: Option<Instant>,
    /// 1 is the most urgent, larger is less urgent, 0 is the model's default.
    pub priority: u64,
    /// Its place in a sequence, if it has one. In a box: most requests have none.
    pub sequence: Option<Box<SequenceRequest>>,
    /// Where its content is noted, if its endpoint is captured.
    pub prediction: Option<Arc<Prediction>>,
}

/// What a traced request carries for whoever shows its trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestTrace {
    /// The trace and the request's span in it.
    pub context: TraceContext,
    /// How the request came.
    pub via: Via,
    /// The client's id of the request.
    pub id: Option<Box<str>>,
    /// What the client passes on along the trace, as `baggage` had it.
    pub baggage: Option<Box<str>>,
    /// The nodes that it ran, if a graph has answered it.
    pub nodes: OnceLock<Box<[NodeRun]>>,
    /// Whether its spans may be sent from here; otherwise the trace is only passed on.
    pub is_kept_here: bool,
}

/// One node of a graph that was run for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRun {
    /// The node's name.
    pub node: Box<str>,
    /// The model that it runs.
    pub model: Arc<str>,
    /// The version that has run it.
    pub version: Arc<str>,
    /// When its inputs were there.
    pub began: Instant,
    /// From then until its outputs were.
    pub took: Duration,
    /// The rows that it ran on.
    pub rows: usize,
    /// Where the time went; zeros if it failed.
    pub timing: Timing,
    /// Why it failed, if it did.
    pub failed: Option<ErrorCode>,
}

impl RequestTrace {
    /// Notes the client's id of the request, or as much of it as is of use.
    pub fn set_id(&mut self, id: &str) {
        // A cut within a character would panic, and the id comes from the client.
        self.id = (!id.is_empty()).then(|| id[..id.floor_char_boundary(MAX_ID_BYTES)].into());
    }
}

/// The way that a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// REST of the Open Inference Protocol.
    Rest,
    /// REST of KServe v1.
    RestV1,
    /// REST, as records.
    RestRecords,
    /// gRPC, one request.
    Grpc,
    /// gRPC, one of a stream.
    GrpcStream,
}

/// An output that a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestedOutput {
    /// The output's name.
    pub name: String,
    /// If not 0: the highest that many values of the last axis as `value:index[:label]` strings.
    pub classes: usize,
}

/// The answer.
#[derive(Debug)]
pub struct InferResponse {
    /// The version that answered, or what did in its place.
    pub version: AnsweredBy,
    /// In the order asked for, or of the signature.
    pub outputs: Vec<OutputTensor>,
    /// Where the time went.
    pub timing: Timing,
    /// Whether the version had to be loaded first.
    pub cold_start: bool,
    /// What the outputs take of the memory budget.
    pub memory: MemoryReservation,
    /// What is left of the caller's limits, if there are any.
    pub limits: Option<Box<LimitStatus>>,
    /// Where the answer came from, if the endpoint is cached.
    pub cache: Option<CacheStatus>,
    /// Why the endpoint's own version did not answer, if another choice did.
    pub fallback: Option<Box<FallbackStatus>>,
    /// What labels name it by, if its endpoint is captured.
    pub prediction: Option<Arc<Prediction>>,
}

/// Whose answer it is.
#[derive(Clone, Debug)]
pub enum AnsweredBy {
    /// A version's.
    Version(Arc<Version>),
    /// That of the configuration, for an endpoint whose answers have this signature.
    Constant {
        /// The endpoint.
        endpoint: Arc<str>,
        /// Its inputs and outputs.
        signature: Arc<Signature>,
    },
    /// The steps after the model: the outputs are fields of the answer.
    Pipeline {
        /// Who gave the outputs of the model.
        by: Box<Self>,
        /// The fields.
        signature: Arc<Signature>,
    },
}

impl AnsweredBy {
    /// The model's name.
    pub fn model(&self) -> &str {
        match self {
            Self::Version(version) => version.model(),
            Self::Constant { endpoint, .. } => endpoint,
            Self::Pipeline { by, .. } => by.model(),
        }
    }

    /// The version's number, as text; `constant` where no version answered.
    pub fn number(&self) -> &str {
        match self {
            Self::Version(version) => version.number(),
            Self::Constant { .. } => "constant",
            Self::Pipeline { by, .. } => by.number(),
        }
    }

    /// The inputs and outputs.
    pub fn signature(&self) -> &Signature {
        match self {
            Self::Version(version) => version.signature(),
            Self::Constant { signature, .. } | Self::Pipeline { signature, .. } => signature,
        }
    }
}

/// An answer that did not come from an endpoint's own version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FallbackStatus {
    /// The choice that answered, such as `version:2`, `endpoint:small`, `cached` or `constant`.
    pub by: Arc<str>,
    /// Why the first choice did not.
    pub reason: ErrorCode,
}

/// A named output.
#[derive(Clone, Debug)]
pub struct OutputTensor {
    /// The place in the version's signature, whose name it has.
    pub index: usize,
    /// Its value.
    pub tensor: Tensor,
}
