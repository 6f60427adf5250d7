//! One issuer: its keys, and the tokens that they verified.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::asked_keys::{AskedKeys, Doubt};
use crate::compact::CompactToken;
use crate::key_set::KeySet;
use crate::token_cache::{TokenCache, TokenDigest};
use crate::{JwtIssuerConfig, TokenError, VerifiedToken};

/// For how long nobody asks for newer keys after a fetch began. A token that waited for that fetch
/// is decided by it.
const BEYOND_DOUBT: Duration = Duration::from_secs(1);

/// What the verifier knows of an issuer.
pub(crate) struct Issuer {
    pub(crate) config: JwtIssuerConfig,
    current: ArcSwapOption<CurrentKeys>,
    asked: AskedKeys,
    /// Asks the background task for a fetch before the next regular one.
    pub(crate) refetch: Notify,
    /// Changes after each fetch.
    fetched: watch::Sender<()>,
    started_at: Instant,
    /// When the last successful fetch began, in nanoseconds since `started_at`.
    fetched_at_ns: AtomicU64,
    fetches: AtomicU64,
    failures: AtomicU64,
    last_failed: AtomicBool,
}

/// A key set with the tokens that it verified, so that both are replaced in one step: a thread that
/// still verifies with the old keys can only add to the old cache.
struct CurrentKeys {
    keys: KeySet,
    tokens: TokenCache,
}

/// How fetching the keys of an issuer goes, for metrics and readiness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStatus {
    /// The issuer.
    pub issuer: String,
    /// How many usable keys there are.
    pub keys: usize,
    /// The age of the keys; none if they were never fetched.
    pub age: Option<Duration>,
    /// Fetches that succeeded.
    pub fetches: u64,
    /// Fetches that failed.
    pub failures: u64,
    /// Whether the last fetch failed.
    pub is_failing: bool,
}

impl Issuer {
    pub(crate) fn new(config: JwtIssuerConfig) -> Self {
        let min_refresh = Duration::from_secs(config.min_refresh_s.into());
        Self {
            config,
            current: ArcSwapOption::empty(),
            asked: AskedKeys::new(min_refresh),
            refetch: Notify::new(),
            fetched: watch::Sender::new(()),
            started_at: Instant::now(),
            fetched_at_ns: AtomicU64::new(0),
            fetches: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            last_failed: AtomicBool::new(false),
        }
    }

    /// The answer for a token that was verified before. `now` is in seconds since 1970.
    pub(crate) fn cached(
        &self,
        digest: &TokenDigest,
        now: i64,
    ) -> Option<Result<Arc<VerifiedToken>, TokenError>> {
        let current = self.current.load();
        let current = current.as_ref()?;
        let token = current.tokens.get(digest)?;
        let checked = self
            .check_key_age()
            .and_then(|()| self.check_time(&token, now));
        if matches!(checked, Err(TokenError::Expired { .. })) {
            current.tokens.remove(digest);
        }
        Some(checked.map(|()| token))
    }

    /// Verifies a token that names this issuer.
    pub(crate) fn verify(
        &self,
        token: &CompactToken<'_>,
        digest: TokenDigest,
        now: i64,
    ) -> Result<Arc<VerifiedToken>, TokenError> {
        if !self.config.algorithms.contains(&token.algorithm) {
            let name = "an algorithm outside of the configured ones";
            return Err(TokenError::Algorithm(name));
        }
        self.check_key_age()?;
        let current = self.current.load();
        let current = current
            .as_ref()
            .ok_or(TokenError::Unavailable { awaits_keys: false })?;
        let signed = current.keys.verify(token);
        signed.map_err(|error| self.doubt(error, token.key_id.as_deref()))?;
        let verified = Arc::new(VerifiedToken::read(&token.claims, &self.config)?);
        self.check_time(&verified, now)?;
        current.tokens.insert(digest, Arc::clone(&verified));
        Ok(verified)
    }

    fn check_time(&self, token: &VerifiedToken, now: i64) -> Result<(), TokenError> {
        token.check_time(now, self.config.clock_skew_s.into())
    }

