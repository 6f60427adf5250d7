//! Fetching an issuer's metadata and key set.

use std::path::Path;
use std::time::Duration;

use http::{HeaderMap, header};
use reqwest::{Certificate, Client, RequestBuilder, Url, redirect};
use serde::Deserialize;

use crate::config::safe_url;
use crate::key_set::KeySet;
use crate::{JwtConfigError, JwtIssuerConfig};

/// Longest answer of an issuer in bytes.
const MAX_ANSWER: usize = 256 * 1024;

/// Fetches from one issuer.
pub(crate) struct Fetcher {
    config: JwtIssuerConfig,
    /// With the authorities that were there at the start.
    client: Client,
    jwks_url: Option<Url>,
}

/// A key set and how long it may be used.
pub(crate) struct FetchedKeys {
    pub(crate) keys: KeySet,
    /// What `Cache-Control` allows, if it says anything useful.
    pub(crate) max_age: Option<Duration>,
}

/// Why the keys could not be fetched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("{url}: {reason}")]
    Request { url: String, reason: String },
    #[error("{url} answered {status}")]
    Status { url: String, status: u16 },
    #[error("{url} answered more than {MAX_ANSWER} bytes")]
    TooLong { url: String },
    #[error("{url}: {problem}")]
    Content { url: String, problem: String },
}

/// The part of an issuer's metadata that is used (OpenID Connect Discovery 1.0, section 3).
#[derive(Deserialize)]
pub(crate) struct Metadata {
    pub(crate) issuer: String,
    pub(crate) jwks_uri: String,
    pub(crate) authorization_endpoint: Option<String>,
    pub(crate) token_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

impl Metadata {
    /// Whether a client's secret goes into the form: only where the header is not taken, which is
    /// the default.
    pub(crate) fn takes_secret_in_form(&self) -> bool {
        let methods = self.token_endpoint_auth_methods_supported.as_deref();
        let methods = methods.unwrap_or_default();
        methods.iter().any(|method| method == "client_secret_post")
            && !methods.iter().any(|method| method == "client_secret_basic")
    }
}

impl Fetcher {
    pub(crate) fn new(config: &JwtIssuerConfig) -> Result<Self, JwtConfigError> {
        // Another part of the process may have set it: the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let jwks_url = config.jwks_url.as_deref().map(safe_url).transpose();
        Ok(Self {
            client: client(config)?,
            config: config.clone(),
            jwks_url: jwks_url.map_err(|problem| JwtConfigError::new(config, problem))?,
        })
    }

    /// Fetches the key set. Its address is asked for each time, so that it may move.
    pub(crate) async fn keys(&self) -> Result<FetchedKeys, FetchError> {
        let url = match &self.jwks_url {
            Some(url) => url.clone(),
            None => self.discovered_jwks_url().await?,
        };
        let (headers, body) = self.get(&url).await?;
        let keys = KeySet::parse(&body).map_err(|problem| FetchError::content(&url, problem))?;
        Ok(FetchedKeys {
            keys,
            max_age: max_age(&headers),
        })
    }

    async fn discovered_jwks_url(&self) -> Result<Url, FetchError> {
        let (url, metadata) = self.metadata().await?;
        safe_url(&metadata.jwks_uri)
            .map_err(|problem| FetchError::content(&url, format!("its jwks_uri {problem}")))
    }

    /// The issuer's metadata, and where it was found.
    pub(crate) async fn metadata(&self) -> Result<(Url, Metadata), FetchError> {
        let base = self.config.issuer.trim_end_matches('/');
        let text = format!("{base}/.well-known/openid-configuration");
        let url = safe_url(&text).map_err(|problem| FetchError::Content {
            url: text.clone(),
            problem,
        })?;
        let (_, body) = self.get(&url).await?;
        let metadata = serde_json::from_slice::<Metadata>(&body)
            .map_err(|error| FetchError::content(&url, error.to_string()))?;
        // Otherwise one issuer could pass off its keys as those of another (section 4.3).
        if metadata.issuer != self.config.issuer {
            let problem = format!("it is the metadata of issuer {:?}", metadata.issuer);
            return Err(FetchError::content(&url, problem));
        }
        Ok((url, metadata))
    }

    /// Posts a form, and gives the answer's body.
    pub(crate) async fn post_form(
        &self,
        url: &Url,
        form: String,
        authorization: Option<String>,
    ) -> Result<Vec<u8>, FetchError> {
        let mut request = self.client().await.post(url.clone()).body(form);
        request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let (_, body) = receive(url, request).await?;
        Ok(body)
    }

    async fn get(&self, url: &Url) -> Result<(HeaderMap, Vec<u8>), FetchError> {
        receive(url, self.client().await.get(url.clone())).await
    }

