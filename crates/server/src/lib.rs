//! The front ends: REST, gRPC, metrics and health.
//!
//! In: bytes from clients. Out: answers in the protocol that the client speaks. Each front end
//! decodes the wire into an [`tidegate_serving::InferRequest`], awaits
//! [`tidegate_serving::Serving::infer`] and encodes what comes back; nothing here knows how a model
//! runs.

mod alerting;
mod allocator;
mod app;
mod clock;
mod compression;
mod config;
mod console;
mod cost;
mod describe;
mod disk;
mod exposition;
mod faults;
#[doc(hidden)]
pub mod fuzzing;
mod gpu;
mod greeted;
mod grpc;
mod history;
mod json;
mod kept;
mod limits;
mod listen;
mod listen_address;
mod objectives;
mod origin;
mod parameters;
mod readiness;
mod replicas;
mod rest;
mod routes;
mod server;
mod traces;
mod wishes;
mod workers;

pub use alerting::{
    Alerting, AlertsConfig, AlertsError, PagerDutyConfig, RouteConfig, Secret, SlackConfig,
    SmtpConfig, WebhookConfig,
};
pub use allocator::{AllocatorMetrics, AllocatorUsage, ReadAllocator};
pub use config::ServerConfig;
pub use console::{ConsoleConfig, ConsoleMetrics};
pub use cost::Costs;
pub use disk::DiskMetrics;
pub use gpu::{GpuConfig, Gpus};
pub use history::History;
pub use listen::ConnectionMetrics;
pub use listen_address::listen_address;
pub use objectives::Objectives;
pub use readiness::ReadinessMetrics;
pub use replicas::{Replicas, ReplicasConfig, ReplicasError};
pub use rest::openapi;
pub use server::{Observers, Server, StopCause};
pub use traces::Traces;
