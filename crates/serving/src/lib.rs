//! The way of a request: from decoded tensors to answered tensors.
//!
//! In: [`InferRequest`]s from the front ends, and paths of models to serve. Out: [`InferResponse`]s
//! or an [`InferError`] with a stable code, and the figures of what happened. This room knows no
//! wire format.
//!
//! Begin at [`Serving::infer`]: it reads top to bottom like a request goes.

mod check;
mod ending;
mod error;
mod fleet;
mod memory;
mod metrics;
mod models;
mod observation;
mod request;
mod request_sample;
mod sample;
mod scheduler;
mod serving;
mod source;
mod stats;
mod version;
mod warmup;

pub use check::{CheckCase, CheckOutcome, CheckReport, check};
pub use error::{ErrorCode, InferError};
pub use fleet::{
    Fleet, FleetConfig, FrozenModels, ModelRule, RegistryLink, VersionNames, VersionPolicy,
};
pub use metrics::{
    Exemplar, Exposition, Family, Labels, MeterReading, MetricEntry, MetricKind, Metrics, Sample,
    SeriesValue, SeriesValues, TextExposition, TextForm, VersionMeter, memory_limit_bytes,
};
pub use models::{IndexEntry, LoadReport, Model, ModelState, Models};
pub use observation::{Observation, Observations, Outcome};
pub use request::{InferRequest, InferResponse, OutputTensor, RequestTrace, RequestedOutput, Via};
pub use request_sample::RequestSample;
pub use scheduler::{Completed, Limits, Scheduler, Timing, Work};
pub use serving::Serving;
pub use source::{SourceError, parse_manifest, scan};
pub use stats::{BatchFigures, DurationFigures, VersionFigures};
pub use version::{Version, VersionPlan};
