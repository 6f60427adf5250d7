//! The configuration of the connection to Redis.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tidegate_redaction::Secret;

/// The `[redis]` section of `tidegate.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RedisConfig {
    /// The server: `redis://user:password@host:6379/0`, `rediss://…` with TLS, or `unix:///path`.
    /// Without it, nothing is shared.
    pub url: Secret,
    /// The file with the password, instead of a password in the address. It is read at each
    /// connection.
    pub password_file: Option<PathBuf>,
    /// The file with the certificates (PEM) that the server's must be signed by; by default those of
    /// the system.
    pub ca_file: Option<PathBuf>,
    /// What the names of all keys begin with. Servers share what they have under the same prefix.
    pub key_prefix: String,
    /// The longest that a request waits for an answer of Redis, in milliseconds.
    pub command_timeout_ms: u64,
    /// The longest that a connection may take to open, in milliseconds.
    pub connect_timeout_ms: u64,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            url: Secret::default(),
            password_file: None,
            ca_file: None,
            key_prefix: "tidegate".to_owned(),
            command_timeout_ms: 100,
            connect_timeout_ms: 1000,
        }
    }
}

const TIMEOUT_MS: std::ops::RangeInclusive<u64> = 1..=10_000;
const MAX_PREFIX_BYTES: usize = 64;

impl RedisConfig {
    /// Whether there is a Redis.
    pub fn is_configured(&self) -> bool {
        !self.url.is_empty()
    }

    pub(crate) fn command_timeout(&self) -> Duration {
        Duration::from_millis(self.command_timeout_ms)
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(crate) fn check(&self) -> Result<(), RedisConfigError> {
        let timeouts = [
            ("command_timeout_ms", self.command_timeout_ms),
            ("connect_timeout_ms", self.connect_timeout_ms),
        ];
        for (key, timeout_ms) in timeouts {
            if !TIMEOUT_MS.contains(&timeout_ms) {
                return Err(RedisConfigError::Timeout(key));
            }
        }
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:{}".contains(&byte);
        let prefix = &self.key_prefix;
        if !(1..=MAX_PREFIX_BYTES).contains(&prefix.len()) || !prefix.bytes().all(is_name) {
            return Err(RedisConfigError::Prefix);
        }
        Ok(())
    }
}

/// A configuration of Redis that is not valid. No message shows the address: it may have a
/// password.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum RedisConfigError {
    #[error("redis.url must be redis://HOST:PORT, rediss://HOST:PORT or unix:///PATH: {0}")]
    Url(String),
    #[error("redis.{0} must be from 1 to 10000")]
    Timeout(&'static str),
    #[error("redis.key_prefix must be 1 to 64 letters, digits and the signs - _ . : {{ }}")]
    Prefix,
    #[error("redis.ca_file: {0}")]
    CaFile(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let usual = RedisConfig::default();
        assert_eq!(usual.check(), Ok(()));
        for timeout_ms in [0, 10_001] {
            let config = RedisConfig {
                command_timeout_ms: timeout_ms,
                ..usual.clone()
            };
            let refused = RedisConfigError::Timeout("command_timeout_ms");
            assert_eq!(config.check(), Err(refused));
        }
        for prefix in ["", "a b", "a\n"] {
            let config = RedisConfig {
                key_prefix: prefix.to_owned(),
                ..usual.clone()
            };
            assert_eq!(config.check(), Err(RedisConfigError::Prefix));
        }
    }
}
