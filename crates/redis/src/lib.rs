//! The state that servers share through Redis: rates, and kept answers.
//!
//! In: tokens of rates that are asked for, and answers to keep. Out: what Redis has given, or
//! [`RedisAway`] at once if it cannot be reached. Nothing that is stored here must be lost for good:
//! Redis may lose everything at any time. No request waits for Redis longer than the time-out of a
//! command, and while Redis is away none waits at all. This crate knows neither limits nor models.
//!
//! ```
//! use tidegate_redis::{RedisClient, RedisConfig};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # let _guard = runtime.enter();
//! let config = RedisConfig { url: "redis://127.0.0.1:1".into(), ..RedisConfig::default() };
//! let redis = RedisClient::start(&config)?.expect("there is an address");
//! assert!(!redis.is_connected());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answers;
mod client;
mod config;
mod connect;
mod keeper;
mod rates;
mod seal;
mod stats;

pub use answers::{AnswerStats, SharedAnswer, SharedAnswers, SharedAnswersError, StoredAnswer};
pub use client::{RedisAway, RedisClient};
pub use config::{RedisConfig, RedisConfigError};
pub use connect::{RedisConnector, redis_problem};
pub use keeper::RedisChange;
pub use rates::{Lease, LeaseRequest, Leases};
pub use stats::{CommandOutcome, RedisCommand, RedisStats};

#[cfg(test)]
extern crate self as tidegate_redis;
#[cfg(test)]
mod testing;
