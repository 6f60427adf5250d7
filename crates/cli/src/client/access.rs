//! What this user shows a server, and how the server is verified.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use ureq::http::{HeaderValue, header};
use ureq::{Agent, RequestBuilder};

use super::tls;
use crate::contexts::{Contexts, is_readable_on_the_way};

/// The environment variable with the API key or token that commands send to servers.
const TOKEN: &str = "TIDEGATE_TOKEN";

/// What is shown to one server, and to no other.
pub(crate) struct Access {
    token: Option<String>,
    ca_file: Option<PathBuf>,
}

impl Access {
    /// With the token of the environment, or else with the context of this very server.
    pub(crate) fn to(url: &str) -> Result<Self> {
        if let Some(token) = environment_token() {
            return Ok(Self::with(token));
        }
        let contexts = Contexts::read()?;
        let context = contexts.of_server(url);
        if context.is_some_and(|context| !context.insecure_http) && is_readable_on_the_way(url) {
            bail!(
                "the key for {url} would be sent unencrypted, for others on the way to read: log in with \
                 https://, or again with --insecure-http if the network is safe"
            );
        }
        Ok(Self {
            token: context.map(|context| context.token.clone()),
            ca_file: context.and_then(|context| context.ca_file.clone()),
        })
    }

    /// With this token.
    pub(crate) fn with(token: String) -> Self {
        Self {
            token: Some(token),
            ca_file: None,
        }
    }

    /// The API key or token, if there is one.
    pub(crate) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    pub(super) fn agent(&self, timeout: Option<Duration>) -> Result<Agent> {
        let config = Agent::config_builder()
            .tls_config(tls::config(self.ca_file.as_deref())?)
            .timeout_global(timeout)
            // No server that we ask sends us elsewhere. Whoever does so is not the one that the
            // credential is for, and must not be asked in its place.
            .max_redirects(0)
            // The body of an error response has the reason; as an error of ureq it would be lost.
            .http_status_as_error(false);
        Ok(config.build().into())
    }

    pub(super) fn authorize<B>(&self, request: RequestBuilder<B>) -> Result<RequestBuilder<B>> {
        let Some(token) = &self.token else {
            return Ok(request);
        };
        let value = HeaderValue::try_from(format!("Bearer {token}"));
        let mut value = value.map_err(|_| anyhow!("the token has characters that no token has"))?;
        value.set_sensitive(true);
        Ok(request.header(header::AUTHORIZATION, value))
    }
}

/// The token that the environment says is for every server.
pub(crate) fn environment_token() -> Option<String> {
    let token = std::env::var(TOKEN).ok()?.trim().to_owned();
    Some(token).filter(|token| !token.is_empty())
}
