//! The verifier of all configured issuers.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::compact::CompactToken;
use crate::fetch::Fetcher;
use crate::issuer::Issuer;
use crate::refresh::keep_fresh;
use crate::token_cache::TokenDigest;
use crate::{JwtConfigError, JwtIssuerConfig, KeyStatus, TokenError, VerifiedToken};

/// Longest that a token waits for the keys of its issuer.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How many wait at the same time. The others are refused at once, so that tokens with invented
/// key ids cannot pile up.
const MAX_WAITING: usize = 64;

/// Verifies tokens of the configured issuers.
///
/// A change of the configuration is a new verifier: nothing of the old one is used again. Dropping
/// it ends its tasks.
pub struct JwtVerifier {
    issuers: Vec<Arc<Issuer>>,
    max_token_bytes: usize,
    waiting: Semaphore,
    _tasks: JoinSet<()>,
}

impl JwtVerifier {
    /// Starts to fetch the keys of each issuer, in the background of the current tokio runtime. An
    /// issuer that is down is no error: its tokens are answered with
    /// [`TokenError::Unavailable`] until it is up.
    pub fn start(configs: &[JwtIssuerConfig]) -> Result<Self, JwtConfigError> {
        let (mut issuers, mut tasks) = (Vec::<Arc<Issuer>>::new(), JoinSet::new());
        for config in configs {
            config.check()?;
            if issuers
                .iter()
                .any(|issuer| issuer.config.issuer == config.issuer)
            {
                return Err(JwtConfigError::new(config, "it is configured twice"));
            }
            let issuer = Arc::new(Issuer::new(config.clone()));
            tasks.spawn(keep_fresh(Arc::clone(&issuer), Fetcher::new(config)?));
            issuers.push(issuer);
        }
        Ok(Self::new(issuers, tasks))
    }

    fn new(issuers: Vec<Arc<Issuer>>, tasks: JoinSet<()>) -> Self {
        let limits = issuers.iter().map(|issuer| issuer.config.max_token_bytes);
        Self {
            max_token_bytes: limits.max().unwrap_or(0),
            issuers,
            waiting: Semaphore::new(MAX_WAITING),
            _tasks: tasks,
        }
    }

    /// Verifies a token. Never waits: one hash and one lookup for a token that was verified before,
    /// tens of microseconds for another.
    pub fn verify(&self, token: &str) -> Result<Arc<VerifiedToken>, TokenError> {
        self.verify_at(token, unix_time())
    }

    /// Verifies a token and, if that [awaits keys](TokenError::awaits_keys), waits for them for a
    /// bounded time. So a token that is signed with a new key is accepted at once.
    pub async fn verify_with_new_keys(
        &self,
        token: &str,
    ) -> Result<Arc<VerifiedToken>, TokenError> {
        // Before the first look, so that no fetch is missed that ends meanwhile.
        let mut fetches: Vec<_> = self.issuers.iter().map(|issuer| issuer.fetches()).collect();
        let mut error = match self.verify(token) {
            Err(error) if error.awaits_keys() => error,
            decided => return decided,
        };
        let Ok(_place) = self.waiting.try_acquire() else {
            return Err(error);
        };
        let Some(fetched) = self
            .index_of_issuer(token)
            .and_then(|index| fetches.get_mut(index))
        else {
            return Err(error);
        };
        let decided = timeout(LONGEST_WAIT, async {
            while fetched.changed().await.is_ok() {
                match self.verify(token) {
                    Err(undecided) if undecided.awaits_keys() => error = undecided,
                    decided => return Some(decided),
                }
            }
            None
        });
        let decided = decided.await.ok().flatten();
        decided.unwrap_or(Err(error))
    }

    /// How fetching the keys goes, for each issuer.
    pub fn status(&self) -> Vec<KeyStatus> {
        self.issuers.iter().map(|issuer| issuer.status()).collect()
    }

    /// [`Self::verify`] at a time, in seconds since 1970.
    pub(crate) fn verify_at(
        &self,
        token: &str,
        now: i64,
    ) -> Result<Arc<VerifiedToken>, TokenError> {
        // Before anything else looks at it.
        check_length(token, self.max_token_bytes)?;
        let digest = TokenDigest::of(token);
        for issuer in &self.issuers {
            if let Some(decided) = issuer.cached(&digest, now) {
                return decided;
            }
        }
        let parsed = CompactToken::parse(token)?;
        let issuer = self
            .issuer(parsed.issuer()?)
            .ok_or(TokenError::UnknownIssuer)?;
        check_length(token, issuer.config.max_token_bytes)?;
        issuer.verify(&parsed, digest, now)
    }

    fn issuer(&self, name: &str) -> Option<&Issuer> {
        let found = self
            .issuers
            .iter()
            .find(|issuer| issuer.config.issuer == name);
        found.map(|issuer| &**issuer)
    }

    fn index_of_issuer(&self, token: &str) -> Option<usize> {
        let parsed = CompactToken::parse(token).ok()?;
        let name = parsed.issuer().ok()?;
        self.issuers
            .iter()
            .position(|issuer| issuer.config.issuer == name)
    }
}

fn check_length(token: &str, limit: usize) -> Result<(), TokenError> {
    match token.len() > limit {
        true => Err(TokenError::TooLong { limit }),
        false => Ok(()),
    }
}

/// The time of this machine's clock, in seconds since 1970.
fn unix_time() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as i64)
}

#[cfg(test)]
mod tests;
