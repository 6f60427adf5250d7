//! The three steps.

mod login;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use http::{HeaderMap, HeaderName, HeaderValue};
use tidegate_store::now_ms;
use tidegate_tokens::{JwtConfigError, JwtIssuerConfig, JwtVerifier, KeyStatus, VerifiedToken};

pub use self::login::{LoggedIn, ProviderLogin};
use crate::bindings::Bindings;
use crate::limits::TenantWeights;
use crate::login::Logins;
use crate::{
    Authorized, BadCredentials, BindingConfig, BindingError, Caller, ClientCertificate,
    Credentials, Denied, Grant, Identity, KeyTable, LimitError, Limiter, LoginConfigError,
    Permission, Permitted, Policies, Principal, Resource, TenantConfig, TenantShare,
};

/// Decides about every request, whatever front end it came through.
#[derive(Debug)]
pub struct Gateway {
    /// `None` lets everybody in.
    protected: Option<Protected>,
    /// `None` lets everybody ask for as much as they like.
    limiter: Option<Arc<Limiter>>,
    weights: TenantWeights,
}

struct Protected {
    /// `None` until the keys were read for the first time.
    keys: ArcSwapOption<KeyTable>,
    /// Whether it is ready only once they were read.
    requires_keys: bool,
    /// Whoever sends no credentials.
    anonymous: Arc<Identity>,
    tokens: Option<Tokens>,
    /// The roles of client certificates.
    certificates: Bindings,
    /// `None` if nobody can log in with a browser.
    logins: Option<Logins>,
    /// `None` if roles alone decide.
    policies: Option<ArcSwap<Policies>>,
}

/// Without keys, tokens and sessions.
impl fmt::Debug for Protected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Protected").finish_non_exhaustive()
    }
}

/// What tokens are checked with.
struct Tokens {
    verifier: JwtVerifier,
    bindings: Bindings,
    /// The claims that are kept of some issuer's tokens.
    kept_claims: BTreeSet<String>,
}

impl Gateway {
    /// A gateway that lets everybody do everything, as [`Principal::Anonymous`]. It belongs on a
    /// trusted network.
    pub fn open() -> Self {
        Self {
            protected: None,
            limiter: None,
            weights: TenantWeights::default(),
        }
    }

    /// A gateway that lets callers do what their credentials permit, and those without credentials
    /// what `anonymous` says. No key is known before [`Gateway::set_keys`].
    pub fn protected(anonymous: Vec<Grant>) -> Self {
        let anonymous = anonymous.into_iter().map(Arc::new).collect();
        let anonymous = Identity::new(Principal::Anonymous, "", anonymous);
        Self {
            protected: Some(Protected {
                keys: ArcSwapOption::empty(),
                requires_keys: true,
                anonymous: Arc::new(anonymous),
                tokens: None,
                certificates: Bindings::default(),
                logins: None,
                policies: None,
            }),
            limiter: None,
            weights: TenantWeights::default(),
        }
    }

    /// The same, where `requires_keys` says whether it is ready only once it knows the API keys.
    #[must_use]
    pub fn requiring_keys(mut self, requires_keys: bool) -> Self {
        if let Some(protected) = &mut self.protected {
            protected.requires_keys = requires_keys;
        }
        self
    }

    /// The same, where policies decide besides roles. Nobody may do anything before
    /// [`Gateway::set_policies`]. An open gateway stays open.
    #[must_use]
    pub fn requiring_policies(mut self) -> Self {
        if let Some(protected) = &mut self.protected {
            protected.policies = Some(ArcSwap::from_pointee(Policies::unread()));
        }
        self
    }

    /// The same, where client certificates may do what their bindings say.
    ///
    /// # Errors
    /// What is wrong with a binding.
    pub fn with_certificates(mut self, bindings: &[BindingConfig]) -> Result<Self, TokensError> {
        if let Some(protected) = &mut self.protected {
            protected.certificates = Bindings::of_certificates(bindings)?;
        }
        Ok(self)
    }

