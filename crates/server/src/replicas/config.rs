//! The configuration of a group of replicas.

use serde::{Deserialize, Serialize};

/// The `[replicas]` section of `tidegate.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReplicasConfig {
    /// The name of the group: servers behind one load balancer. They count objectives together,
    /// hold rollouts together, share silences and objectives that are set, and one of them sends
    /// the alerts of all. If absent, the server has no group.
    pub group: Option<String>,
    /// The database of the group: `postgres://…`, or the path of a SQLite file if all servers run
    /// on one machine. By default the database of the registry.
    pub database: Option<String>,
    /// How often each server exchanges its state with the others, in milliseconds, 100 to 60000. If
    /// the server that sends alerts does not exchange for three such intervals (at least 5
    /// seconds), another server takes over.
    pub exchange_interval_ms: u64,
}

impl Default for ReplicasConfig {
    fn default() -> Self {
        Self {
            group: None,
            database: None,
            exchange_interval_ms: 10_000,
        }
    }
}

/// A wrong configuration of a group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ReplicasError {
    #[error("replicas.database is set but replicas.group is not: set the name of the group")]
    NoGroup,
    #[error("replicas.group must have 1 to {MAX_NAME} characters")]
    Name,
    #[error("replicas.exchange_interval_ms is {0}, it must be 100 to 60000")]
    Interval(u64),
}

/// Longest name of a group.
const MAX_NAME: usize = 63;

impl ReplicasConfig {
    /// The group's name, if there is one.
    ///
    /// # Errors
    /// What is wrong with the section.
    pub(crate) fn parse(&self) -> Result<Option<String>, ReplicasError> {
        if !(100..=60_000).contains(&self.exchange_interval_ms) {
            return Err(ReplicasError::Interval(self.exchange_interval_ms));
        }
        match &self.group {
            None if self.database.is_some() => Err(ReplicasError::NoGroup),
            Some(group) if group.trim().is_empty() || group.chars().count() > MAX_NAME => {
                Err(ReplicasError::Name)
            }
            group => Ok(group.clone()),
        }
    }
}
