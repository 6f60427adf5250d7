//! The response cache: answers that were given before, by everything that they depend on.
//!
//! It knows neither models nor answers: a [`CacheKey`] is a hash, and the value is the caller's. An
//! entry is fresh for a while, then stale for a while, and then gone. Equal requests that come while
//! the first is being answered wait for it. Errors are never kept. Servers can share answers in Redis: the
//! first of several equal requests looks there before the answer is computed.

mod config;
mod control;
mod key;
mod response_cache;
mod shared;

pub use config::{CacheConfig, CacheError, EndpointCacheConfig};
pub use control::CacheControl;
pub use key::{CacheKey, CacheKeyHasher, CacheKeys};
pub use response_cache::{CacheOutcome, CachePolicy, CacheStats, Cached, Refresh, ResponseCache};
pub use shared::AnswerCodec;