    /// The same, where the subjects of tokens may do what their bindings say. Starts to fetch the keys
    /// of the issuers; from within a runtime. An open gateway stays open.
    ///
    /// # Errors
    /// What is wrong with an issuer or a binding.
    pub fn with_tokens(
        mut self,
        issuers: &[JwtIssuerConfig],
        bindings: &[BindingConfig],
    ) -> Result<Self, TokensError> {
        if let Some(protected) = &mut self.protected {
            let issuers = Bindings::with_claims(bindings, issuers);
            protected.tokens = Some(Tokens {
                bindings: Bindings::parse(bindings, &issuers)?,
                kept_claims: issuers
                    .iter()
                    .flat_map(|issuer| issuer.kept_claims.iter().cloned())
                    .collect(),
                verifier: JwtVerifier::start(&issuers)?,
            });
        }
        Ok(self)
    }

    /// How fetching the keys of each issuer goes.
    pub fn issuers(&self) -> Vec<KeyStatus> {
        let tokens = self
            .protected
            .iter()
            .flat_map(|protected| &protected.tokens);
        tokens.flat_map(|tokens| tokens.verifier.status()).collect()
    }

    /// Whether requests may have this claim: a token of some issuer, and it is kept of that.
    pub fn keeps_claim(&self, name: &str) -> bool {
        let tokens = self.protected.as_ref().and_then(|one| one.tokens.as_ref());
        tokens.is_some_and(|tokens| name == "sub" || tokens.kept_claims.contains(name))
    }

    /// The same with these limits on requests for predictions.
    #[must_use]
    pub fn with_limiter(self, limiter: Limiter) -> Self {
        Self {
            limiter: Some(Arc::new(limiter)),
            ..self
        }
    }

    /// The same with these shares of tenants; every other tenant has weight 1.
    ///
    /// # Errors
    /// What is wrong with a tenant.
    pub fn with_tenants(self, tenants: &[TenantConfig]) -> Result<Self, LimitError> {
        let weights = TenantWeights::parse(tenants)?;
        Ok(Self { weights, ..self })
    }

    /// The share of a caller while requests wait.
    pub fn share(&self, caller: &Caller) -> TenantShare {
        self.weights.share(caller)
    }

    /// The limits, if there are any.
    pub fn limiter(&self) -> Option<&Arc<Limiter>> {
        self.limiter.as_ref()
    }

    /// Whether it lets everybody do everything.
    pub fn is_open(&self) -> bool {
        self.protected.is_none()
    }

    /// Replaces the API keys; requests that come from now on go by the new ones.
    pub fn set_keys(&self, keys: KeyTable) {
        if let Some(protected) = &self.protected {
            protected.keys.store(Some(Arc::new(keys)));
        }
    }

    /// Whether policies decide besides roles.
    pub fn requires_policies(&self) -> bool {
        let protected = self.protected.as_ref();
        protected.is_some_and(|protected| protected.policies.is_some())
    }

    /// Replaces the policies of a gateway that [requires](Self::requiring_policies) some; requests that
    /// come from now on go by the new ones.
    pub fn set_policies(&self, policies: Policies) {
        let own = self.protected.iter().find_map(|all| all.policies.as_ref());
        if let Some(own) = own {
            own.store(Arc::new(policies));
        }
    }

    /// The API keys; none while they were not read.
    pub fn keys(&self) -> Option<Arc<KeyTable>> {
        self.protected.as_ref()?.keys.load_full()
    }

    /// Whether it can tell valid keys from others, where that is required: they were read once.
    pub fn knows_required_keys(&self) -> bool {
        self.protected
            .as_ref()
            .is_none_or(|protected| !protected.requires_keys || protected.keys.load().is_some())
    }

