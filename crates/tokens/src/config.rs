//! The configuration of one issuer.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use reqwest::Url;
use serde::{Deserialize, Serialize};

use crate::Algorithm;

/// An issuer whose tokens are accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JwtIssuerConfig {
    /// The issuer's URL, exactly as in the tokens' `iss`.
    pub issuer: String,
    /// Names of this server: a token's `aud` must have one of them.
    pub audiences: Vec<String>,
    /// Where the key set is. Without it, the issuer's `/.well-known/openid-configuration` tells.
    pub jwks_url: Option<String>,
    /// The algorithms that tokens may be signed with.
    pub algorithms: Vec<Algorithm>,
    /// How far the issuer's clock may be from ours, in seconds, at most 600.
    pub clock_skew_s: u32,
    /// Longest token in bytes.
    pub max_token_bytes: usize,
    /// How many verified tokens are remembered.
    pub max_cached_tokens: usize,
    /// Claims that a token must have, each with the values that it may have; with none listed, any.
    pub required_claims: BTreeMap<String, Vec<String>>,
    /// The claim with the subject. All claims are named by their name or by a path with dots.
    pub subject_claim: String,
    /// The claim with the tenant. If set, a token without it is refused.
    pub tenant_claim: Option<String>,
    /// The claim with the groups or roles.
    pub groups_claim: Option<String>,
    /// Further claims that are kept with a verified token.
    pub kept_claims: Vec<String>,
    /// Least seconds from one fetch of the keys to the next.
    pub min_refresh_s: u32,
    /// Most seconds until the keys are fetched again. A shorter `Cache-Control: max-age` is
    /// followed.
    pub max_refresh_s: u32,
    /// How old the keys may become while the issuer is down, in seconds; then its tokens are
    /// answered with 503.
    pub max_key_age_s: u32,
    /// Longest time for one HTTP request to the issuer, in milliseconds.
    pub fetch_timeout_ms: u32,
    /// Certificates of authorities that the issuer's certificate may be signed with, in PEM, besides
    /// those of the operating system.
    pub ca_file: Option<PathBuf>,
}

impl Default for JwtIssuerConfig {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            audiences: Vec::new(),
            jwks_url: None,
            algorithms: vec![Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa],
            clock_skew_s: 60,
            max_token_bytes: 16 * 1024,
            max_cached_tokens: 10_000,
            required_claims: BTreeMap::new(),
            subject_claim: "sub".to_owned(),
            tenant_claim: None,
            groups_claim: None,
            kept_claims: Vec::new(),
            min_refresh_s: 10,
            max_refresh_s: 900,
            max_key_age_s: 24 * 3600,
            fetch_timeout_ms: 5_000,
            ca_file: None,
        }
    }
}

/// What is wrong with the configuration of an issuer.
#[derive(Debug, thiserror::Error)]
#[error("issuer {issuer:?}: {problem}")]
pub struct JwtConfigError {
    issuer: String,
    problem: String,
}

impl JwtConfigError {
    pub(crate) fn new(config: &JwtIssuerConfig, problem: impl Into<String>) -> Self {
        Self {
            issuer: config.issuer.clone(),
            problem: problem.into(),
        }
    }
}

impl JwtIssuerConfig {
    /// Checks what the types do not.
    pub fn check(&self) -> Result<(), JwtConfigError> {
        self.problem()
            .map_or(Ok(()), |problem| Err(JwtConfigError::new(self, problem)))
    }

    fn problem(&self) -> Option<String> {
        let urls = [
            ("issuer", Some(&self.issuer)),
            ("jwks_url", self.jwks_url.as_ref()),
        ];
        for (key, url) in urls {
            if let Some(Err(problem)) = url.map(|url| safe_url(url)) {
                return Some(format!("{key} {problem}"));
            }
        }
        if self.audiences.is_empty() || self.audiences.iter().any(String::is_empty) {
            // A token for another service of the same issuer would be accepted.
            return Some("audiences must name this server".to_owned());
        }
        if self.algorithms.is_empty() {
            return Some("algorithms must not be empty".to_owned());
        }
        if self.min_refresh_s > self.max_refresh_s || self.max_refresh_s > self.max_key_age_s {
            let order = "min_refresh_s must not exceed max_refresh_s, nor that max_key_age_s";
            return Some(order.to_owned());
        }
        self.out_of_range()
    }

    fn out_of_range(&self) -> Option<String> {
        let ranges = [
            ("clock_skew_s", self.clock_skew_s as usize, 0, 600),
            ("max_token_bytes", self.max_token_bytes, 256, 64 * 1024),
            ("max_cached_tokens", self.max_cached_tokens, 0, 1_000_000),
            ("min_refresh_s", self.min_refresh_s as usize, 1, 3600),
            ("max_refresh_s", self.max_refresh_s as usize, 1, 86_400),
            (
                "max_key_age_s",
                self.max_key_age_s as usize,
                60,
                30 * 86_400,
            ),
            (
                "fetch_timeout_ms",
                self.fetch_timeout_ms as usize,
                100,
                60_000,
            ),
        ];
        let wrong = ranges
            .iter()
            .find(|(_, value, least, most)| value < least || value > most);
        wrong.map(|(key, _, least, most)| format!("{key} must be {least} to {most}"))
    }
}

/// Parses a URL that keys may come from: HTTPS, or HTTP on this machine. Over plain HTTP anyone on
/// the way could exchange the keys.
pub(crate) fn safe_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        _ => Err("must begin with https:// (or http:// on a loopback address)".to_owned()),
    }
}

fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else {
        return false;
    };
    let address = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(toml: &str) -> Result<JwtIssuerConfig, String> {
        let config: JwtIssuerConfig = toml::from_str(toml).map_err(|error| error.to_string())?;
        config.check().map_err(|error| error.to_string())?;
        Ok(config)
    }

    fn with(line: &str) -> Result<JwtIssuerConfig, String> {
        config(&format!(
            "issuer = \"https://a.example\"\naudiences = [\"b\"]\n{line}"
        ))
    }

    #[test]
    fn issuer_and_audiences_are_enough() {
        assert!(with("").is_ok());
        assert!(config("issuer = \"https://a.example\"").is_err());
        assert!(config("audiences = [\"b\"]").is_err());
    }

    #[test]
    fn a_shared_secret_is_no_algorithm() {
        assert!(with("algorithms = [\"ES256\", \"Ed25519\"]").is_ok());
        for name in ["HS256", "none", "rs256"] {
            assert!(
                with(&format!("algorithms = [\"{name}\"]")).is_err(),
                "{name}"
            );
        }
        assert!(with("algorithms = []").is_err());
    }

    #[test]
    fn keys_come_over_https_or_from_this_machine() {
        for url in [
            "https://x.example/k",
            "http://127.0.0.1:1/k",
            "http://[::1]/k",
            "http://localhost/k",
        ] {
            assert!(with(&format!("jwks_url = \"{url}\"")).is_ok(), "{url}");
        }
        for url in [
            "http://x.example/k",
            "http://127.0.0.1.x.example/k",
            "ftp://x.example",
            "keys.json",
        ] {
            assert!(with(&format!("jwks_url = \"{url}\"")).is_err(), "{url}");
        }
    }

    #[test]
    fn limits_are_bounded_and_unknown_keys_refused() {
        for line in [
            "clock_skew_s = 601",
            "max_token_bytes = 10",
            "min_refresh_s = 0",
            "max_refresh_s = 5",
            "max_key_age_s = 600",
            "jwks = \"https://x.example\"",
        ] {
            assert!(with(line).is_err(), "{line}");
        }
    }
}
