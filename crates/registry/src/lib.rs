//! The model registry: bundles become immutable, signed, verified versions, and aliases move over
//! them.
//!
//! In: bundles of files, and references to versions. Out: versions with numbers and digests, folders
//! of verified files that an engine can map into memory, and events that say what changed. The
//! database has the metadata, an object store has the contents, and a bounded local cache has the
//! files that this machine uses. This crate must never depend on an engine or know a request.
//!
//! Begin at [`Registry`]. Its operations are in `push`, `fetch`, `aliases`, `lifecycle`, `garbage`,
//! `verify`, `archive` and `diff`, one file each.
//!
//! ```
//! use tidegate_registry::{Reference, Selector};
//!
//! let reference: Reference = "fraud@champion".parse().unwrap();
//! assert_eq!(reference.model.as_str(), "fraud");
//! assert_eq!(reference.selector, Selector::Alias("champion".to_owned()));
//!
//! let reference: Reference = "fraud:7".parse().unwrap();
//! assert_eq!(reference.selector, Selector::Number(7));
//! ```

mod aliases;
mod archive;
mod audit;
mod bundle;
mod cache;
mod config;
mod diff;
mod digest;
mod encryption;
mod error;
mod fetch;
#[doc(hidden)]
pub mod fuzzing;
mod garbage;
mod keys;
mod lifecycle;
mod manifest;
mod mlflow;
mod push;
mod reference;
mod registry;
mod snapshot;
mod storage;
mod trust;
mod verify;

pub use aliases::{AliasHistory, move_alias};
pub use archive::{ExportOptions, ImportOptions, Imported};
pub use bundle::{Bundle, BundleFile, BundleLimits, Source};
pub use cache::{Cache, CachedVersion, ServedNames};
pub use config::{EncryptionConfig, RegistryConfig};
pub use diff::{Change, VersionDiff};
pub use digest::Digest;
pub use error::{Error, ErrorCode, Result};
pub use garbage::Collected;
pub use keys::{KeyId, SigningKeys, TrustedKey, generate_key};
pub use manifest::differing_keys;
pub use push::{Progress, PushOptions, Pushed};
pub use reference::{Reference, Selector};
pub use registry::{Registry, VersionRecord};
pub use snapshot::Snapshot;
pub use tidegate_store::{Alias, AliasMove, Event, MoveCause, Position, Use, VersionState};
pub use trust::{RequireSignature, Verdict};
pub use verify::{Problem, Verified};
