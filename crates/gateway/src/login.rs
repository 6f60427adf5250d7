//! How people in browsers stay logged in: sessions, and the cookies that they and logins are kept in.

mod config;
mod cookie;
mod sessions;

use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use tidegate_tokens::{
    JwtIssuerConfig, LoginError, LoginSeal, OidcLogin, OidcLoginConfig, PendingLogin,
};
use tokio::sync::{Semaphore, SemaphorePermit};

pub use self::config::{LoginConfig, LoginConfigError};
use self::cookie::Cookie;
pub(crate) use self::sessions::{Holder, Proof, SessionId, Sessions};

/// The path that a provider sends browsers back to.
const CALLBACK: &str = "/console/login/callback";
/// How long a browser keeps a login that has begun, in seconds.
const MAX_LOGIN_S: u32 = 600;
/// Most logins that wait for the provider at the same time.
const MAX_CALLS: usize = 32;

/// The logins of a server.
pub(crate) struct Logins {
    pub(crate) sessions: Sessions,
    pub(crate) provider: Option<Provider>,
    session_cookie: Cookie,
    login_cookie: Cookie,
}

/// The identity provider that people may log in with.
pub(crate) struct Provider {
    pub(crate) oidc: OidcLogin,
    seal: LoginSeal,
    /// Calls of the provider: anybody can have the server make some.
    calls: Semaphore,
}

/// What a browser keeps while it is at the provider.
#[derive(Serialize, Deserialize)]
pub(crate) struct BrowserLogin {
    pub(crate) pending: PendingLogin,
    /// The page that was asked for.
    pub(crate) next: String,
}

impl Logins {
    /// Prepares logins; with a provider, from within a runtime. `has_tls` says whether the server
    /// itself speaks TLS with browsers.
    pub(crate) fn start(
        config: &LoginConfig,
        issuers: &[JwtIssuerConfig],
        has_tls: bool,
    ) -> Result<Self, LoginConfigError> {
        config.check()?;
        let provider = match &config.issuer {
            None => None,
            Some(named) => {
                let issuer = issuers.iter().find(|issuer| issuer.issuer == *named);
                let issuer = issuer.ok_or_else(|| LoginConfigError::issuer(named))?;
                Some(Provider::start(config, issuer)?)
            }
        };
        let is_secure = has_tls || config.is_secure();
        Ok(Self {
            sessions: Sessions::new(config),
            provider,
            session_cookie: Cookie::new("tidegate_session", is_secure),
            login_cookie: Cookie::new("tidegate_login", is_secure),
        })
    }

    /// What the browser sends of its session; `None` also if it sends several.
    pub(crate) fn session_id<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        self.session_cookie.read(headers)
    }

    /// Sets the cookie of a session. It ends with the browser, or with the session.
    pub(crate) fn session_cookie(&self, id: &SessionId) -> HeaderValue {
        self.session_cookie.set(id.reveal(), None)
    }

    /// Removes the cookie of a session.
    pub(crate) fn no_session_cookie(&self) -> HeaderValue {
        self.session_cookie.set("", Some(0))
    }

    /// Removes the cookie of a login.
    pub(crate) fn no_login_cookie(&self) -> HeaderValue {
        self.login_cookie.set("", Some(0))
    }

    /// The cookie that keeps a login until the browser comes back.
    pub(crate) fn keep(
        &self,
        provider: &Provider,
        login: &BrowserLogin,
    ) -> Result<HeaderValue, LoginError> {
        let sealed = provider.seal.seal(login)?;
        Ok(self.login_cookie.set(&sealed, Some(MAX_LOGIN_S)))
    }

    /// The login that the browser keeps.
    pub(crate) fn kept(
        &self,
        provider: &Provider,
        headers: &HeaderMap,
    ) -> Result<BrowserLogin, LoginError> {
        let sealed = self.login_cookie.read(headers);
        provider.seal.open(sealed.unwrap_or_default())
    }
}

impl Provider {
    /// A place among those that wait for the provider.
    pub(crate) fn call(&self) -> Result<SemaphorePermit<'_>, LoginError> {
        let place = self.calls.try_acquire();
        place.map_err(|_| LoginError::Issuer("too many logins wait for it".to_owned()))
    }

    fn start(config: &LoginConfig, issuer: &JwtIssuerConfig) -> Result<Self, LoginConfigError> {
        let base = config.public_url.as_deref().unwrap_or_default();
        let oidc = OidcLoginConfig {
            client_id: config.client_id.clone(),
            client_secret_file: config.client_secret_file.clone(),
            redirect_url: format!("{}{CALLBACK}", base.trim_end_matches('/')),
            scopes: config.scopes.clone(),
        };
        let oidc = OidcLogin::start(issuer, oidc).map_err(LoginConfigError::of)?;
        let seal = LoginSeal::new().map_err(LoginConfigError::of)?;
        Ok(Self {
            oidc,
            seal,
            calls: Semaphore::new(MAX_CALLS),
        })
    }
}