    /// Old keys may have been withdrawn long ago.
    fn check_key_age(&self) -> Result<(), TokenError> {
        let max_age = Duration::from_secs(self.config.max_key_age_s.into());
        match self.key_age() {
            Some(age) if age < max_age => Ok(()),
            age => {
                let awaits_keys = age.is_none() && !self.last_failed.load(Relaxed);
                Err(TokenError::Unavailable { awaits_keys })
            }
        }
    }

    fn key_age(&self) -> Option<Duration> {
        let is_fetched = self.fetches.load(Relaxed) > 0;
        is_fetched.then(|| self.fetched_at().elapsed())
    }

    /// When the last successful fetch began.
    fn fetched_at(&self) -> Instant {
        self.started_at + Duration::from_nanos(self.fetched_at_ns.load(Relaxed))
    }

    /// What to make of a key that is missing or does not fit: the issuer may have a new one.
    fn doubt(&self, error: TokenError, key_id: Option<&str>) -> TokenError {
        let doubt = match error {
            TokenError::UnknownKey { .. } => Doubt::Unknown,
            TokenError::Signature { .. } => Doubt::Changed,
            other => return other,
        };
        let (now, fetched_at) = (Instant::now(), self.fetched_at());
        if now.duration_since(fetched_at) < BEYOND_DOUBT {
            return error;
        }
        let awaits_keys = self.asked.ask(doubt, key_id, now) > fetched_at;
        if awaits_keys {
            self.refetch.notify_one();
        }
        let is_failing = self.last_failed.load(Relaxed);
        match doubt {
            // The issuer may have published the key meanwhile, only we cannot see it.
            Doubt::Unknown if is_failing => TokenError::Unavailable { awaits_keys: false },
            Doubt::Unknown => TokenError::UnknownKey { awaits_keys },
            Doubt::Changed => TokenError::Signature {
                awaits_keys: awaits_keys && !is_failing,
            },
        }
    }

    /// Takes over what a fetch brought that began at `began`.
    pub(crate) fn publish(&self, keys: KeySet, began: Instant) {
        let is_same = self
            .current
            .load()
            .as_ref()
            .is_some_and(|current| current.keys == keys);
        if !is_same {
            self.log_keys(&keys);
            let tokens = TokenCache::new(self.config.max_cached_tokens);
            self.current
                .store(Some(Arc::new(CurrentKeys { keys, tokens })));
        }
        let since_start = began.duration_since(self.started_at);
        let ns = u64::try_from(since_start.as_nanos()).unwrap_or(u64::MAX);
        self.fetched_at_ns.store(ns, Relaxed);
        self.fetches.fetch_add(1, Relaxed);
        self.last_failed.store(false, Relaxed);
        self.fetched.send_replace(());
    }

    pub(crate) fn publish_failure(&self) {
        self.failures.fetch_add(1, Relaxed);
        self.last_failed.store(true, Relaxed);
        self.fetched.send_replace(());
    }

    fn log_keys(&self, keys: &KeySet) {
        let issuer = &self.config.issuer;
        info!(issuer, keys = keys.len(), "the issuer's keys have changed");
        for (key_id, reason) in &keys.unused {
            let key_id = key_id.as_deref().unwrap_or_default();
            warn!(issuer, key_id, reason, "a key of the issuer is not used");
        }
    }

    /// Tells of every fetch that ends from now on.
    pub(crate) fn fetches(&self) -> watch::Receiver<()> {
        self.fetched.subscribe()
    }

    pub(crate) fn status(&self) -> KeyStatus {
        KeyStatus {
            issuer: self.config.issuer.clone(),
            keys: self
                .current
                .load()
                .as_ref()
                .map_or(0, |current| current.keys.len()),
            age: self.key_age(),
            fetches: self.fetches.load(Relaxed),
            failures: self.failures.load(Relaxed),
            is_failing: self.last_failed.load(Relaxed),
        }
    }
}
