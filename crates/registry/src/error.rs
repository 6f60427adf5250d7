//! The one error table of the registry: `docs/reference/registry-errors.md` shows it to users.

use std::path::Path;

use thiserror::Error;
use tidegate_store::StoreError;

/// What the registry answers with.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Something that the registry did not do: a stable code for machines and a message for people.
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

    /// A file or folder of this machine that cannot be used.
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

            /// The code as it stands in answers.
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
        "the text names no version" "write `fraud`, `fraud:7` or `fraud@champion`";
    InvalidBundle "invalid_bundle"
        "the path is no bundle, or its manifest cannot be read" "read the position in the message";
    UnsafePath "unsafe_path"
        "a path leads out of the bundle, or is no plain file" "put real files inside of the bundle";
    TooLarge "too_large"
        "there are more files, bytes or folders than may be" "leave out what the model does not need";
    FileMismatch "file_mismatch"
        "a file differs from the digest that the manifest fixes" "correct `[[files]]`, or restore the file";
    SourceChanged "source_changed"
        "a file changed while it was pushed" "push again once nobody writes to it";
    Unsupported "unsupported"
        "the format is known and not served" "export the model in a format that the message names";
    InUse "in_use"
        "an alias or a server uses the version" "move the alias, or unload the version first";
    NumberTaken "number_taken"
        "the version number belongs to other content" "import with `--renumber`";
    NothingToRollBackTo "nothing_to_roll_back_to"
        "the alias has no earlier version that is still there" "set the alias to a version of your choice";
    Unsigned "unsigned"
        "the version has no signature, and one is required" "push it again with a signing key";
    UntrustedKey "untrusted_key"
        "the version is signed, by no key that is trusted here" "`tidegate keys trust` the key, if you do";
    RevokedKey "revoked_key"
        "the version is signed by a revoked key only" "push it again with a valid key";
    BadSignature "bad_signature"
        "the signature does not belong to this content" "find out who changed the registry";
    ManifestDowngraded "manifest_downgraded"
        "the number shows the content of another version" "find out who changed the registry";
    ManifestCorrupt "manifest_corrupt"
        "the list of files does not have the version's digest" "restore the database from its backup";
    ObjectMissing "object_missing"
        "a content is not in the object store" "restore it, or push the version again";
    ObjectCorrupt "object_corrupt"
        "a content was changed or cut off" "restore it, or delete the version and push it again";
    ObjectSwapped "object_swapped"
        "a content stands where another one belongs" "restore it, or delete the version and push it again";
    WrongKey "wrong_key"
        "the encryption key is not the one that the content was encrypted for" "configure that key, also as `previous_keys`";
    KeyUnavailable "key_unavailable"
        "a key cannot be read, or its command failed" "read the reason in the message";
    InvalidKey "invalid_key"
        "a key has another form than it must have" "make one with `tidegate keys generate`";
    EnvelopeCorrupt "envelope_corrupt"
        "a wrapped data key was changed" "restore the database from its backup";
    StorageUnavailable "storage_unavailable"
        "the object store does not answer" "retry once it can be reached";
    StorageMissing "storage_missing"
        "the bucket or folder is not there" "make it, or correct `registry.storage`";
    StorageDenied "storage_denied"
        "the object store refuses the credentials" "grant read, write, list and delete";
    StorageMismatch "storage_mismatch"
        "the object store belongs to another registry" "give each registry a storage URL or prefix of its own";
    DatabaseUnavailable "database_unavailable"
        "the database does not answer" "retry once it can be reached";
    DatabaseRefused "database_refused"
        "the database cannot be used" "read the reason in the message";
    CacheTooSmall "cache_too_small"
        "the version does not fit into the local cache" "raise `registry.cache_max_bytes`";
    FileUnusable "file_unusable"
        "a file or folder of this machine cannot be read or written" "read the reason in the message";
    InvalidArchive "invalid_archive"
        "the file is no export, or was changed" "export it again";
    PushExpired "push_expired"
        "the push stood still for so long that what it counted on was collected" "push again";
    InvalidConfig "invalid_config"
        "the `[registry]` section asks for what cannot be" "correct the key that the message names";
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
