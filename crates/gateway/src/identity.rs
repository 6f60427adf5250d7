//! Who a caller is, and what they may do.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::{Map, Value};

use crate::{Grant, Permission};

/// The authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Principal {
    /// Nobody in particular: the request carries no credentials, or none are asked for.
    Anonymous,
    /// Whoever has the API key of this name.
    ApiKey(Arc<str>),
    /// The subject of a token.
    User(Arc<str>),
    /// The subject of a client certificate.
    Certificate(Arc<str>),
}

/// `anonymous`, `key:NAME`, `user:SUBJECT` or `certificate:NAME`.
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("anonymous"),
            Self::ApiKey(name) => write!(f, "key:{name}"),
            Self::User(subject) => write!(f, "user:{subject}"),
            Self::Certificate(name) => write!(f, "certificate:{name}"),
        }
    }
}

/// A principal with its tenant and grants, as the credentials of a request lead to it.
#[derive(Debug)]
pub struct Identity {
    pub(crate) principal: Principal,
    pub(crate) tenant: Arc<str>,
    pub(crate) grants: Vec<Arc<Grant>>,
    /// Until when the credentials are valid, in milliseconds since 1970.
    pub(crate) expires_ms: Option<i64>,
    /// The claims of the caller's token that are kept.
    pub(crate) claims: Map<String, Value>,
    pub(crate) last_used: Arc<LastUsed>,
}

impl Identity {
    /// An identity whose credentials do not expire.
    pub fn new(principal: Principal, tenant: impl Into<Arc<str>>, grants: Vec<Arc<Grant>>) -> Self {
        Self {
            principal,
            tenant: tenant.into(),
            grants,
            expires_ms: None,
            claims: Map::new(),
            last_used: Arc::default(),
        }
    }

    /// The same until a time, in milliseconds since 1970.
    #[must_use]
    pub fn valid_until(self, expires_ms: Option<i64>) -> Self {
        Self { expires_ms, ..self }
    }

    /// The same with claims of a token.
    #[must_use]
    pub fn with_claims(self, claims: Map<String, Value>) -> Self {
        Self { claims, ..self }
    }

    /// Who it is.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The tenant that the principal belongs to; empty for none.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// Whether it may do this with the resource of this name.
    pub fn may(&self, permission: Permission, name: &str) -> bool {
        self.grants
            .iter()
            .any(|grant| grant.permits(permission, name))
    }

    pub(crate) fn may_somewhere(&self, permission: Permission) -> bool {
        let mut grants = self.grants.iter();
        grants.any(|grant| grant.permissions.contains(permission))
    }

    pub(crate) fn has_expired(&self, now_ms: i64) -> bool {
        self.expires_ms.is_some_and(|expires| expires <= now_ms)
    }
}

/// When credentials were used last.
#[derive(Debug, Default)]
pub struct LastUsed(AtomicI64);

impl LastUsed {
    /// Longest that an earlier time may stand, in milliseconds.
    const RESOLUTION_MS: i64 = 1000;

    pub(crate) fn set(&self, now_ms: i64) {
        // Read first: a line that is only read stays in the caches of all cores.
        if now_ms - self.0.load(Ordering::Relaxed) >= Self::RESOLUTION_MS {
            self.0.store(now_ms, Ordering::Relaxed);
        }
    }

    /// In milliseconds since 1970; `None` if never.
    pub fn ms(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|ms| *ms > 0)
    }
}
