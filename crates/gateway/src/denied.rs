//! Why a request is denied.

use thiserror::Error;

/// A request that may not go on. Front ends turn it into 401, 403, 429 or 503. The messages never
/// quote credentials, and do not tell a key that never existed from one that was revoked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Denied {
    /// There are no credentials, and without them this is not permitted.
    #[error(
        "this needs credentials: send an API key or a token in the header `Authorization: Bearer …`"
    )]
    NoCredentials,
    /// The credentials are not ones that the server knows.
    #[error("{0}")]
    BadCredentials(BadCredentials),
    /// The caller is known and lacks the permission.
    #[error("{principal} has no permission \"{permission}\" here")]
    Forbidden {
        /// Who it is.
        principal: String,
        /// The [name](crate::Permission::name) of the permission.
        permission: &'static str,
    },
    /// The server cannot tell whether the credentials are valid.
    #[error("credentials cannot be checked now: {0}")]
    Unavailable(&'static str),
}

/// What is wrong with credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadCredentials {
    /// There are several, or they are not text.
    #[error("send one header with credentials, `Authorization: Bearer …` or `X-Api-Key: …`")]
    Ambiguous,
    /// The scheme is another one.
    #[error("the scheme of `Authorization` must be Bearer")]
    Scheme,
    /// It has the form of an API key and a wrong checksum.
    #[error("the API key is mistyped or cut off: its checksum is wrong")]
    Checksum,
    /// It does not exist, or no longer.
    #[error("the API key is unknown or was revoked")]
    UnknownKey,
    /// Its time is over.
    #[error("the API key has expired")]
    ExpiredKey,
    /// It is not an API key, and the server takes no others.
    #[error("these credentials are of no kind that this server takes")]
    UnknownKind,
}
