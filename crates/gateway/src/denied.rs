//! Why a request is denied.

use thiserror::Error;
use tidegate_tokens::TokenError;

use crate::LimitStatus;

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
    /// The token is not valid.
    #[error("{0}")]
    BadToken(TokenError),
    /// The caller is known and lacks the permission.
    #[error("{principal} has no permission \"{permission}\" here")]
    Forbidden {
        /// Who it is.
        principal: String,
        /// The [name](crate::Permission::name) of the permission.
        permission: &'static str,
    },
    /// The caller has asked for too much.
    #[error("{0}")]
    Limited(Box<Limited>),
    /// The server cannot tell whether the request may pass.
    #[error("this cannot be checked now: {0}")]
    Unavailable(&'static str),
}

/// A limit that a request would exceed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the limit \"{limit}\" is reached: {by}")]
pub struct Limited {
    /// The name of the limit.
    pub limit: String,
    /// Which part of it.
    pub by: LimitedBy,
    /// What is left of this and of the other limits of the request.
    pub status: LimitStatus,
}

/// The part of a limit that is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LimitedBy {
    /// Too many in a short time.
    #[error("too many {unit} a second")]
    Rate {
        /// What is counted.
        unit: &'static str,
        /// After how many seconds it may pass.
        wait_s: u64,
    },
    /// Too many at the same time.
    #[error("too many requests in work")]
    InFlight,
    /// The day or month has none left, or fewer than the request needs.
    #[error("{}", quota_text(unit, period, *left, *asked))]
    Quota {
        /// What is counted.
        unit: &'static str,
        /// `day` or `month`.
        period: &'static str,
        /// How many are left.
        left: u64,
        /// How many the request needs.
        asked: u64,
        /// After how many seconds the next one begins.
        wait_s: u64,
    },
    /// The quota cannot be counted.
    #[error("its quota cannot be counted now")]
    QuotaUnavailable,
}

fn quota_text(unit: &str, period: &str, left: u64, asked: u64) -> String {
    match left {
        0 => format!("the {unit} of this {period} are used up"),
        _ => format!("the request has {asked} {unit}, and {left} of this {period} are left"),
    }
}

impl LimitedBy {
    /// After how many seconds a retry may pass.
    pub fn retry_after_s(self) -> u64 {
        match self {
            Self::Rate { wait_s, .. } | Self::Quota { wait_s, .. } => wait_s.max(1),
            Self::InFlight | Self::QuotaUnavailable => 1,
        }
    }
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
    /// Its time is over; the connection was opened before.
    #[error("the client certificate of this connection has expired")]
    ExpiredCertificate,
    /// It is not an API key, and the server takes no others.
    #[error("these credentials are of no kind that this server takes")]
    UnknownKind,
}
