//! Login of people in a browser: the authorization code flow of OpenID Connect with PKCE (RFC 7636).

mod seal;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::Url;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::safe_url;
use crate::fetch::{FetchError, Fetcher, Metadata};
use crate::{JwtConfigError, JwtIssuerConfig, JwtVerifier, TokenError, VerifiedToken};

pub use self::seal::LoginSeal;

/// How long a person may take to log in.
const MAX_LOGIN: Duration = Duration::from_secs(600);
/// Random bytes in each secret of a login: 256 bits.
const SECRET_BYTES: usize = 32;

/// How people log in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OidcLoginConfig {
    /// The id under which the issuer knows this server.
    pub client_id: String,
    /// The file with the secret that goes with it. Without it this server is a public client, which
    /// PKCE alone protects.
    pub client_secret_file: Option<PathBuf>,
    /// Where the issuer sends the browser back to, as registered there.
    pub redirect_url: String,
    /// Scopes besides `openid`, such as `profile` or `groups`.
    pub scopes: Vec<String>,
}

/// Logs people in with one issuer.
pub struct OidcLogin {
    verifier: JwtVerifier,
    fetcher: Fetcher,
    config: OidcLoginConfig,
    client_secret: Option<String>,
}

/// A login that has begun.
pub struct LoginStart {
    /// Where the browser is sent.
    pub redirect_to: String,
    /// What [`OidcLogin::finish`] needs.
    pub pending: PendingLogin,
}

/// What the browser keeps of a login until it comes back, in a cookie that is sealed, `HttpOnly`
/// and `SameSite=Lax`: whoever can read it can finish the login.
#[derive(Clone, Serialize, Deserialize)]
pub struct PendingLogin {
    state: String,
    nonce: String,
    code_verifier: String,
    began_at: SystemTime,
}

/// What the issuer sends the browser back with, from the query of the redirect.
#[derive(Clone, Deserialize)]
pub struct LoginAnswer {
    /// The code that is exchanged for an ID token.
    pub code: String,
    /// The state that the login began with.
    pub state: String,
    /// The issuer's name (RFC 9207), if it sends it.
    pub iss: Option<String>,
}

/// Why a login failed. The texts quote neither codes nor tokens.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The issuer cannot be reached, or answers with an error.
    #[error("the issuer does not answer as it must: {0}")]
    Issuer(String),
    /// The answer belongs to another login, perhaps one that somebody else began.
    #[error("the answer does not belong to this login")]
    State,
    /// The issuer refuses the code: it was used before, or never given, or has expired.
    #[error("the issuer refuses the code of this login; begin again")]
    Code,
    /// The person took too long.
    #[error("the login took longer than ten minutes")]
    Late,
    /// The ID token is refused.
    #[error("the issuer's ID token is refused: {0}")]
    Token(#[from] TokenError),
}

#[derive(Deserialize)]
struct TokenAnswer {
    id_token: String,
}

impl OidcLogin {
    /// Prepares logins with an issuer. Its `audiences` are not used: an ID token is for the client.
    pub fn start(
        issuer: &JwtIssuerConfig,
        config: OidcLoginConfig,
    ) -> Result<Self, JwtConfigError> {
        if config.client_id.is_empty() {
            return Err(JwtConfigError::new(issuer, "client_id must not be empty"));
        }
        safe_url(&config.redirect_url)
            .map_err(|problem| JwtConfigError::new(issuer, format!("redirect_url {problem}")))?;
        let mut for_client = issuer.clone();
        for_client.audiences = vec![config.client_id.clone()];
        for_client
            .kept_claims
            .extend(["nonce", "azp"].map(str::to_owned));
        Ok(Self {
            verifier: JwtVerifier::start(std::slice::from_ref(&for_client))?,
            fetcher: Fetcher::new(&for_client)?,
            client_secret: read_secret(issuer, &config)?,
            config,
        })
    }

