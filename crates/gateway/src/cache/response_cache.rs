//! The cache itself, in the memory of this process.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use moka::future::Cache;
use moka::policy::Expiry;
use parking_lot::Mutex;
use tidegate_redis::{AnswerStats, SharedAnswers};
use tokio::time::timeout_at;

use super::config::{CacheConfig, CacheError, EndpointCacheConfig};
use super::control::CacheControl;
use super::key::{CacheKey, CacheKeys};
use super::shared::{AnswerCodec, FoundAnswer, SharedCache};

/// What an entry takes besides its value, in bytes, roughly.
const ENTRY_BYTES: usize = 256;
const MAX_TTL_MS: u64 = 30 * 24 * 3600 * 1000;
const MIN_BYTES: u64 = 1 << 20;

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheOutcome {
    /// It was kept, and is fresh.
    Hit,
    /// It was kept, is no longer fresh, and is being computed again.
    Stale,
    /// It was being computed for another request.
    Coalesced,
    /// Another server had kept it in Redis.
    Shared,
    /// It was computed for this request.
    Miss,
    /// It was computed for this request, as the client asked.
    Bypass,
}

impl CacheOutcome {
    /// Every outcome.
    pub const ALL: [Self; 6] = [
        Self::Hit,
        Self::Stale,
        Self::Coalesced,
        Self::Shared,
        Self::Miss,
        Self::Bypass,
    ];

    /// Whether it was computed for this request.
    pub const fn is_computed(self) -> bool {
        matches!(self, Self::Miss | Self::Bypass)
    }

    /// Its name in headers and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Coalesced => "coalesced",
            Self::Shared => "shared",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
        }
    }
}

/// An answer, and where it came from.
#[derive(Clone, Debug)]
pub struct Cached<V> {
    /// The answer.
    pub value: V,
    /// Where it came from.
    pub outcome: CacheOutcome,
    /// How long ago it was computed.
    pub age: Duration,
}

/// How the answers of one endpoint are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachePolicy {
    /// How long an answer is fresh.
    pub ttl: Duration,
    /// How long after that it may still be given.
    pub stale: Duration,
    /// Whether tenants share answers.
    pub is_shared: bool,
    /// Whether servers share answers, if the cache has a place for that.
    pub is_for_all_servers: bool,
    /// How long an answer is kept for [`ResponseCache::last`], if at all.
    pub keep_last: Option<Duration>,
}

impl CachePolicy {
    /// That of a version whose own configuration asks for a cache: its answers stay until they need
    /// the place of others, and never longer than any may.
    pub const UNTIL_EVICTED: Self = Self {
        ttl: Duration::from_millis(MAX_TTL_MS),
        stale: Duration::ZERO,
        is_shared: false,
        // Nobody who runs the server has asked for it.
        is_for_all_servers: false,
        keep_last: None,
    };

    fn of(config: &EndpointCacheConfig) -> Self {
        Self {
            ttl: Duration::from_millis(config.ttl_ms),
            stale: Duration::from_millis(config.stale_while_revalidate_ms),
            is_shared: config.shared_between_tenants,
            is_for_all_servers: true,
            keep_last: None,
        }
    }
}

/// Answers by what they depend on.
pub struct ResponseCache<V> {
    entries: Cache<CacheKey, Arc<Entry<V>>>,
    /// The last answers of endpoints that fall back to them; `None` if none does.
    last: Option<Cache<CacheKey, Arc<Entry<V>>>>,
    /// What servers share; `None` if they share nothing.
    shared: Option<SharedCache<V>>,
    endpoints: HashMap<String, CachePolicy>,
    others: Option<CachePolicy>,
    /// Whether versions may ask for it where their endpoint is not configured.
    models_may_ask: bool,
    outcomes: [AtomicU64; CacheOutcome::ALL.len()],
    /// The keys whose stale answers are being computed again.
    refreshing: Mutex<HashSet<CacheKey>>,
}

/// A stale answer that is being computed again. Once it is dropped, another caller may.
pub struct Refresh<V> {
    cache: Arc<ResponseCache<V>>,
    keys: CacheKeys,
}

impl<V: Clone + Send + Sync + 'static> Refresh<V> {
    /// Keeps the new answer, which takes so many bytes.
    pub async fn keep(self, policy: CachePolicy, answer: (V, usize)) {
        self.cache.keep(self.keys, policy, answer).await;
    }
}

