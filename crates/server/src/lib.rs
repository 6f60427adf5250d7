//! The front ends: REST, gRPC, metrics and health.
//!
//! In: bytes from clients. Out: answers in the protocol that the client speaks. Each front end
//! decodes the wire into an [`tidegate_serving::InferRequest`], awaits
//! [`tidegate_serving::Serving::infer`] and encodes what comes back; nothing here knows how a model
//! runs.

mod alerting;
mod allocator;
mod blocking;
mod clock;
mod component;
mod components;
mod compression;
mod config;
mod console;
mod cost;
mod data_folder;
mod describe;
mod events;
mod exposition;
mod front_end;
#[doc(hidden)]
pub mod fuzzing;
mod gpu;
mod group_notes;
mod grpc;
mod handshake_timeout;
mod history;
mod json;
mod lifecycle;
mod limits;
mod listen;
mod listen_address;
mod objectives;
mod origin;
mod parameters;
mod persisted_state;
mod readiness;
mod replicas;
mod rest;
mod routes;
mod server;
mod serving_monitor;
mod traces;
mod workers;

pub use alerting::{
    AlertsConfig, AlertsError, PagerDutyConfig, RouteConfig, Secret, SlackConfig, SmtpConfig,
    WebhookConfig,
};
pub use allocator::{AllocatorUsage, ReadAllocator};
pub use components::{ComponentsError, ServerComponents, ServerEnvironment, ServerSections};
pub use config::ServerConfig;
pub use console::ConsoleConfig;
pub use gpu::GpuConfig;
pub use listen_address::listen_address;
pub use replicas::{ReplicasConfig, ReplicasError};
pub use rest::openapi;
pub use server::{Server, StopCause};
pub(crate) use traces::Traces;
