//! Traces of requests: which of them are kept, what spans they make, and sending these over OTLP.
//!
//! In: contexts of requests that arrive ([`Tracer::begin`]) and records of requests that ended
//! ([`Recorder::offer`]). Out: spans to an OpenTelemetry collector. This room never sits on the way
//! of a request: what is kept is decided when the request has been answered, and what finds no
//! place in the bounded queue is dropped and counted. It knows neither the scheduler nor any wire
//! of inference.

mod batches;
mod config;
mod exporter;
mod finished;
mod recorder;
mod slowest;
mod spans;
mod tracer;

pub use config::{OtlpProtocol, TracesConfig};
pub use exporter::{Exporter, SpanOutcome, TracesError};
pub use finished::{Call, FinishedRequest, RequestOutcome, StageTimes};
pub use recorder::{KeepReason, Recorder};
pub use tracer::Tracer;