impl<V> Drop for Refresh<V> {
    fn drop(&mut self) {
        self.cache.refreshing.lock().remove(&self.keys.own);
    }
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    bytes: usize,
    computed: Instant,
    keep_for: Duration,
    is_from_shared: bool,
}

/// Figures of a cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Kept answers, roughly.
    pub entries: u64,
    /// The memory that they take, roughly, in bytes.
    pub bytes: u64,
    /// How often each outcome was met, in the order of [`CacheOutcome::ALL`].
    pub outcomes: [u64; CacheOutcome::ALL.len()],
}

impl<V: Clone + Send + Sync + 'static> ResponseCache<V> {
    /// The cache of a configuration. It is there also if the configuration names no endpoint: versions
    /// may ask for it.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn new(config: &CacheConfig) -> Result<Self, CacheError> {
        Self::build(config, false)
    }

    /// The same, where a quarter of the memory is for last answers: they stay when they are no longer
    /// fresh, for [`ResponseCache::last`].
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn with_last_answers(config: &CacheConfig) -> Result<Self, CacheError> {
        Self::build(config, true)
    }

    fn build(config: &CacheConfig, keeps_last: bool) -> Result<Self, CacheError> {
        if config.max_bytes < MIN_BYTES {
            return Err(CacheError::TooSmall);
        }
        let mut endpoints = HashMap::new();
        for endpoint in &config.endpoint {
            let name = &endpoint.name;
            if name.is_empty() {
                return Err(CacheError::NoName);
            }
            let times_ms = [endpoint.ttl_ms, endpoint.stale_while_revalidate_ms];
            if endpoint.ttl_ms == 0 || times_ms.iter().any(|ms| *ms > MAX_TTL_MS) {
                return Err(CacheError::Ttl(name.clone()));
            }
            if endpoints
                .insert(name.clone(), CachePolicy::of(endpoint))
                .is_some()
            {
                return Err(CacheError::Duplicate(name.clone()));
            }
        }
        let for_last = if keeps_last { config.max_bytes / 4 } else { 0 };
        Ok(Self {
            entries: entries(config.max_bytes - for_last),
            last: keeps_last.then(|| entries(for_last)),
            shared: None,
            others: endpoints.remove("*"),
            models_may_ask: config.models_may_ask,
            endpoints,
            outcomes: Default::default(),
            refreshing: Mutex::default(),
        })
    }

    /// The same, with answers that servers share.
    #[must_use]
    pub fn with_shared(mut self, answers: SharedAnswers, codec: AnswerCodec<V>) -> Self {
        self.shared = Some(SharedCache::new(answers, codec));
        self
    }

    /// Whether servers share answers.
    pub fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// Figures of the answers that servers share, if they do.
    pub fn shared_stats(&self) -> Option<AnswerStats> {
        self.shared.as_ref().map(SharedCache::stats)
    }

    /// How the answers are kept of a version whose own configuration asks for it, where its endpoint
    /// is not configured; `None` if they are not.
    pub fn asked_policy(&self) -> Option<CachePolicy> {
        self.models_may_ask.then_some(CachePolicy::UNTIL_EVICTED)
    }

    /// How the answers of an endpoint are kept; `None` if they are not.
    pub fn policy(&self, endpoint: &str) -> Option<CachePolicy> {
        self.endpoints.get(endpoint).copied().or(self.others)
    }

    /// Gives the answer of a key, or has it computed, once for all who ask meanwhile. `compute` gives
    /// the answer and the bytes that it takes. Who waits for somebody else's computation waits until
    /// `deadline`, and then gets its error.
    ///
    /// # Errors
    /// The error of the own computation. One of somebody else's is not taken over: their deadline
    /// may be shorter.
    pub async fn answer<E, F>(
        &self,
        keys: impl Into<CacheKeys>,
        policy: CachePolicy,
        control: CacheControl,
        deadline: Option<(Instant, E)>,
        compute: impl Fn() -> F,
    ) -> Result<Cached<V>, E>
    where
        E: Clone + Send + Sync + 'static,
        F: Future<Output = Result<(V, usize), E>>,
    {
        let keys = keys.into();
        let key = keys.own;
        if control.no_store {
            let (value, _) = compute().await?;
            return Ok(self.counted(value, CacheOutcome::Bypass, Duration::ZERO));
        }
        if control.no_cache {
            return self.computed_anew(keys, policy, compute().await?).await;
        }
        match self.kept(&key, policy, control).await {
            Kept::Found(found) => return Ok(found),
            Kept::TooOld => return self.computed_anew(keys, policy, compute().await?).await,
            Kept::Nothing => {}
        }
        let asked = Instant::now();
        let is_leader = AtomicBool::new(false);
        let by = deadline.as_ref().map(|(deadline, _)| *deadline);
        let computed = self.entries.entry(key).or_try_insert_with(async {
            is_leader.store(true, Ordering::Relaxed);
            if let Some(found) = self.found_in_shared(keys, policy, control, by).await {
                return Ok(found);
            }
            let entry = self.entry(key, compute().await?, policy).await;
            self.share(keys, policy, &entry);
            Ok::<_, E>(entry)
        });
        let computed = match deadline {
            None => computed.await,
            Some((deadline, too_late)) => {
                let mut computed = pin!(computed);
                match timeout_at(deadline.into(), computed.as_mut()).await {
                    Ok(computed) => computed,
                    // The own run is not given up: it looks at its deadline itself.
                    Err(_) if is_leader.load(Ordering::Relaxed) => computed.await,
                    Err(_) => return Err(too_late),
                }
            }
        };
        match computed {
            Ok(entry) => {
                let is_new = entry.is_fresh();
                let entry = entry.into_value();
                // Another request, which takes older answers, may have found this one in Redis. What was
                // computed meanwhile is as new as an own answer would be.
                if !is_new && entry.computed < asked && control.is_too_old(entry.computed.elapsed())
                {
                    return self.computed_anew(keys, policy, compute().await?).await;
                }
                let outcome = match is_new {
                    true if entry.is_from_shared => CacheOutcome::Shared,
                    true => CacheOutcome::Miss,
                    false => CacheOutcome::Coalesced,
                };
                Ok(self.counted(entry.value.clone(), outcome, entry.computed.elapsed()))
            }
            Err(error) if is_leader.load(Ordering::Relaxed) => Err(E::clone(&error)),
            Err(_) => {
                let (value, _) = compute().await?;
                Ok(self.counted(value, CacheOutcome::Miss, Duration::ZERO))
            }
        }
    }

    /// Keeps an answer that was computed although there may be another.
    async fn keep(
        &self,
        keys: CacheKeys,
        policy: CachePolicy,
        answer: (V, usize),
    ) -> Arc<Entry<V>> {
        let entry = self.entry(keys.own, answer, policy).await;
        self.entries.insert(keys.own, entry.clone()).await;
        self.share(keys, policy, &entry);
        entry
    }

    /// An answer that was computed because the client wants none that was kept.
    async fn computed_anew<E>(
        &self,
        keys: CacheKeys,
        policy: CachePolicy,
        answer: (V, usize),
    ) -> Result<Cached<V>, E> {
        let entry = self.keep(keys, policy, answer).await;
        Ok(self.counted(entry.value.clone(), CacheOutcome::Bypass, Duration::ZERO))
    }

    /// The last answer of a key, if it is not older than `max_age`; for endpoints whose policy keeps
    /// last answers.
    pub async fn last(&self, key: CacheKey, max_age: Duration) -> Option<Cached<V>> {
        let entry = self.last.as_ref()?.get(&key).await?;
        let age = entry.computed.elapsed();
        let is_recent = age <= max_age;
        is_recent.then(|| self.counted(entry.value.clone(), CacheOutcome::Stale, age))
    }

    /// Whether the caller shall compute a stale answer again: one at a time does.
    pub fn begin_refresh(self: &Arc<Self>, keys: impl Into<CacheKeys>) -> Option<Refresh<V>> {
        let keys = keys.into();
        let is_first = self.refreshing.lock().insert(keys.own);
        is_first.then(|| Refresh {
            cache: self.clone(),
            keys,
        })
    }

    /// Forgets every answer.
    pub fn clear(&self) {
        self.entries.invalidate_all();
        if let Some(last) = &self.last {
            last.invalidate_all();
        }
    }

    /// Its figures.
    pub fn stats(&self) -> CacheStats {
        let outcomes = CacheOutcome::ALL
            .map(|outcome| self.outcomes[outcome as usize].load(Ordering::Relaxed));
        let caches = [Some(&self.entries), self.last.as_ref()];
        let caches = caches.into_iter().flatten();
        CacheStats {
            entries: self.entries.entry_count(),
            bytes: caches.map(Cache::weighted_size).sum(),
            outcomes,
        }
    }

    async fn kept(&self, key: &CacheKey, policy: CachePolicy, control: CacheControl) -> Kept<V> {
        let Some(entry) = self.entries.get(key).await else {
            return Kept::Nothing;
        };
        let age = entry.computed.elapsed();
        if control.is_too_old(age) {
            return Kept::TooOld;
        }
        let outcome = match age < policy.ttl {
            true => CacheOutcome::Hit,
            false if age < policy.ttl + policy.stale => CacheOutcome::Stale,
            false => {
                // Else whoever computes it next would be given this one.
                self.entries.invalidate(key).await;
                return Kept::Nothing;
            }
        };
        Kept::Found(self.counted(entry.value.clone(), outcome, age))
    }

    /// A new entry of a key; also the last answer, if the policy keeps that.
    async fn entry(
        &self,
        key: CacheKey,
        (value, bytes): (V, usize),
        policy: CachePolicy,
    ) -> Arc<Entry<V>> {
        let entry = Entry {
            value,
            bytes: bytes + ENTRY_BYTES,
            computed: Instant::now(),
            keep_for: policy.ttl + policy.stale,
            is_from_shared: false,
        };
        self.with_last(key, entry, policy).await
    }

    /// What another server has kept. It is as old here as it is there.
    async fn found_in_shared(
        &self,
        keys: CacheKeys,
        policy: CachePolicy,
        control: CacheControl,
        deadline: Option<Instant>,
    ) -> Option<Arc<Entry<V>>> {
        let (shared, key) = self.shared_place(keys, policy)?;
        // Boxed: most caches have no second level.
        let found = Box::pin(shared.find(key, policy, control, deadline)).await;
        let FoundAnswer { value, bytes, age } = found?;
        let entry = Entry {
            value,
            bytes: bytes + ENTRY_BYTES,
            // A machine that was started after the answer was computed has no such moment on its
            // clock.
            computed: Instant::now().checked_sub(age)?,
            keep_for: (policy.ttl + policy.stale).saturating_sub(age),
            is_from_shared: true,
        };
        Some(self.with_last(keys.own, entry, policy).await)
    }

    /// Keeps an entry as the last answer of its key, if the policy keeps that.
    async fn with_last(
        &self,
        key: CacheKey,
        entry: Entry<V>,
        policy: CachePolicy,
    ) -> Arc<Entry<V>> {
        if let (Some(last), Some(keep_for)) = (&self.last, policy.keep_last) {
            let kept = Entry {
                value: entry.value.clone(),
                keep_for: keep_for.saturating_sub(entry.computed.elapsed()),
                ..entry
            };
            last.insert(key, Arc::new(kept)).await;
        }
        Arc::new(entry)
    }

    /// Where other servers find an answer, if they may.
    fn shared_place(
        &self,
        keys: CacheKeys,
        policy: CachePolicy,
    ) -> Option<(&SharedCache<V>, CacheKey)> {
        let shared = self.shared.as_ref()?;
        let key = keys.shared.filter(|_| policy.is_for_all_servers)?;
        Some((shared, key))
    }

    fn share(&self, keys: CacheKeys, policy: CachePolicy, entry: &Entry<V>) {
        if let Some((shared, key)) = self.shared_place(keys, policy) {
            shared.keep(key, policy, &entry.value, entry.bytes - ENTRY_BYTES);
        }
    }

    fn counted(&self, value: V, outcome: CacheOutcome, age: Duration) -> Cached<V> {
        self.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
        Cached {
            value,
            outcome,
            age,
        }
    }
}

fn entries<V: Clone + Send + Sync + 'static>(max_bytes: u64) -> Cache<CacheKey, Arc<Entry<V>>> {
    Cache::builder()
        .max_capacity(max_bytes)
        .weigher(|_, entry: &Arc<Entry<V>>| u32::try_from(entry.bytes).unwrap_or(u32::MAX))
        .expire_after(KeepFor)
        .build()
}

/// What was kept for a request.
enum Kept<V> {
    /// An answer that can be given.
    Found(Cached<V>),
    /// An answer that is older than the client wants.
    TooOld,
    Nothing,
}

/// Entries are kept as long as they say.
struct KeepFor;

impl<V> Expiry<CacheKey, Arc<Entry<V>>> for KeepFor {
    fn expire_after_create(
        &self,
        _: &CacheKey,
        entry: &Arc<Entry<V>>,
        _: Instant,
    ) -> Option<Duration> {
        Some(entry.keep_for)
    }

    fn expire_after_update(
        &self,
        _: &CacheKey,
        entry: &Arc<Entry<V>>,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(entry.keep_for)
    }
}

#[cfg(test)]
mod tests;
