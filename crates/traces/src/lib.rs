//! Traces of requests: deciding which are kept, making their spans, and sending these over OTLP.
//!
//! In: contexts of requests that arrive ([`Tracer::begin`]) and records of requests that ended
//! ([`Recorder::offer`]). Out: spans to an OpenTelemetry collector. This crate never delays a
//! request: whether its trace is kept is decided after it has been answered, and spans that do not
//! fit in the bounded queue are dropped and counted. It must not depend on the scheduler or on a
//! protocol of inference.
//!
//! ```
//! use std::time::{Duration, Instant, SystemTime};
//! use tidegate_traces::{Call, Exporter, FinishedRequest, KeepReason, RequestOutcome, TracesConfig};
//!
//! # let runtime = tokio::runtime::Runtime::new()?;
//! # runtime.block_on(async {
//! let config = TracesConfig {
//!     endpoint: Some("http://localhost:4317".to_owned()),
//!     sample: 1.0,
//!     ..TracesConfig::default()
//! };
//! let redactor = std::sync::Arc::default();
//! let (tracer, mut recorder, _exporter) =
//!     Exporter::start(&config, redactor, |_outcome, _spans| {})?;
//! let context = tracer.begin(None, None, config.sample);
//! let request = FinishedRequest {
//!     context: &context,
//!     call: Call::Http("/v2/models/{model}/infer"),
//!     id: None,
//!     baggage: None,
//!     version: None,
//!     outcome: RequestOutcome::Answered,
//!     received: SystemTime::now(),
//!     total: Duration::from_millis(3),
//!     encode: Duration::ZERO,
//!     rows: 1,
//!     fallback: None,
//!     stages: None,
//!     nodes: &[],
//! };
//! assert_eq!(recorder.offer(&request, Instant::now()), Some(KeepReason::Sampled));
//! # Ok::<(), tidegate_traces::TracesError>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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
pub use finished::{Call, FinishedRequest, NodeTimes, RequestOutcome, StageTimes};
pub use recorder::{KeepReason, Recorder};
pub use tracer::Tracer;
