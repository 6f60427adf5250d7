//! How people log in, stay logged in, and log out.

use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, HeaderValue};
use tidegate_store::now_ms;
use tidegate_tokens::{JwtIssuerConfig, LoginAnswer, LoginError};

use super::{Gateway, Protected, TokensError};
use crate::bindings::Bindings;
use crate::login::{BrowserLogin, Holder, Logins, Proof, Provider};
use crate::{
    BadCredentials, BindingConfig, Caller, Credentials, Denied, Identity, KeyDigest, KeyTable,
    LoginConfig,
};

/// Somebody who has shown who they are, and whose session has not begun.
pub struct LoggedIn {
    caller: Caller,
    proof: Proof,
}

impl LoggedIn {
    /// Who it is.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }
}

/// A login that continues at the identity provider.
pub struct ProviderLogin {
    /// Where the browser is sent.
    pub redirect_to: String,
    /// The cookie that the browser comes back with.
    pub cookie: HeaderValue,
}

impl Gateway {
    /// The same, where people may log in with a browser; with a provider, from within a runtime. An
    /// open gateway stays open.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn with_login(
        mut self,
        config: &LoginConfig,
        issuers: &[JwtIssuerConfig],
        bindings: &[BindingConfig],
        has_tls: bool,
    ) -> Result<Self, TokensError> {
        if let Some(protected) = &mut self.protected {
            let issuers = Bindings::with_claims(bindings, issuers);
            protected.logins = Some(Logins::start(config, &issuers, has_tls)?);
        }
        Ok(self)
    }

    /// Whether people may log in with an identity provider.
    pub fn has_provider(&self) -> bool {
        self.provider().is_some()
    }

    /// The owner of an API key, who wants to log in.
    ///
    /// # Errors
    /// [`Denied::BadCredentials`], [`Denied::Unavailable`].
    pub fn log_in_with_key(&self, key: &str) -> Result<LoggedIn, Denied> {
        let protected = self.protected.as_ref().ok_or(NO_LOGIN)?;
        if !KeyTable::is_key(key) {
            return Err(Denied::BadCredentials(BadCredentials::UnknownKey));
        }
        Ok(LoggedIn {
            caller: protected.caller(protected.of_key(key)?),
            proof: Proof::Key(KeyDigest::of(key)),
        })
    }

    /// Begins a login with the provider; `next` is given back by [`Gateway::finish_login`].
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn begin_login(&self, next: String) -> Result<ProviderLogin, LoginError> {
        let (logins, provider) = self.provider().ok_or(LoginError::State)?;
        let _place = provider.call()?;
        let started = provider.oidc.begin().await?;
        let login = BrowserLogin {
            pending: started.pending,
            next,
        };
        Ok(ProviderLogin {
            redirect_to: started.redirect_to,
            cookie: logins.keep(provider, &login)?,
        })
    }

    /// The person that the provider sends back with `answer`, and the page that they asked for.
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn finish_login(
        &self,
        headers: &HeaderMap,
        answer: &LoginAnswer,
    ) -> Result<(LoggedIn, String), LoginError> {
        let (logins, provider) = self.provider().ok_or(LoginError::State)?;
        let protected = self.protected.as_ref().ok_or(LoginError::State)?;
        let tokens = protected.tokens.as_ref().ok_or(LoginError::State)?;
        let kept = logins.kept(provider, headers)?;
        let _place = provider.call()?;
        let verified = provider.oidc.finish(&kept.pending, answer).await?;
        // The token says who it is now. How long a session lasts is for the configuration to say:
        // ID tokens often expire after minutes.
        let identity = Arc::new(tokens.bindings.identity(&verified).valid_until(None));
        let logged_in = LoggedIn {
            caller: protected.caller(identity.clone()),
            proof: Proof::Token(identity),
        };
        Ok((logged_in, kept.next))
    }

    /// Begins a session in place of the one that `headers` name, and gives its cookie.
    ///
    /// # Errors
    /// [`Denied::Unavailable`].
    pub fn begin_session(
        &self,
        logged_in: &LoggedIn,
        headers: &HeaderMap,
    ) -> Result<HeaderValue, Denied> {
        let logins = self.logins().ok_or(NO_LOGIN)?;
        // The browser is about to lose the cookie of its former session, which must not stay valid
        // without it.
        self.end_session(headers);
        let holder = Holder {
            principal: logged_in.caller.principal().clone(),
            proof: logged_in.proof.clone(),
        };
        let id = logins.sessions.begin(holder, Instant::now());
        let id = id.map_err(|_| Denied::Unavailable("the system has no random numbers"))?;
        Ok(logins.session_cookie(&id))
    }

    /// Ends the session that `headers` name.
    pub fn end_session(&self, headers: &HeaderMap) {
        if let Some(logins) = self.logins()
            && let Some(id) = logins.session_id(headers)
        {
            logins.sessions.end(id);
        }
    }

    /// What makes a browser forget its cookies: those of its session and of a login.
    pub fn no_cookies(&self) -> Vec<HeaderValue> {
        match self.logins() {
            None => Vec::new(),
            Some(logins) => vec![logins.no_session_cookie(), logins.no_login_cookie()],
        }
    }

    /// Who has the session that `headers` name.
    pub fn session(&self, headers: &HeaderMap) -> Option<Caller> {
        let protected = self.protected.as_ref()?;
        Some(protected.caller(protected.session(headers)?))
    }

    fn logins(&self) -> Option<&Logins> {
        self.protected.as_ref()?.logins.as_ref()
    }

    fn provider(&self) -> Option<(&Logins, &Provider)> {
        let logins = self.logins()?;
        Some((logins, logins.provider.as_ref()?))
    }
}

impl Protected {
    /// Who has the session that `headers` name.
    pub(super) fn session(&self, headers: &HeaderMap) -> Option<Arc<Identity>> {
        let logins = self.logins.as_ref()?;
        let id = logins.session_id(headers)?;
        self.identity(logins.sessions.holder(id, Instant::now())?)
    }

    /// The same, where sessions count.
    pub(super) fn of_session(&self, credentials: Credentials<'_>) -> Option<Arc<Identity>> {
        match credentials.takes_session {
            true => self.session(credentials.headers()),
            false => None,
        }
    }

    /// Who has the session of a request, which keeps the session from being idle.
    pub(super) fn use_session(&self, headers: &HeaderMap) -> Option<Arc<Identity>> {
        let logins = self.logins.as_ref()?;
        let id = logins.session_id(headers)?;
        self.identity(logins.sessions.use_by_holder(id, Instant::now())?)
    }

    /// `None` if the key was revoked or has expired.
    fn identity(&self, holder: Holder) -> Option<Arc<Identity>> {
        match holder.proof {
            Proof::Key(digest) => {
                let keys = self.keys.load();
                keys.as_ref()?.find_digest(&digest, now_ms()).cloned().ok()
            }
            Proof::Token(identity) => Some(identity),
        }
    }
}

/// Nobody can log in where everybody is let in.
const NO_LOGIN: Denied = Denied::Unavailable("authentication is off");

#[cfg(test)]
mod tests;
