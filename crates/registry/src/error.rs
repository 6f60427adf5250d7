//! The table of all errors of the registry. `docs/reference/registry-errors.md` is made from it.

use std::path::Path;

use thiserror::Error;
use tidegate_store::StoreError;

/// The result of the registry's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the registry failed: a stable code for machines and a message for people.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct Error {
    /// What kind of failure it is.
    pub code: ErrorCode,
    /// What was wrong, where, and what to do.
    pub message: String,
}

impl Error {
    /// An error with its message.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// A local file or folder that cannot be used.
    pub(crate) fn file(path: &Path, error: &std::io::Error) -> Self {
        Self::new(
            ErrorCode::FileUnusable,
            format!("{}: {error}", path.display()),
        )
    }
}

macro_rules! error_codes {
    ($($variant:ident $name:literal $meaning:literal $remedy:literal;)*) => {
        /// The stable, machine-readable kinds of failure.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $(#[doc = $meaning] $variant,)*
        }

        impl ErrorCode {
            /// Every code, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The code in messages.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// What happened, for the documentation.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning),* }
            }

            /// What to do, for the documentation.
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy),* }
            }
        }
    };
}

error_codes! {
    NotFound "not_found"
        "there is no such model, version or alias" "see `tidegate registry list`";
    InvalidReference "invalid_reference"
        "the text is not a reference to a version" "write `fraud`, `fraud:7` or `fraud@champion`";
    InvalidBundle "invalid_bundle"
        "the path is not a bundle, or its manifest cannot be read" "read the position in the message";
    UnsafePath "unsafe_path"
        "a path leads out of the bundle, or is not a regular file" "put regular files into the bundle";
    TooLarge "too_large"
        "there are more files, bytes or folders than allowed" "remove what the model does not need";
    FileMismatch "file_mismatch"
        "a file does not have the digest in the manifest" "correct `[[files]]`, or restore the file";
    SourceChanged "source_changed"
        "a file changed while it was pushed" "push again when nothing writes to it";
    Unsupported "unsupported"
        "the format is known but not supported" "export the model in a format that the message names";
    InUse "in_use"
        "an alias or a server uses the version" "move the alias, or unload the version first";
    NumberTaken "number_taken"
        "the number belongs to a version with other content" "import with `--renumber`";
    NothingToRollBackTo "nothing_to_roll_back_to"
        "the alias has no earlier version that still exists" "set the alias to a version";
    Unsigned "unsigned"
        "the version has no signature, but one is required" "push it again with a signing key";
    UntrustedKey "untrusted_key"
        "the version is signed by a key that is not trusted here" "if you trust the key, add it with `tidegate keys trust`";
    RevokedKey "revoked_key"
        "the version is signed only by a revoked key" "push it again with a valid key";
    BadSignature "bad_signature"
        "the signature does not match the content" "find out who changed the registry";
    ManifestDowngraded "manifest_downgraded"
        "the version number has the content of another version" "find out who changed the registry";
    ManifestCorrupt "manifest_corrupt"
        "the list of files does not match the version's digest" "restore the database from its backup";
    ObjectMissing "object_missing"
        "a file's content is not in the object store" "restore it, or push the version again";
    ObjectCorrupt "object_corrupt"
        "a file's content was changed or truncated" "restore it, or delete the version and push it again";
    ObjectSwapped "object_swapped"
        "a file's content was replaced by that of another file" "restore it, or delete the version and push it again";
    WrongKey "wrong_key"
        "the content was encrypted for another key" "configure that key, for example in `previous_keys`";
    KeyUnavailable "key_unavailable"
        "a key cannot be read, or its command failed" "read the reason in the message";
    InvalidKey "invalid_key"
        "a key has the wrong format" "create one with `tidegate keys generate`";
    EnvelopeCorrupt "envelope_corrupt"
        "a wrapped data key was changed" "restore the database from its backup";
    StorageUnavailable "storage_unavailable"
        "the object store cannot be reached" "retry when it can be reached";
    StorageMissing "storage_missing"
        "the bucket or folder does not exist" "create it, or correct `registry.storage`";
    StorageDenied "storage_denied"
        "the object store refuses the credentials" "grant permission to read, write, list and delete";
    StorageMismatch "storage_mismatch"
        "the object store belongs to another registry" "give each registry its own storage URL or prefix";
    DatabaseUnavailable "database_unavailable"
        "the database cannot be reached" "retry when it can be reached";
    OtherRegistry "other_registry"
        "the database belongs to another registry" "restore the database from its backup; to follow the other registry, stop the server and remove `snapshot.json` from its cache";
    DatabaseRefused "database_refused"
        "the database cannot be used" "read the reason in the message";
    CacheTooSmall "cache_too_small"
        "the version does not fit into the local cache" "raise `registry.cache_max_bytes`";
    FileUnusable "file_unusable"
        "a local file or folder cannot be read or written" "read the reason in the message";
    InvalidArchive "invalid_archive"
        "the file is not an export, or was changed" "export it again";
    PushExpired "push_expired"
        "the push stopped for so long that its uploads were removed as garbage" "push again";
    InvalidConfig "invalid_config"
        "the `[registry]` section is not valid" "correct the key that the message names";
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::Unavailable(_) | StoreError::Open { .. } => ErrorCode::DatabaseUnavailable,
            StoreError::NewerSchema { .. } | StoreError::Refused(_) => ErrorCode::DatabaseRefused,
        };
        Self::new(code, error.to_string())
    }
}
