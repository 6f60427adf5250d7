//! How much a caller may ask for: rates, requests in flight, quotas of a day or month, and the share of
//! its tenant while requests wait.
//!
//! ```text
//! [[limits]] --parse--> Rule --one for each tenant, principal, endpoint--> Bucket
//!                                                                            |
//! request --Limiter::charge--> Charge (given back if the request is shed) <--+
//! ```
//!
//! A charge is taken from all buckets that apply, or from none. Quotas are leased from the database.
//! Rates are counted in process, or leased from Redis for all servers together ([`leasing`]).

mod bucket;
mod charge;
mod config;
mod database;
mod leasing;
mod limiter;
mod quota;
mod rate;
mod rule;
mod share;
mod shared_rate;
mod status;

pub use charge::Charge;
pub use config::{LimitConfig, LimitError, LimitsConfig, WhenUnavailable};
pub use database::DatabaseQuotas;
pub use limiter::Limiter;
pub use quota::{QuotaStore, QuotaUnavailable};
pub(crate) use share::TenantWeights;
pub use share::{TenantConfig, TenantShare};
pub use status::{LimitStatus, PolicyStatus};
