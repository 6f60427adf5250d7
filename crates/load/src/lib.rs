//! The load generator: sends requests to an inference server at times that are fixed beforehand, and
//! reports latency, throughput and errors.
//!
//! In: a [`Plan`], which has a [`Target`], a [`Mix`] of requests rendered beforehand, and a
//! [`Pattern`]. Out: a [`Run`] for every part of it, collected in a [`Report`]. This crate knows the
//! messages and tensors of the protocol. It must not depend on engines, serving or configuration: it
//! measures any server that speaks the protocol, or any HTTP server with raw bytes.
//!
//! ```no_run
//! use std::sync::atomic::AtomicBool;
//! use std::time::Duration;
//! use tidegate_load::{Mix, Pattern, Payload, Plan, Protocol, Report, Target, run};
//!
//! let target = Target::new(Protocol::RestJson, "http://127.0.0.1:8000", &[])?;
//! let request = Payload::raw(&target, "/v2/health/ready", None);
//! let plan = Plan {
//!     mix: Mix::default().with("health", 1.0, vec![request]),
//!     target,
//!     pattern: Pattern::Closed { concurrency: 8 },
//!     duration: Some(Duration::from_secs(10)),
//!     requests: None,
//!     warmup: Duration::ZERO,
//!     timeout: Duration::from_secs(1),
//!     deadline: None,
//!     threads: 1,
//!     connections: 1,
//!     max_outstanding: 4096,
//!     seed: 1,
//! };
//! let mut report = Report::new(&plan, "health checks");
//! report.runs = run(&plan, &AtomicBool::new(false), &mut |_progress| {})?;
//! println!("{}", report.to_text());
//! # Ok::<(), tidegate_load::LoadError>(())
//! ```

mod client;
mod error;
mod failure;
mod grpc;
mod http;
mod inputs;
mod mix;
mod pace;
mod payload;
mod plan;
mod record;
mod report;
mod run;
mod schedule;
mod search;
mod sender;
mod slo;
mod target;

pub use error::LoadError;
pub use failure::FailureKind;
pub use inputs::{Inputs, cut, generate};
pub use mix::Mix;
pub use payload::Payload;
pub use plan::{Pattern, Plan};
pub use report::{FailureCount, Generator, Latency, ModelCount, Point, Quantile, Report, Run};
pub use run::{Progress, run};
pub use schedule::{Arrival, Arrivals, replay};
pub use search::highest;
pub use slo::{Breach, Objective, objectives};
pub use target::{Protocol, Target};
