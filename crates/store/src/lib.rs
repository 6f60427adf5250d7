//! The metadata database: one schema and one set of queries, on SQLite or PostgreSQL.
//!
//! In: a URL, and metadata to store. Out: the same metadata as plain structs, and an append-only log
//! of events whose numbers follow the order of commits, so that "what changed since" is one cheap
//! query. This crate must never know a model format, an object store or a policy.
//!
//! Reads are methods of [`Store`]. Writes are methods of a [`Write`]: they take effect together at
//! [`Write::commit`], or not at all when it is dropped. Writers take turns on both databases.
//!
//! The replicas of a group also share state here: they add up counts, exchange notes and agree on
//! the holder of a lease.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tidegate_store::Store;
//!
//! let folder = tempfile::tempdir()?;
//! let database = folder.path().join("registry.db").display().to_string();
//! let store = Store::open(&database).await?;
//!
//! let mut write = store.write("alice").await?;
//! write.set_property("colour", "blue").await?;
//! assert_eq!(store.property("colour").await?, None, "not committed yet");
//! write.commit().await?;
//! assert_eq!(store.property("colour").await?.as_deref(), Some("blue"));
//! # Ok(())
//! # }
//! ```

mod aliases;
mod api_keys;
mod audit;
mod connect;
mod database;
mod datasets;
mod error;
mod events;
mod experiments;
mod feedback;
mod objects;
mod pushes;
mod quotas;
mod replicas;
mod retraining;
mod rollouts;
mod timeouts;
mod traffic;
mod uploads;
mod uses;
mod versions;

#[cfg(test)]
#[path = "../tests/support/postgres.rs"]
#[allow(clippy::unwrap_used, dead_code, reason = "these are tests")]
mod postgres;

pub use aliases::{Alias, AliasMove, MoveCause};
pub use api_keys::ApiKey;
pub use audit::{
    AuditAnchor, AuditCheck, AuditEntry, AuditFilter, AuditProblem, AuditRecord, AuditReport,
    AuditRetention,
};
pub use connect::without_password;
pub use database::{OpenOptions, Store, Write, now_ms};
pub use datasets::{Dataset, DatasetPlace, NewDataset};
pub use error::StoreError;
pub use events::{Event, NewEvent, Position, REGISTRY_ID};
pub use experiments::{ExperimentUsers, StoredExperiment};
pub use feedback::{Feedback, FeedbackKey, FeedbackMark, FeedbackOutcome};
pub use objects::{Garbage, Object};
pub use quotas::{QuotaLease, QuotaUse};
pub use replicas::{Addition, Note, Replica, SharedCount, SharedNews, Tier};
pub use retraining::{RetrainTrigger, TriggerState};
pub use rollouts::{NewRolloutWindow, RolloutWindow};
pub use timeouts::Timeouts;
pub use traffic::{NewTrafficChange, TrafficChange};
pub use uploads::Upload;
pub use uses::Use;
pub use versions::{MAX_VERSION, Signature, Version, VersionFile, VersionState};
