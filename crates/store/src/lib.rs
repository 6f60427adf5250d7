//! The metadata database: one schema, one set of queries, on SQLite or PostgreSQL.
//!
//! In: a URL, and what others want to remember. Out: the same as plain structs, and an append-only
//! log of events whose numbers follow the order of commits, so that "what changed since" is one
//! cheap question. This room knows no model format, no object store and no policy: it keeps what it
//! is told, whole or not at all.
//!
//! Reads are methods of [`Store`]; writes are methods of a [`Write`], which happen together at
//! [`Write::commit`] or, when it is dropped, not at all. Writers take turns on both databases.
//!
//! Beside that it is where the replicas of a group meet: they add up counts, leave notes and agree
//! on a holder of a duty.

mod aliases;
mod database;
mod error;
mod events;
mod objects;
mod pushes;
mod replicas;
mod uploads;
mod uses;
mod versions;

pub use aliases::{Alias, AliasMove, MoveCause};
pub use database::{Store, Write, now_ms};
pub use error::StoreError;
pub use events::{Event, NewEvent};
pub use objects::{Garbage, Object};
pub use replicas::{Addition, Note, Replica, SharedCount, SharedNews, Tier};
pub use uploads::Upload;
pub use uses::Use;
pub use versions::{Signature, Version, VersionFile, VersionState};
