//! The configuration of the response cache.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tidegate_redaction::Secret;

/// The `[cache]` section of `tidegate.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CacheConfig {
    /// Memory that all cached answers may take together, in bytes.
    pub max_bytes: u64,
    /// Whether a model may ask for a cache itself: `response_cache` of its `config.pbtxt`.
    pub models_may_ask: bool,
    /// Whether servers share answers in Redis.
    pub redis: bool,
    /// The secret that answers in Redis are encrypted with, the same on all servers; at least 32
    /// characters.
    pub redis_secret: Secret,
    /// The file with that secret.
    pub redis_secret_file: Option<PathBuf>,
    /// The largest answer that is kept in Redis, in bytes.
    pub redis_max_answer_bytes: u64,
    /// The endpoints whose answers are cached, each in a section `[[cache.endpoint]]`.
    pub endpoint: Vec<EndpointCacheConfig>,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            max_bytes: 128 << 20,
            models_may_ask: true,
            redis: false,
            redis_secret: Secret::default(),
            redis_secret_file: None,
            redis_max_answer_bytes: 1 << 20,
            endpoint: Vec::new(),
        }
    }
}

/// How the answers of an endpoint are cached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EndpointCacheConfig {
    /// The endpoint; `*` for all that are not named.
    pub name: String,
    /// How long an answer is fresh, in milliseconds.
    pub ttl_ms: u64,
    /// How long after that it may still be given, while a new one is computed, in milliseconds.
    pub stale_while_revalidate_ms: u64,
    /// Whether tenants share answers. The time of an answer then tells a tenant whether another has
    /// asked the same before.
    pub shared_between_tenants: bool,
}

impl Default for EndpointCacheConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            ttl_ms: 60_000,
            stale_while_revalidate_ms: 0,
            shared_between_tenants: false,
        }
    }
}

/// A configuration of the cache that is not valid.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum CacheError {
    #[error("cache.endpoint needs a name, or \"*\" for all endpoints")]
    NoName,
    #[error("cache.endpoint {0:?} is there twice")]
    Duplicate(String),
    #[error("cache.endpoint {0:?}: ttl_ms must be from 1 to 2592000000 (30 days)")]
    Ttl(String),
    #[error("cache.max_bytes must be at least 1048576")]
    TooSmall,
    #[error("cache.redis needs redis.url")]
    NoRedis,
    #[error("cache.redis: {0}")]
    Secret(String),
    #[error("cache.redis_max_answer_bytes must be from 1 to 67108864")]
    AnswerSize,
}