    /// Finds out who sends a request.
    ///
    /// # Errors
    /// [`Denied::BadCredentials`], [`Denied::Unavailable`]. Credentials that are wrong are never
    /// taken for none.
    pub async fn authenticate(&self, credentials: Credentials<'_>) -> Result<Caller, Denied> {
        if let Some(caller) = credentials.caller {
            return Ok(caller.clone());
        }
        match &self.protected {
            None => Ok(Caller::UNCHECKED),
            Some(protected) => {
                let identity = protected.authenticate(credentials).await?;
                Ok(protected.caller(identity))
            }
        }
    }

    /// Who sends a request, if that can be said without waiting; `None` if it cannot, and for
    /// credentials that are wrong.
    pub fn known_caller(&self, credentials: Credentials<'_>) -> Option<Caller> {
        if let Some(caller) = credentials.caller {
            return Some(caller.clone());
        }
        let Some(protected) = &self.protected else {
            return Some(Caller::UNCHECKED);
        };
        let identity = match secret(credentials.headers()).ok()? {
            None => match protected.of_session(credentials) {
                Some(identity) => identity,
                None => protected.of_connection(credentials.certificate).ok()?,
            },
            Some(secret) if KeyTable::is_key(secret) => protected.of_key(secret).ok()?,
            Some(token) => {
                let tokens = protected.tokens.as_ref()?;
                let verified = tokens.verifier.verify(token).ok()?;
                tokens.identity(&verified)
            }
        };
        Some(protected.caller(identity))
    }

    /// Checks whether the caller has a permission on a resource.
    ///
    /// # Errors
    /// [`Denied::Forbidden`], or [`Denied::NoCredentials`] if there were none.
    pub fn authorize<R: Resource>(
        &self,
        caller: Caller,
        permission: Permission,
        resource: R,
    ) -> Result<Permitted<R>, Denied> {
        if permission != Permission::Public && !caller.may(permission, resource.name()) {
            return Err(match caller.principal() {
                Principal::Anonymous => Denied::NoCredentials,
                principal => Denied::Forbidden {
                    principal: principal.to_string(),
                    permission: permission.name(),
                },
            });
        }
        Ok(Permitted {
            caller,
            permission,
            resource,
        })
    }

    /// Counts the request against the rates and quotas of the caller and the endpoint.
    ///
    /// # Errors
    /// [`Denied::Limited`], [`Denied::Unavailable`].
    pub async fn limit<R: Resource>(
        &self,
        permitted: Permitted<R>,
    ) -> Result<Authorized<R>, Denied> {
        let charge = match &self.limiter {
            None => None,
            Some(limiter) => {
                let charge = limiter.charge(&permitted.caller, permitted.resource.name());
                // Boxed: requests without limits need not carry the place for it.
                Box::pin(charge).await?.map(Box::new)
            }
        };
        Ok(permitted.authorized(charge))
    }

    /// The first two steps at once, for requests that are not counted: those for predictions are.
    ///
    /// # Errors
    /// As the steps. What is public needs no credentials, and wrong ones do no harm there: a probe
    /// must not fail because its key has expired.
    pub async fn admit<R: Resource>(
        &self,
        credentials: Credentials<'_>,
        permission: Permission,
        resource: R,
    ) -> Result<Authorized<R>, Denied> {
        let caller = match permission {
            Permission::Public => Caller::UNCHECKED,
            _ => self.authenticate(credentials).await?,
        };
        let permitted = self.authorize(caller, permission, resource)?;
        Ok(permitted.authorized(None))
    }
}

impl Protected {
    /// The caller with an identity, whose requests the policies of now are asked about.
    fn caller(&self, identity: Arc<Identity>) -> Caller {
        let policies = self.policies.as_ref().map(ArcSwap::load_full);
        Caller::known(identity, policies)
    }