    /// Begins a login.
    pub async fn begin(&self) -> Result<LoginStart, LoginError> {
        let metadata = self.metadata().await?;
        let pending = PendingLogin {
            state: random_text()?,
            nonce: random_text()?,
            code_verifier: random_text()?,
            began_at: SystemTime::now(),
        };
        let mut url = endpoint(metadata.authorization_endpoint.as_deref())?;
        let challenge = digest(&SHA256, pending.code_verifier.as_bytes());
        let mut scopes = vec!["openid"];
        scopes.extend(self.config.scopes.iter().map(String::as_str));
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.config.client_id)
            .append_pair("redirect_uri", &self.config.redirect_url)
            .append_pair("scope", &scopes.join(" "))
            .append_pair("state", &pending.state)
            .append_pair("nonce", &pending.nonce)
            .append_pair("code_challenge", &URL_SAFE_NO_PAD.encode(challenge))
            .append_pair("code_challenge_method", "S256");
        Ok(LoginStart {
            redirect_to: url.into(),
            pending,
        })
    }

    /// Finishes a login: exchanges the code, and verifies the ID token that comes for it.
    pub async fn finish(
        &self,
        pending: &PendingLogin,
        answer: &LoginAnswer,
    ) -> Result<Arc<VerifiedToken>, LoginError> {
        pending.check(answer)?;
        let metadata = self.metadata().await?;
        // Otherwise the code of one issuer could be exchanged at another (mix-up, RFC 9207).
        if answer
            .iss
            .as_ref()
            .is_some_and(|iss| *iss != metadata.issuer)
        {
            return Err(LoginError::State);
        }
        let token = self.exchange(&metadata, pending, &answer.code).await?;
        let verified = self.verifier.verify_with_new_keys(&token).await?;
        self.check_id_token(&verified, pending)?;
        Ok(verified)
    }

    async fn metadata(&self) -> Result<Metadata, LoginError> {
        let fetched = self.fetcher.metadata().await;
        let (_, metadata) = fetched.map_err(|error| LoginError::Issuer(error.to_string()))?;
        Ok(metadata)
    }

    /// The ID token for a code.
    async fn exchange(
        &self,
        metadata: &Metadata,
        pending: &PendingLogin,
        code: &str,
    ) -> Result<String, LoginError> {
        let url = endpoint(metadata.token_endpoint.as_deref())?;
        let (form, authorization) = self.token_request(metadata, pending, code);
        let posted = self.fetcher.post_form(&url, form, authorization);
        let body = posted.await.map_err(|error| match error {
            // RFC 6749, section 5.2. Anybody can send a code that was never given.
            FetchError::Status { status: 400, .. } => LoginError::Code,
            other => LoginError::Issuer(other.to_string()),
        })?;
        let answer = serde_json::from_slice::<TokenAnswer>(&body);
        let answer = answer.map_err(|_| LoginError::Issuer("there is no ID token".to_owned()))?;
        Ok(answer.id_token)
    }

    /// The form that asks for the token, and the credentials of this client.
    fn token_request(
        &self,
        metadata: &Metadata,
        pending: &PendingLogin,
        code: &str,
    ) -> (String, Option<String>) {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", &self.config.redirect_url)
            .append_pair("client_id", &self.config.client_id)
            .append_pair("code_verifier", &pending.code_verifier);
        let authorization = match &self.client_secret {
            Some(secret) if metadata.takes_secret_in_form() => {
                form.append_pair("client_secret", secret);
                None
            }
            Some(secret) => Some(basic(&self.config.client_id, secret)),
            None => None,
        };
        (form.finish(), authorization)
    }

    /// What an ID token must have besides (OpenID Connect Core 1.0, section 3.1.3.7).
    fn check_id_token(
        &self,
        token: &VerifiedToken,
        pending: &PendingLogin,
    ) -> Result<(), TokenError> {
        if token.claims.get("nonce").and_then(Value::as_str) != Some(&pending.nonce) {
            return Err(TokenError::ClaimValue("nonce".into()));
        }
        let party = token.claims.get("azp");
        if party.is_some_and(|party| party.as_str() != Some(&self.config.client_id)) {
            return Err(TokenError::ClaimValue("azp".into()));
        }
        Ok(())
    }
}

impl PendingLogin {
    fn check(&self, answer: &LoginAnswer) -> Result<(), LoginError> {
        // By their digests, so that the time it takes tells nothing of the state.
        let [ours, theirs] =
            [&self.state, &answer.state].map(|text| digest(&SHA256, text.as_bytes()));
        if ours.as_ref() != theirs.as_ref() {
            return Err(LoginError::State);
        }
        // A clock that was set back makes no login late.
        match self.began_at.elapsed() {
            Ok(elapsed) if elapsed > MAX_LOGIN => Err(LoginError::Late),
            _ => Ok(()),
        }
    }
}

fn endpoint(text: Option<&str>) -> Result<Url, LoginError> {
    let text = text.ok_or_else(|| LoginError::Issuer("an endpoint is missing".to_owned()))?;
    safe_url(text).map_err(|problem| LoginError::Issuer(format!("its endpoint {problem}")))
}

fn random_text() -> Result<String, LoginError> {
    let mut bytes = [0; SECRET_BYTES];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| LoginError::Issuer("the system has no random bytes".to_owned()))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// Both are form-encoded first (RFC 6749, section 2.3.1).
fn basic(client_id: &str, secret: &str) -> String {
    let pair = [client_id, secret].map(form_encoded);
    format!("Basic {}", STANDARD.encode(pair.join(":")))
}

fn form_encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn read_secret(
    issuer: &JwtIssuerConfig,
    config: &OidcLoginConfig,
) -> Result<Option<String>, JwtConfigError> {
    let Some(file) = &config.client_secret_file else {
        return Ok(None);
    };
    match std::fs::read_to_string(file) {
        Ok(text) if !text.trim().is_empty() => Ok(Some(text.trim().to_owned())),
        Ok(_) => Err(JwtConfigError::new(issuer, "client_secret_file is empty")),
        Err(error) => {
            let problem = format!("client_secret_file {}: {error}", file.display());
            Err(JwtConfigError::new(issuer, problem))
        }
    }
}

#[cfg(test)]
mod tests;
