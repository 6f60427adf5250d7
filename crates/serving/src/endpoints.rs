//! What is configured for single endpoints: when their versions get no requests, and what answers then.

mod breaker;
mod chain;
mod compatible;
mod config;
mod configured_name;
mod constant;

pub use self::breaker::{BreakerEvent, Breakers};
pub(crate) use self::breaker::{Sample, VersionBreaker, is_failed_run};
pub use self::chain::Fallbacks;
pub(crate) use self::chain::{Chain, Choice, FallbackMetrics};
pub(crate) use self::compatible::difference;
pub use self::config::{EndpointConfig, EndpointError, FallbackConfig};
pub use self::configured_name::ConfiguredName;
pub(crate) use self::constant::Constant;
