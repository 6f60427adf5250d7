//! The server: its front ends, REST and gRPC, and the components that observe what is served, such
//! as objectives, alerting, cost, traces and the console. `components.rs` lists them.
//!
//! **In**: bytes from clients, and the configuration of each component. **Out**: answers in the
//! protocol that the client speaks, metrics, messages about alerts. Each front end decodes the wire
//! into a [`tidegate_serving::InferRequest`], has [`tidegate_serving::Serving`] answer it, and
//! encodes the answer. Nothing here knows how a model runs.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use tidegate_core::EngineChoice;
//! use tidegate_engines::{Engines, ONNX_RUNTIME};
//! use tidegate_server::{Server, ServerComponents, ServerConfig};
//! use tidegate_serving::{MetricRegistry, Models, Serving};
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let engines = Engines::discover(None, EngineChoice::from(ONNX_RUNTIME));
//! let registry = Arc::new(MetricRegistry::new());
//! let models = Models::new(vec!["models".into()], engines, &registry);
//! let serving = Arc::new(Serving::new(models));
//! let components = ServerComponents::minimal(ServerConfig::default(), serving, registry)?;
//! let server = Server::start(components).await?;
//! let report = server.load_all().await;
//! println!("{:?} at http://{}", report.ready, server.http());
//! server.stop().await;
//! # Ok(())
//! # }
//! ```

mod access_control;
mod alerting;
mod allocator;
mod audit;
mod blocking;
mod body_buffer;
mod breakers;
mod cache_headers;
mod cache_metrics;
mod clock;
mod codec;
mod component;
mod components;
mod compression;
mod config;
mod console;
mod cost;
mod data_folder;
mod datasets;
mod describe;
mod events;
mod experiments;
mod exposition;
mod fallback_headers;
mod features;
mod followed_content;
mod front_end;
#[doc(hidden)]
pub mod fuzzing;
mod gateway_headers;
mod gpu;
mod group_notes;
mod grpc;
mod history;
mod hosts;
mod json;
mod lifecycle;
mod limit_headers;
mod limits;
mod listen;
mod listen_address;
mod log_settings;
mod named_fields;
mod objectives;
mod origin;
mod parameters;
mod persisted_state;
mod platform;
mod policies;
mod quality;
mod readiness;
mod redis;
mod remote;
mod replicas;
mod repository_poll;
mod request_memory;
mod rest;
mod retraining;
mod rollouts;
mod routes;
mod sequences;
mod server;
mod serving_monitor;
mod shared_memory;
mod traces;
mod traffic;
mod upload_timer;
mod workers;

pub use access_control::ListedKey;
pub use alerting::{
    AlertsConfig, AlertsError, PagerDutyConfig, RouteConfig, SlackConfig, SmtpConfig, WebhookConfig,
};
pub use allocator::{AllocatorUsage, ReadAllocator};
pub use audit::AuditPage;
pub use components::{
    ComponentsError, ServerComponents, ServerEnvironment, ServerSections, answer_cache, gateway,
};
pub use config::ServerConfig;
pub use console::ConsoleConfig;
pub use datasets::DatasetsConfig;
pub use gpu::GpuConfig;
pub use listen::{ClientAuth, TlsConfig, TlsError, TlsVersion};
pub use listen_address::listen_address;
pub use log_settings::{LogControl, LogLevels};
pub use platform::{Contract, PlatformConfig, PlatformError, PlatformProtocol};
pub use quality::{CaptureConfig, CaptureConfigError, CapturedEndpoint};
pub use replicas::{ReplicasConfig, ReplicasError};
pub use request_memory::GiveBackMemory;
pub use rest::openapi;
pub use retraining::{RetrainConfig, RetrainConfigError, TriggerAnswer};
pub use rollouts::RolloutsConfig;
pub use server::{Server, StopCause};
pub(crate) use traces::Traces;
pub use traffic::TrafficConfigError;
