//! Who a caller is, and what they may do.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use thiserror::Error;

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

/// A principal that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{0:?} is not a principal: write key:NAME, user:SUBJECT@ISSUER, certificate:NAME or anonymous"
)]
pub struct PrincipalError(String);

/// As it is displayed.
impl FromStr for Principal {
    type Err = PrincipalError;

    fn from_str(text: &str) -> Result<Self, PrincipalError> {
        let problem = || PrincipalError(text.chars().take(128).collect());
        if text == "anonymous" {
            return Ok(Self::Anonymous);
        }
        match text.split_once(':').ok_or_else(problem)? {
            (_, "") => Err(problem()),
            ("key", name) => Ok(Self::ApiKey(name.into())),
            ("user", subject) => Ok(Self::User(subject.into())),
            ("certificate", name) => Ok(Self::Certificate(name.into())),
            _ => Err(problem()),
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
    /// The groups that the caller's token names.
    pub(crate) groups: Vec<String>,
    fingerprint: OnceLock<[u8; 32]>,
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
            groups: Vec::new(),
            fingerprint: OnceLock::new(),
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

    /// The same with groups of a token.
    #[must_use]
    pub fn in_groups(self, groups: Vec<String>) -> Self {
        Self { groups, ..self }
    }

    pub(crate) fn counting_uses(self, last_used: Arc<LastUsed>) -> Self {
        Self { last_used, ..self }
    }

    /// Who it is.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The tenant that the principal belongs to; empty for none.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The claims of the caller's token that are kept.
    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// The groups that the caller's token names.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// The digest of everything that policies may read of it. Two identities with the same one get the
    /// same decisions.
    pub fn fingerprint(&self) -> &[u8; 32] {
        self.fingerprint.get_or_init(|| {
            let read = (
                self.principal.to_string(),
                &self.tenant,
                &self.groups,
                &self.claims,
            );
            // As JSON, so that no two of them run into one another.
            Sha256::digest(serde_json::json!(read).to_string()).into()
        })
    }

    /// Whether its roles permit this on the resource of this name. Policies may decide otherwise: ask
    /// the [`Caller`](crate::Caller).
    pub fn roles_permit(&self, permission: Permission, name: &str) -> bool {
        self.grants
            .iter()
            .any(|grant| grant.permits(permission, name))
    }

    pub(crate) fn roles_permit_somewhere(&self, permission: Permission) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principals_are_read_back() {
        for text in [
            "anonymous",
            "key:shop",
            "user:ada@x.example/a:b",
            "certificate:spiffe://a/b",
        ] {
            assert_eq!(text.parse::<Principal>().unwrap().to_string(), text);
        }
        for wrong in ["", "shop", "key:", "admin:shop", "anonymous:x"] {
            assert!(wrong.parse::<Principal>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn fingerprints_differ_in_whatever_policies_read() {
        let identity =
            |tenant: &str| Identity::new(Principal::ApiKey("a".into()), tenant, Vec::new());
        let claims = Map::from_iter([("team".to_owned(), Value::from("risk"))]);
        let all = [
            identity(""),
            identity("acme"),
            identity("").in_groups(vec!["acme".to_owned()]),
            identity("").with_claims(claims),
            Identity::new(Principal::User("a".into()), "", Vec::new()),
        ];
        for (index, one) in all.iter().enumerate() {
            for other in &all[..index] {
                assert_ne!(one.fingerprint(), other.fingerprint());
            }
        }
        assert_eq!(identity("acme").fingerprint(), all[1].fingerprint());
    }
}
