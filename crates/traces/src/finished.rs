//! A request that ended, as traces see it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tidegate_core::TraceContext;

/// One finished request.
#[derive(Clone, Copy, Debug)]
pub struct FinishedRequest<'a> {
    /// Its place in its trace.
    pub context: &'a TraceContext,
    /// The route or method that was called.
    pub call: Call,
    /// The client's id of the request.
    pub id: Option<&'a str>,
    /// The client's `baggage` header.
    pub baggage: Option<&'a str>,
    /// The model and version that it reached.
    pub version: Option<(&'a Arc<str>, &'a Arc<str>)>,
    /// How it ended.
    pub outcome: RequestOutcome,
    /// When its last byte had arrived.
    pub received: SystemTime,
    /// From then until it was answered, or refused.
    pub total: Duration,
    /// From then until its answer was encoded; 0 if that is not known.
    pub encode: Duration,
    /// Rows answered.
    pub rows: usize,
    /// What answered in place of the endpoint's own version, if that did not.
    pub fallback: Option<&'a str>,
    /// The time of each stage, if it was answered.
    pub stages: Option<StageTimes>,
    /// The nodes that it ran, if a graph of models has answered it.
    pub nodes: &'a [NodeTimes<'a>],
}

/// One model that ran for a request of a graph of models.
#[derive(Clone, Copy, Debug)]
pub struct NodeTimes<'a> {
    /// The name of the node.
    pub node: &'a str,
    /// The model and version that have run it.
    pub version: (&'a Arc<str>, &'a Arc<str>),
    /// When its inputs were there.
    pub began: SystemTime,
    /// From then until its outputs were.
    pub took: Duration,
    /// Of this, the time that it waited for an instance.
    pub queue: Duration,
    /// Of this, the time in the engine.
    pub infer: Duration,
    /// The rows that it ran on.
    pub rows: usize,
    /// The rows of its batch, those of other requests included.
    pub batch_rows: usize,
    /// The kind of failure, if it failed.
    pub failed: Option<&'static str>,
}

/// What a client called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `POST` of a route.
    Http(&'static str),
    /// A method of the gRPC service.
    Grpc(&'static str),
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestOutcome {
    /// It was answered.
    Answered,
    /// Its client went away.
    Abandoned,
    /// It failed or was refused.
    Failed {
        /// The stable kind of failure.
        code: &'static str,
        /// Whether it was a fault of the server.
        is_fault: bool,
        /// The status of the HTTP answer.
        http_status: u16,
        /// The status of the gRPC answer.
        grpc_status: i32,
    },
}

/// The time of each stage of an answered request, up to the end of its batch. The response was
/// encoded after that.
#[derive(Clone, Copy, Debug, Default)]
pub struct StageTimes {
    /// From its last byte until it asked for an instance: decoding, checking, placing.
    pub prepare: Duration,
    /// Waiting for an instance.
    pub queue: Duration,
    /// Joining the inputs of its batch.
    pub join: Duration,
    /// In the engine.
    pub infer: Duration,
    /// Splitting the outputs of its batch.
    pub split: Duration,
    /// The number of its batch among those of the version.
    pub batch: u64,
    /// Rows of the batch.
    pub batch_rows: usize,
}
