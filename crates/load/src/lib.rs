//! The load generator: sends requests to a server of models in a rhythm that is decided beforehand,
//! and says how they fared.
//!
//! In: a [`Plan`]: a [`Target`], a [`Mix`] of requests rendered beforehand, and a [`Pattern`]. Out:
//! a [`Run`] for every part of it, gathered in a [`Report`]. This crate knows the protocol's
//! messages and tensors, and nothing of engines, serving or configuration: it measures any server
//! that speaks the protocol, or takes any bytes.

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
