//! The three steps.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use http::{HeaderMap, HeaderName, HeaderValue};
use tidegate_store::now_ms;

use crate::{
    Authorized, BadCredentials, Caller, Credentials, Denied, Grant, Identity, KeyTable, Limiter,
    Permission, Permitted, Principal, Resource,
};

/// Decides about every request, whatever front end it came through.
#[derive(Debug)]
pub struct Gateway {
    /// `None` lets everybody in.
    protected: Option<Protected>,
    /// `None` lets everybody ask for as much as they like.
    limiter: Option<Arc<Limiter>>,
}

#[derive(Debug)]
struct Protected {
    /// `None` until the keys were read for the first time.
    keys: ArcSwapOption<KeyTable>,
    /// Whoever sends no credentials.
    anonymous: Arc<Identity>,
}

impl Gateway {
    /// A gateway that lets everybody do everything, as [`Principal::Anonymous`]. It belongs on a
    /// trusted network.
    pub fn open() -> Self {
        Self {
            protected: None,
            limiter: None,
        }
    }

    /// A gateway that lets callers do what their credentials permit, and those without credentials
    /// what `anonymous` says. No key is known before [`Gateway::set_keys`].
    pub fn protected(anonymous: Vec<Grant>) -> Self {
        let anonymous = Identity::new(Principal::Anonymous, "", anonymous);
        Self {
            protected: Some(Protected {
                keys: ArcSwapOption::empty(),
                anonymous: Arc::new(anonymous),
            }),
            limiter: None,
        }
    }

    /// The same with these limits on requests for predictions.
    #[must_use]
    pub fn with_limiter(self, limiter: Limiter) -> Self {
        Self {
            limiter: Some(Arc::new(limiter)),
            ..self
        }
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

    /// The API keys; none while they were not read.
    pub fn keys(&self) -> Option<Arc<KeyTable>> {
        self.protected.as_ref()?.keys.load_full()
    }

    /// Finds out who sends a request.
    ///
    /// # Errors
    /// [`Denied::BadCredentials`], [`Denied::Unavailable`]. Credentials that are wrong are never
    /// taken for none.
    pub fn authenticate(&self, credentials: Credentials<'_>) -> Result<Caller, Denied> {
        if let Some(caller) = credentials.caller {
            return Ok(caller.clone());
        }
        let identity = match &self.protected {
            None => None,
            Some(protected) => Some(protected.authenticate(credentials.headers())?),
        };
        Ok(Caller { identity })
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
    pub fn admit<R: Resource>(
        &self,
        credentials: Credentials<'_>,
        permission: Permission,
        resource: R,
    ) -> Result<Authorized<R>, Denied> {
        let caller = match permission {
            Permission::Public => Caller { identity: None },
            _ => self.authenticate(credentials)?,
        };
        let permitted = self.authorize(caller, permission, resource)?;
        Ok(permitted.authorized(None))
    }
}

impl Protected {
    fn authenticate(&self, headers: &HeaderMap) -> Result<Arc<Identity>, Denied> {
        let Some(secret) = secret(headers).map_err(Denied::BadCredentials)? else {
            return Ok(self.anonymous.clone());
        };
        if !KeyTable::is_key(secret) {
            return Err(Denied::BadCredentials(BadCredentials::UnknownKind));
        }
        let keys = self.keys.load();
        let Some(keys) = keys.as_ref() else {
            return Err(Denied::Unavailable("the API keys were not read yet"));
        };
        let identity = keys.find(secret, now_ms());
        identity.cloned().map_err(Denied::BadCredentials)
    }
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
