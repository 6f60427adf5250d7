//! Who may do what: the steps *authenticate, authorize, limit* that every request passes first.
//!
//! In: the [`Credentials`] that a request carries, the [`Permission`] that its route declares, and
//! the resource that it is about. Out: [`Authorized`], the evidence that the later steps demand, or
//! [`Denied`]. The evidence can be made here only, so the compiler sees that no request skips a
//! step. This crate must never depend on a model, an engine or a wire format.
//!
//! ```
//! use tidegate_gateway::{Credentials, Denied, Gateway, Grant, KeyTable, NewApiKey, Permission};
//! use tidegate_gateway::{Role, StoredKey};
//!
//! let gateway = Gateway::protected(Vec::new());
//! let key = NewApiKey::generate()?;
//! let stored = StoredKey {
//!     id: "1".into(),
//!     name: "shop".into(),
//!     digest: key.digest(),
//!     tenant: "acme".into(),
//!     grants: vec![Grant::of_role(Role::Caller, vec!["fraud*".parse()?])],
//!     expires_ms: None,
//! };
//! gateway.set_keys(KeyTable::new(vec![stored], &KeyTable::default()));
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
//! let mut headers = http::HeaderMap::new();
//! headers.insert("authorization", format!("Bearer {}", key.reveal()).parse()?);
//! let caller = runtime.block_on(gateway.authenticate(Credentials::of(&headers)))?;
//! let permitted = gateway.authorize(caller, Permission::Call, "fraud-eu")?;
//! let authorized = runtime.block_on(gateway.limit(permitted))?;
//! assert_eq!(authorized.caller().principal().to_string(), "key:shop");
//!
//! headers.clear();
//! let credentials = Credentials::of(&headers);
//! let denied = runtime.block_on(gateway.admit(credentials, Permission::Call, "fraud-eu"));
//! assert_eq!(denied.unwrap_err(), Denied::NoCredentials);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod access;
mod api_key;
mod api_keys;
mod audit;
mod bindings;
mod breaker;
mod cache;
mod client_certificate;
mod config;
mod delegation;
mod denied;
mod gateway;
mod identity;
mod key_table;
mod limits;
mod login;
mod permission;
mod policies;
mod resource;
mod role;
mod sliding_window;

pub use access::{Authorized, Caller, Credentials, Permitted};
pub use api_key::{KEY_PREFIX, KeyDigest, NewApiKey};
pub use api_keys::{ApiKeyError, ApiKeys, KeyRequest, LastAdminKey};
pub use audit::{
    Audit, AuditAnchors, AuditConfig, AuditConfigError, AuditCounts, AuditError, AuditPlace, Denial,
};
pub use bindings::{BindingConfig, BindingError};
pub use breaker::{
    Breaker, BreakerChange, BreakerPolicy, BreakerRefusal, BreakerState, BreakerTicket, CallEnd,
};
pub use cache::{
    AnswerCodec, CacheConfig, CacheControl, CacheError, CacheKey, CacheKeyHasher, CacheKeys,
    CacheOutcome, CachePolicy, CacheStats, Cached, EndpointCacheConfig, Refresh, ResponseCache,
};
pub use client_certificate::ClientCertificate;
pub use config::{AuthConfig, GrantConfig};
pub use delegation::{ChangedBy, HeldPermission};
pub use denied::{BadCredentials, Denied, Limited, LimitedBy};
pub use gateway::{Gateway, LoggedIn, ProviderLogin, TokensError};
pub use identity::{Identity, LastUsed, Principal};
pub use key_table::{KeyTable, StoredKey};
pub use limits::{
    Charge, DatabaseQuotas, LimitConfig, LimitError, LimitStatus, Limiter, LimitsConfig,
    PolicyStatus, QuotaStore, QuotaUnavailable, TenantConfig, TenantShare, WhenUnavailable,
};
pub use login::{LoginConfig, LoginConfigError};
pub use permission::{Permission, Permissions};
pub use policies::{Extent, Policies, PolicyDecider, PolicyDecision};
pub use resource::{AllResources, PatternError, Resource, ResourceKind, ResourcePattern};
pub use role::{Grant, Role, UnknownRole};
pub use sliding_window::SlidingWindow;
pub use tidegate_tokens::{LoginAnswer, LoginError};

#[cfg(test)]
#[path = "../../redis/src/testing.rs"]
mod redis_testing;
