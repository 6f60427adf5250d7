//! The configuration of logins.

use std::fmt::Display;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The `[auth.login]` section: how people log in to the console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoginConfig {
    /// The address of the server as browsers know it, such as `https://models.example.com`. With
    /// `https`, browsers send the cookies over TLS only.
    pub public_url: Option<String>,
    /// The issuer that people may log in with: one of `auth.issuer`. Without it they log in with keys
    /// only.
    pub issuer: Option<String>,
    /// The id under which the issuer knows this server.
    pub client_id: String,
    /// The file with the secret that goes with `client_id`.
    pub client_secret_file: Option<PathBuf>,
    /// Scopes besides `openid`.
    pub scopes: Vec<String>,
    /// After how many seconds without a request a session ends, 60 to `session_max_age_s`.
    pub session_idle_timeout_s: u64,
    /// After how many seconds a session ends in any case, at most 30 days.
    pub session_max_age_s: u64,
    /// Maximum number of sessions; a further login ends the one that was used the longest ago.
    pub max_sessions: usize,
}

impl Default for LoginConfig {
    fn default() -> Self {
        Self {
            public_url: None,
            issuer: None,
            client_id: String::new(),
            client_secret_file: None,
            scopes: Vec::new(),
            session_idle_timeout_s: 3600,
            session_max_age_s: 12 * 3600,
            max_sessions: 10_000,
        }
    }
}

/// What is wrong with the configuration of logins.
#[derive(Debug, thiserror::Error)]
#[error("auth.login: {0}")]
pub struct LoginConfigError(String);

impl LoginConfigError {
    pub(super) fn of(problem: impl Display) -> Self {
        Self(problem.to_string())
    }

    pub(super) fn issuer(named: &str) -> Self {
        Self(format!("there is no issuer {named:?} in auth.issuer"))
    }
}

impl LoginConfig {
    const MIN_IDLE_S: u64 = 60;
    const MAX_AGE_S: u64 = 30 * 24 * 3600;

    /// Whether browsers reach the server over TLS, perhaps that of a proxy.
    pub(super) fn is_secure(&self) -> bool {
        let url = self.public_url.as_deref();
        url.is_some_and(|url| url.starts_with("https://"))
    }

    pub(super) fn check(&self) -> Result<(), LoginConfigError> {
        self.problem()
            .map_or(Ok(()), |problem| Err(LoginConfigError::of(problem)))
    }

    fn problem(&self) -> Option<&'static str> {
        let idle = Self::MIN_IDLE_S..=self.session_max_age_s;
        if !idle.contains(&self.session_idle_timeout_s) {
            return Some("session_idle_timeout_s must be from 60 to session_max_age_s");
        }
        if self.session_max_age_s > Self::MAX_AGE_S {
            return Some("session_max_age_s must be at most 2592000, which is 30 days");
        }
        if self.max_sessions == 0 {
            return Some("max_sessions must be at least 1");
        }
        match &self.public_url {
            Some(url) if !url.starts_with("https://") && !url.starts_with("http://") => {
                Some("public_url must begin with https:// or http://")
            }
            None if self.issuer.is_some() => {
                Some("public_url is needed: the issuer sends browsers back to it")
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let problem = |change: fn(&mut LoginConfig)| {
            let mut config = LoginConfig::default();
            change(&mut config);
            config.check().err().map(|error| error.to_string())
        };
        assert_eq!(problem(|_| ()), None);
        type Change = fn(&mut LoginConfig);
        let wrong: [(Change, &str); 5] = [
            (
                |config| config.session_idle_timeout_s = 59,
                "session_idle_timeout_s",
            ),
            (
                |config| config.session_max_age_s = 2_592_001,
                "session_max_age_s",
            ),
            (|config| config.max_sessions = 0, "max_sessions"),
            (
                |config| config.public_url = Some("ftp://x".to_owned()),
                "public_url",
            ),
            (
                |config| config.issuer = Some("https://x".to_owned()),
                "public_url",
            ),
        ];
        for (change, key) in wrong {
            assert!(problem(change).unwrap().contains(key), "{key}");
        }
    }
}
