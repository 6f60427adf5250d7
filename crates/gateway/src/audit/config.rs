//! The `[audit]` section of `tidegate.toml`.

use serde::{Deserialize, Serialize};
use thiserror::Error;

const DAY_MS: i64 = 86_400_000;

/// The `[audit]` section of `tidegate.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// Whether the server writes an audit log. By default it does if it has a data folder or
    /// follows the registry.
    pub enabled: Option<bool>,
    /// The database of the log: `postgres://…`, or the path of a SQLite file. The registry's if
    /// absent. Changes of the registry are always in the registry's own database.
    pub database: Option<String>,
    /// The age from which rows are removed, in days, 1 to 36500.
    pub retention_days: u32,
    /// Most rows, at least 1000; older ones are removed.
    pub retention_rows: u64,
    /// Whether an administrative action is refused if the log cannot be written.
    pub required: bool,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self {
            enabled: None,
            database: None,
            retention_days: 400,
            retention_rows: 1_000_000,
            required: true,
        }
    }
}

/// A wrong `[audit]` section.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum AuditConfigError {
    #[error("audit.retention_days is {0}, it must be 1 to 36500")]
    Days(u32),
    #[error("audit.retention_rows is {0}, it must be at least 1000")]
    Rows(u64),
}

impl AuditConfig {
    /// # Errors
    /// What is wrong with the section.
    pub fn check(&self) -> Result<(), AuditConfigError> {
        if !(1..=36_500).contains(&self.retention_days) {
            return Err(AuditConfigError::Days(self.retention_days));
        }
        if self.retention_rows < 1000 {
            return Err(AuditConfigError::Rows(self.retention_rows));
        }
        Ok(())
    }

    pub(super) fn max_age_ms(&self) -> i64 {
        i64::from(self.retention_days) * DAY_MS
    }

    pub(super) fn max_rows(&self) -> i64 {
        i64::try_from(self.retention_rows).unwrap_or(i64::MAX)
    }
}
