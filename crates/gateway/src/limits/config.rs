//! The configuration of limits.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::share::TenantConfig;

/// The `[limits]` section of `tidegate.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// What happens to requests with a quota while the database of quotas cannot be reached:
    /// `allow` them and count them later, or `refuse` them.
    pub when_unavailable: WhenUnavailable,
    /// The limits, each in a section `[[limits.rule]]`.
    pub rule: Vec<LimitConfig>,
    /// The shares of tenants while requests wait, each in a section `[[limits.tenant]]`.
    pub tenant: Vec<TenantConfig>,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            when_unavailable: WhenUnavailable::Allow,
            rule: Vec::new(),
            tenant: Vec::new(),
        }
    }
}

/// See [`LimitsConfig::when_unavailable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenUnavailable {
    /// Requests pass, and are counted once the database is back.
    Allow,
    /// Requests with a quota are refused.
    Refuse,
}

/// One limit: which requests it counts together, and how many of them may pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitConfig {
    /// Its name, in messages, headers and metrics.
    pub name: String,
    /// The tenant that it is for; `*` gives each tenant a count of its own.
    pub tenant: Option<String>,
    /// The principal, such as `key:shop`; `*` gives each principal a count of its own.
    pub principal: Option<String>,
    /// The endpoint; `*` gives each endpoint a count of its own.
    pub endpoint: Option<String>,
    /// Requests in a second, on average.
    pub requests_per_second: Option<f64>,
    /// Requests that may come at once; by default those of one second.
    pub burst_requests: Option<u64>,
    /// Rows in a second, on average.
    pub rows_per_second: Option<f64>,
    /// Rows that may come at once; by default those of one second.
    pub burst_rows: Option<u64>,
    /// Requests that may be in work at the same time.
    pub max_in_flight: Option<u32>,
    /// Requests in a day (UTC).
    pub requests_per_day: Option<u64>,
    /// Requests in a calendar month (UTC).
    pub requests_per_month: Option<u64>,
    /// Rows in a day (UTC).
    pub rows_per_day: Option<u64>,
    /// Rows in a calendar month (UTC).
    pub rows_per_month: Option<u64>,
}

/// A limit that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum LimitError {
    #[error(
        "limits.rule: {0:?} is not a name: use 1 to 64 lower-case letters, digits and the signs - _"
    )]
    Name(String),
    #[error("limits.rule: {0:?} is there twice")]
    Duplicate(String),
    #[error("limits.rule {0:?}: limits nothing: set a rate, max_in_flight or a quota")]
    Nothing(String),
    #[error("limits.rule {0:?}: {1} must be from 0.000001 to 1000000000")]
    Rate(String, &'static str),
    #[error("limits.rule {0:?}: {1} must be at least 1 and below 1e15")]
    Count(String, &'static str),
    #[error("limits.rule {0:?}: {1} needs {2}")]
    Burst(String, &'static str, &'static str),
    #[error("limits.tenant needs a name of 1 to 256 bytes without control characters")]
    Tenant,
    #[error("limits.tenant: {0:?} is there twice")]
    DuplicateTenant(String),
    #[error("limits.tenant {0:?}: weight must be from 1 to 1000")]
    Weight(String),
}
