//! The section `[features]` of the configuration.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tidegate_redaction::Secret;

/// The `[features]` section of `tidegate.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeaturesConfig {
    /// The most entities that one request may look up, each counted once.
    pub max_entities: usize,
    /// Longer values are not used, in bytes.
    pub max_value_bytes: usize,
    /// The most lookups that wait for one store at the same time.
    pub max_in_flight: usize,
    /// The largest size of the embedded store, in bytes.
    pub embedded_max_bytes: u64,
    /// The stores besides the embedded one.
    pub store: Vec<StoreConfig>,
}

impl Default for FeaturesConfig {
    fn default() -> Self {
        Self {
            max_entities: 10_000,
            max_value_bytes: 65_536,
            max_in_flight: 1024,
            embedded_max_bytes: 4 << 30,
            store: Vec::new(),
        }
    }
}

/// One store, `[[features.store]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// The name in manifests.
    pub name: String,
    /// What it is.
    pub kind: StoreKind,
    /// Redis: `redis://user:password@host:6379/0`, `rediss://…` with TLS, or `unix:///path`. Feast's
    /// feature server: `http://host:6566` or `https://…`.
    pub url: Secret,
    /// The project of Feast whose keys are read from Redis.
    pub project: String,
    /// The file with the password of Redis, read at each connection.
    pub password_file: Option<PathBuf>,
    /// The file with the bearer token for the feature server.
    pub token_file: Option<PathBuf>,
    /// The file with the certificates (PEM) that the server's must be signed by; by default those of
    /// the system.
    pub ca_file: Option<PathBuf>,
    /// The longest that a connection may take to open, in milliseconds; 1000 if it is 0.
    pub connect_timeout_ms: u64,
}

/// The kinds of stores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreKind {
    /// Redis, as Feast writes it.
    #[default]
    Redis,
    /// Feast's feature server.
    FeastHttp,
}

/// A configuration that is not valid. No message shows an address: it may have a password.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum FeaturesConfigError {
    #[error("features.{key} must be {range}")]
    Range {
        key: &'static str,
        range: &'static str,
    },
    #[error("features.store \"{store}\": {problem}")]
    Store { store: String, problem: String },
}

/// The name of the store that every server has.
pub(crate) const EMBEDDED: &str = "embedded";
const MAX_STORES: usize = 32;
const MAX_CONNECT_TIMEOUT_MS: u64 = 10_000;

impl FeaturesConfig {
    /// Whether every value may be used.
    ///
    /// # Errors
    /// The first value that may not.
    pub fn check(&self) -> Result<(), FeaturesConfigError> {
        let ranges = [
            (
                "max_entities",
                "1 to 1000000",
                (1..=1_000_000).contains(&self.max_entities),
            ),
            (
                "max_value_bytes",
                "1 to 67108864",
                (1..=64 << 20).contains(&self.max_value_bytes),
            ),
            (
                "max_in_flight",
                "1 to 65536",
                (1..=65_536).contains(&self.max_in_flight),
            ),
            (
                "embedded_max_bytes",
                "at least 1048576",
                self.embedded_max_bytes >= 1 << 20,
            ),
            ("store", "at most 32 stores", self.store.len() <= MAX_STORES),
        ];
        for (key, range, is_right) in ranges {
            if !is_right {
                return Err(FeaturesConfigError::Range { key, range });
            }
        }
        for (at, store) in self.store.iter().enumerate() {
            let is_twice = self.store[..at]
                .iter()
                .any(|other| other.name == store.name);
            store
                .check(is_twice)
                .map_err(|problem| store.error(problem))?;
        }
        Ok(())
    }
}

impl StoreConfig {
    pub(crate) fn error(&self, problem: impl Into<String>) -> FeaturesConfigError {
        FeaturesConfigError::Store {
            store: self.name.clone(),
            problem: problem.into(),
        }
    }

    /// In milliseconds.
    pub(crate) fn connect_timeout_ms(&self) -> u64 {
        match self.connect_timeout_ms {
            0 => 1000,
            timeout_ms => timeout_ms,
        }
    }

    fn check(&self, is_twice: bool) -> Result<(), String> {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let name = &self.name;
        if !(1..=64).contains(&name.len()) || !name.bytes().all(is_letter) {
            return Err("its name must be 1 to 64 letters, digits and the signs - _ .".to_owned());
        }
        if is_twice || name == EMBEDDED {
            return Err("there is another store of this name".to_owned());
        }
        if self.url.is_empty() {
            return Err("it needs a url".to_owned());
        }
        if self.connect_timeout_ms > MAX_CONNECT_TIMEOUT_MS {
            return Err("connect_timeout_ms must be 1 to 10000".to_owned());
        }
        let is_redis = self.kind == StoreKind::Redis;
        if is_redis && self.project.is_empty() {
            return Err("it needs the project of Feast: it is a part of every key".to_owned());
        }
        if is_redis && self.token_file.is_some() {
            return Err("token_file is for a feature server, Redis has password_file".to_owned());
        }
        if !is_redis && (self.password_file.is_some() || !self.project.is_empty()) {
            return Err("project and password_file are for Redis".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "these are tests")]

    use super::*;

    #[test]
    fn what_cannot_be_meant_is_refused() {
        assert_eq!(FeaturesConfig::default().check(), Ok(()));
        let redis = StoreConfig {
            name: "feast".to_owned(),
            url: "redis://localhost".into(),
            project: "fraud".to_owned(),
            ..StoreConfig::default()
        };
        let with = |store: &StoreConfig| FeaturesConfig {
            store: vec![store.clone()],
            ..FeaturesConfig::default()
        };
        assert_eq!(with(&redis).check(), Ok(()));
        let mut twice = with(&redis);
        twice.store.push(redis.clone());
        assert!(
            twice
                .check()
                .unwrap_err()
                .to_string()
                .contains("of this name")
        );
        type Change = fn(&mut StoreConfig);
        let changes: [(&str, Change); 6] = [
            ("of this name", |store| store.name = "embedded".to_owned()),
            ("its name", |store| store.name = "a b".to_owned()),
            ("a url", |store| store.url = "".into()),
            ("project", |store| store.project.clear()),
            ("token_file", |store| store.token_file = Some("t".into())),
            ("are for Redis", |store| store.kind = StoreKind::FeastHttp),
        ];
        for (problem, change) in changes {
            let mut wrong = redis.clone();
            change(&mut wrong);
            let found = with(&wrong).check().unwrap_err().to_string();
            assert!(found.contains(problem), "{found}");
        }
    }
}