    async fn authenticate(&self, credentials: Credentials<'_>) -> Result<Arc<Identity>, Denied> {
        let secret = secret(credentials.headers()).map_err(Denied::BadCredentials)?;
        let Some(secret) = secret else {
            if credentials.takes_session
                && let Some(identity) = self.use_session(credentials.headers())
            {
                return Ok(identity);
            }
            return self.of_connection(credentials.certificate);
        };
        if !KeyTable::is_key(secret) {
            let tokens = self.tokens.as_ref();
            let tokens = tokens.ok_or(Denied::BadCredentials(BadCredentials::UnknownKind))?;
            return tokens.authenticate(secret).await;
        }
        self.of_key(secret)
    }

    /// The owner of an API key.
    fn of_key(&self, key: &str) -> Result<Arc<Identity>, Denied> {
        let keys = self.keys.load();
        let Some(keys) = keys.as_ref() else {
            return Err(Denied::Unavailable("the API keys were not read yet"));
        };
        let identity = keys.find(key, now_ms());
        identity.cloned().map_err(Denied::BadCredentials)
    }

    /// Who sends requests without credentials of their own.
    fn of_connection(
        &self,
        certificate: Option<&ClientCertificate>,
    ) -> Result<Arc<Identity>, Denied> {
        match certificate {
            None => Ok(self.anonymous.clone()),
            Some(certificate) if certificate.has_expired(now_ms()) => {
                Err(Denied::BadCredentials(BadCredentials::ExpiredCertificate))
            }
            Some(certificate) => Ok(Arc::new(
                self.certificates.certificate_identity(certificate),
            )),
        }
    }
}

impl Tokens {
    fn identity(&self, token: &VerifiedToken) -> Arc<Identity> {
        token.derived(|token| self.bindings.identity(token))
    }

    async fn authenticate(&self, token: &str) -> Result<Arc<Identity>, Denied> {
        let verified = match self.verifier.verify(token) {
            Err(error) if error.awaits_keys() => {
                // Boxed: requests that do not wait need not carry the place for it.
                Box::pin(self.verifier.verify_with_new_keys(token)).await
            }
            decided => decided,
        };
        match verified {
            Ok(verified) => Ok(self.identity(&verified)),
            Err(error) if error.is_unavailable() => Err(Denied::Unavailable(
                "the keys of the token's issuer are not there",
            )),
            Err(error) => Err(Denied::BadToken(error)),
        }
    }
}

/// What is wrong with the configuration of tokens and bindings.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// Of an issuer.
    #[error("auth.issuer: {0}")]
    Issuer(#[from] JwtConfigError),
    /// Of a binding.
    #[error(transparent)]
    Binding(#[from] BindingError),
    /// Of logins.
    #[error(transparent)]
    Login(#[from] LoginConfigError),
}

/// The secret that a request carries.
fn secret(headers: &HeaderMap) -> Result<Option<&str>, BadCredentials> {
    let [bearer, api_key] = &Credentials::HEADERS;
    let (bearer, api_key) = (only(headers, bearer)?, only(headers, api_key)?);
    match (bearer, api_key) {
        (None, None) => Ok(None),
        (Some(value), None) => bearer_token(value).map(Some),
        (None, Some(value)) => text(value).map(Some),
        // Which of the two is meant is a guess, and a wrong one would let somebody in.
        (Some(_), Some(_)) => Err(BadCredentials::Ambiguous),
    }
}

fn only<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a HeaderValue>, BadCredentials> {
    let Some(first) = headers.get(name) else {
        return Ok(None);
    };
    match headers.get_all(name).iter().nth(1) {
        None => Ok(Some(first)),
        Some(_) => Err(BadCredentials::Ambiguous),
    }
}

fn bearer_token(value: &HeaderValue) -> Result<&str, BadCredentials> {
    let value = text(value)?;
    let (scheme, token) = value.split_once(' ').ok_or(BadCredentials::Scheme)?;
    // The names of schemes ignore case (RFC 9110, section 11.1).
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(BadCredentials::Scheme);
    }
    Ok(token.trim())
}

fn text(value: &HeaderValue) -> Result<&str, BadCredentials> {
    value.to_str().map_err(|_| BadCredentials::Ambiguous)
}

#[cfg(test)]
mod tests;
