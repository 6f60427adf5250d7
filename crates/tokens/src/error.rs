//! Why a token is refused.

/// Why a token is refused. The texts never quote the token: they name only what the configuration
/// names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Longer than the limit.
    #[error("the token has more than {limit} bytes")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// Not a signed JWT in the compact form.
    #[error("this is not a signed JWT: {0}")]
    Malformed(&'static str),
    /// `none`, an algorithm with a shared secret, or one that the configuration does not allow.
    #[error("the token is signed with {0}, which is not allowed here")]
    Algorithm(&'static str),
    /// `crit`, or a payload that is not encoded in base64url (`b64`).
    #[error("the token's header demands an extension that is not supported")]
    Extension,
    /// `typ` says that it is something else than an access or ID token.
    #[error("the header's typ is neither JWT nor at+jwt")]
    Type,
    /// No issuer of that name is configured.
    #[error("the token comes from an issuer that is not trusted here")]
    UnknownIssuer,
    /// The issuer publishes no key of that id.
    #[error("the token is signed with a key that its issuer does not publish")]
    UnknownKey {
        /// Whether the key set is being fetched to look for it.
        awaits_keys: bool,
    },
    /// The signature does not fit the key.
    #[error("the signature is wrong")]
    Signature {
        /// Whether the key set is being fetched, as the key may have changed under the same id.
        awaits_keys: bool,
    },
    /// `exp` has passed.
    #[error("the token expired {seconds_ago} s ago")]
    Expired {
        /// Seconds since `exp`.
        seconds_ago: i64,
    },
    /// `nbf` or `iat` is ahead of our clock.
    #[error("the token's {claim} is {seconds_ahead} s ahead of this server's clock")]
    NotYetValid {
        /// `nbf` or `iat`.
        claim: &'static str,
        /// Seconds until then.
        seconds_ahead: i64,
    },
    /// `aud` has none of the configured audiences.
    #[error("the token is not for this server: its aud has none of the configured audiences")]
    Audience,
    /// A claim that is demanded is missing.
    #[error("the token has no claim {0:?}")]
    MissingClaim(Box<str>),
    /// A claim has the wrong type, or a value that it cannot have.
    #[error("the claim {claim:?} is not {expected}")]
    InvalidClaim {
        /// Its name in the configuration or in RFC 7519.
        claim: Box<str>,
        /// What it must be.
        expected: &'static str,
    },
    /// A claim has none of the values that the configuration demands.
    #[error("the claim {0:?} has none of the values that are demanded")]
    ClaimValue(Box<str>),
    /// Bound to a key of its holder (`cnf`), so that it must not be accepted as a bearer token
    /// (RFC 9449, RFC 8705).
    #[error("the token is bound to a key of its holder, which this server cannot check")]
    Bound,
    /// Nobody can say: the issuer's keys could not be fetched, or are too old.
    #[error("the keys of the token's issuer are not available")]
    Unavailable {
        /// Whether the first fetch is still running.
        awaits_keys: bool,
    },
}

impl TokenError {
    /// Whether the keys cannot be had, so that the same token may be good: an answer of 503, not
    /// of 401.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// Whether the key set is being fetched because of this token, and another answer may follow:
    /// [`JwtVerifier::verify_with_new_keys`](crate::JwtVerifier::verify_with_new_keys) waits for it.
    pub fn awaits_keys(&self) -> bool {
        match self {
            Self::UnknownKey { awaits_keys }
            | Self::Signature { awaits_keys }
            | Self::Unavailable { awaits_keys } => *awaits_keys,
            _ => false,
        }
    }

    pub(crate) fn invalid(claim: &str, expected: &'static str) -> Self {
        Self::InvalidClaim {
            claim: claim.into(),
            expected,
        }
    }
}