    /// A client with the authorities that are in the file now: they are renewed while the server runs.
    /// While the file cannot be read, those of the start are used.
    async fn client(&self) -> Client {
        if self.config.ca_file.is_none() {
            return self.client.clone();
        }
        let config = self.config.clone();
        let made = tokio::task::spawn_blocking(move || client(&config)).await;
        made.ok()
            .and_then(Result::ok)
            .unwrap_or_else(|| self.client.clone())
    }
}

/// Sends a request, and reads the bounded answer.
async fn receive(url: &Url, request: RequestBuilder) -> Result<(HeaderMap, Vec<u8>), FetchError> {
    let sent = request.send().await;
    let mut answer = sent.map_err(|error| FetchError::request(url, error))?;
    if !answer.status().is_success() {
        return Err(FetchError::Status {
            url: url.to_string(),
            status: answer.status().as_u16(),
        });
    }
    let mut body = Vec::new();
    loop {
        let chunk = answer.chunk().await;
        let chunk = chunk.map_err(|error| FetchError::request(url, error))?;
        let Some(chunk) = chunk else {
            return Ok((answer.headers().clone(), body));
        };
        if body.len() + chunk.len() > MAX_ANSWER {
            let url = url.to_string();
            return Err(FetchError::TooLong { url });
        }
        body.extend_from_slice(&chunk);
    }
}

impl FetchError {
    fn request(url: &Url, error: reqwest::Error) -> Self {
        let error = error.without_url();
        // The outer error only says that sending failed; the cause is in the last.
        let mut cause: &dyn std::error::Error = &error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        Self::Request {
            url: url.to_string(),
            reason: cause.to_string(),
        }
    }

    fn content(url: &Url, problem: impl Into<String>) -> Self {
        Self::Content {
            url: url.to_string(),
            problem: problem.into(),
        }
    }
}

fn client(config: &JwtIssuerConfig) -> Result<Client, JwtConfigError> {
    let mut builder = Client::builder()
        .timeout(Duration::from_millis(config.fetch_timeout_ms.into()))
        .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
        // A redirect could lead to plain HTTP, or to a host that nobody has configured.
        .redirect(redirect::Policy::none());
    if let Some(file) = &config.ca_file {
        let read = certificates(file);
        let read = read.map_err(|problem| {
            JwtConfigError::new(config, format!("ca_file {}: {problem}", file.display()))
        })?;
        builder = builder.tls_certs_merge(read);
    }
    let built = builder.build();
    built.map_err(|error| JwtConfigError::new(config, format!("no HTTP client: {error}")))
}

fn certificates(file: &Path) -> Result<Vec<Certificate>, String> {
    let pem = std::fs::read(file).map_err(|error| error.to_string())?;
    let read = Certificate::from_pem_bundle(&pem).map_err(|error| error.to_string())?;
    match read.is_empty() {
        true => Err("it has no certificate".to_owned()),
        false => Ok(read),
    }
}

/// How much longer an answer is fresh (RFC 9111, section 4.2). None if it does not say, or demands
/// that it is never reused: then the configured interval applies.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let control = headers.get(header::CACHE_CONTROL)?.to_str().ok()?;
    let mut directives = control.split(',').map(str::trim);
    let age = directives.find_map(|directive| {
        let (name, value) = directive.split_once('=')?;
        let seconds = value.trim_matches('"').parse::<u64>().ok()?;
        name.eq_ignore_ascii_case("max-age").then_some(seconds)
    })?;
    let spent = headers
        .get(header::AGE)
        .and_then(|age| age.to_str().ok()?.parse().ok());
    // The time that the answer has spent in caches on its way counts (RFC 9111, section 4.2).
    let left = age.saturating_sub(spent.unwrap_or(0));
    (age > 0).then(|| Duration::from_secs(left))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn seconds(control: &'static str, age: Option<&'static str>) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(control));
        if let Some(age) = age {
            headers.insert(header::AGE, HeaderValue::from_static(age));
        }
        max_age(&headers).map(|age| age.as_secs())
    }

    #[test]
    fn freshness_is_max_age_without_the_time_in_caches_on_the_way() {
        assert_eq!(
            seconds("public, max-age=3600, must-revalidate", None),
            Some(3600)
        );
        assert_eq!(seconds("Max-Age=\"20\"", Some("5")), Some(15));
        assert_eq!(seconds("max-age=20", Some("50")), Some(0));
    }

    #[test]
    fn an_answer_that_is_never_fresh_says_nothing_about_the_interval() {
        for control in [
            "no-cache",
            "no-store",
            "max-age=0",
            "max-age=-1",
            "s-maxage=9",
        ] {
            assert_eq!(seconds(control, None), None, "{control}");
        }
    }
}
