//! The request pipeline: from decoded tensors to answered tensors.
//!
//! In: [`Exchange`]s from the front ends, and paths of models to serve. Out: [`InferResponse`]s or
//! an [`InferError`] with a stable code, and one [`Observation`] of each request. This crate must
//! never depend on a wire format, a port, or anything that runs beside the requests.
//!
//! Begin at [`Serving::answer`]: it reads top to bottom as a request passes through it.
//!
//! ```
//! use tidegate_core::{EngineChoice, Shape, Tensor};
//! use tidegate_engines::Engines;
//! use tidegate_serving::{InProcess, InferRequest, MetricRegistry, Models, Serving, Target};
//!
//! # let digits = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/models/digits");
//! let registry = MetricRegistry::new();
//! let engines = Engines::discover(None, EngineChoice::from("portable"));
//! let models = Models::new(vec![digits.into()], engines, &registry);
//! let serving = Serving::new(models);
//! serving.models().load_all();
//!
//! let target = Target { endpoint: "digits".to_owned(), version: None };
//! let image = Tensor::from_vec(Shape::new(&[1, 64])?, vec![0f32; 64])?;
//! let request = InferRequest {
//!     inputs: vec![("image".to_owned(), image)],
//!     ..InferRequest::default()
//! };
//! let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! let response = runtime.block_on(serving.answer(InProcess::new(target, request)))?;
//! assert_eq!(response.version.model(), "digits");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod capture;
mod check;
mod clock;
mod endpoints;
mod error;
mod fleet;
mod load_trials;
mod memory;
mod memory_budget;
mod metrics;
mod models;
mod observation;
mod pipeline;
mod process;
mod repository_poll;
mod request;
mod request_metrics;
mod request_sample;
mod sample;
mod scheduler;
mod sequences;
mod serving;
mod source;
mod stats;
mod traffic;
mod version;
mod version_counters;
mod version_finder;
mod warmup;

pub use capture::{
    Capture, ExposedUser, Prediction, PredictionContent, RequestFields, is_captured, prediction_ms,
};
pub use check::{CheckCase, CheckOutcome, CheckReport, check};
pub use endpoints::{
    BreakerEvent, Breakers, ConfiguredName, EndpointConfig, EndpointError, FallbackConfig,
    Fallbacks,
};
pub use error::{ErrorCode, InferError};
pub use fleet::{
    Fleet, FleetConfig, FleetMetrics, FrozenModels, ModelRule, RegistryLink, VersionNames,
    VersionPolicy,
};
pub use load_trials::{
    CHILD_COMMAND, LoadMarker, LoadTrials, TrialSettings, check_in_child, run_child,
};
pub use memory_budget::{MemoryBudget, MemoryReservation, MemoryShare};
pub use metrics::{
    Exemplar, Exposition, Family, Labels, MetricEntry, MetricKind, MetricRegistry, MetricSource,
    Sample, SeriesValue, SeriesValues, TextExposition, TextForm,
};
pub use models::{IndexEntry, LoadReport, Model, ModelState, Models};
pub use observation::{Observation, Observations, Outcome};
pub use pipeline::{
    ANSWER_CODEC, AnswerCache, CacheStatus, Encoded, Exchange, Executed, InProcess, Received,
    earlier,
};
pub use process::{ProcessMetrics, memory_limit_bytes};
pub use repository_poll::RepositoryPoll;
pub use request::{
    AnsweredBy, FallbackStatus, InferRequest, InferResponse, NodeRun, OutputTensor, RequestTrace,
    RequestedOutput, Target, Via,
};
pub use request_metrics::{MeterReading, RequestMetrics, VersionMeter};
pub use request_sample::RequestSample;
pub use scheduler::{BatchContract, Completed, Limits, Scheduler, Timing, Work};
pub use sequences::{SequenceId, SequenceRequest};
pub use serving::Serving;
pub use source::{
    GivenModel, SourceError, conversion_hint, declared_by_triton, parse_manifest, scan,
};
pub use stats::{BatchFigures, DurationFigures, VersionFigures};
pub use traffic::{
    CascadeCounts, EndpointTraffic, OutputValue, OutputWatch, RequiredVersions, RunningCascade,
    ShadowReport, TrafficError, TrafficTable, WatchedOutput, WatchedVersion, WorstDisagreement,
    named_versions,
};
pub use version::{Version, VersionPlan, compile_graph, compile_pipeline};
