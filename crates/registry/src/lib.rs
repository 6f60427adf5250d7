//! The model registry: bundles become immutable, signed, verified versions, and aliases move over
//! them.
//!
//! In: bundles of files, and names. Out: versions with numbers and digests, folders of verified
//! files that an engine can map into memory, and the events of what changed. Metadata live in the
//! store, contents in an object store, and a bounded local cache holds what this machine uses. This
//! room knows no engine and no request.
//!
//! Begin at [`Registry`]: what it does stands in `push`, `fetch`, `aliases`, `lifecycle`,
//! `garbage`, `verify`, `archive` and `diff`, one file each.

mod aliases;
mod archive;
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
mod mlflow;
mod push;
mod reference;
mod registry;
mod storage;
mod trust;
mod verify;

pub use aliases::AliasHistory;
pub use archive::{ExportOptions, ImportOptions, Imported};
pub use bundle::{Bundle, BundleFile, BundleLimits, Source};
pub use cache::{Cache, CachedVersion};
pub use config::{EncryptionConfig, RegistryConfig};
pub use diff::{Change, VersionDiff};
pub use digest::Digest;
pub use error::{Error, ErrorCode, Result};
pub use garbage::Collected;
pub use keys::{KeyId, SigningKeys, TrustedKey, generate_key};
pub use push::{Progress, PushOptions, Pushed};
pub use reference::{Reference, Selector};
pub use registry::{Registry, Snapshot, VersionRecord};
pub use tidegate_store::{Alias, AliasMove, Event, MoveCause, Use, VersionState};
pub use trust::{RequireSignature, Verdict};
pub use verify::{Problem, Verified};
