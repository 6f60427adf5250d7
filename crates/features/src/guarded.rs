//! A store with its circuit breaker: while it is away, lookups fail at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tidegate_core::{Feature, FeatureQuery};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio::task::AbortHandle;
use tracing::{info, warn};

use crate::store::{FeatureStore, LookupError, StoreError};
use crate::stores::{Counters, LookupOutcome};

/// So many lookups that fail one after the other, whoever asks, and the store is away.
const MAX_FAILURES: u32 = 3;
/// How long a check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a store is checked that nobody asks.
const CHECK_EVERY: Duration = Duration::from_secs(1);
const MIN_BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_secs(2);

/// A store that is watched in the background: no request is used to find out whether it is back.
pub(crate) struct Guarded {
    inner: Arc<Inner>,
    /// Where stores run: event loops neither encode keys nor decode values.
    runtime: Handle,
    watcher: AbortHandle,
}

struct Inner {
    name: String,
    store: Box<dyn FeatureStore>,
    is_away: AtomicBool,
    /// Why it is away, for people.
    problem: Mutex<String>,
    failures: AtomicU32,
    went_away: Notify,
    places: Arc<Semaphore>,
    max_in_flight: usize,
    counters: Counters,
}

impl Guarded {
    /// Starts to watch a store; from within a runtime. A store that needs a connection `is_away` until
    /// it has one.
    pub(crate) fn start(
        name: &str,
        store: Box<dyn FeatureStore>,
        is_away: bool,
        max_in_flight: usize,
    ) -> Self {
        let inner = Arc::new(Inner {
            name: name.to_owned(),
            store,
            is_away: AtomicBool::new(is_away),
            problem: Mutex::new("it was not reached yet".to_owned()),
            failures: AtomicU32::new(0),
            went_away: Notify::new(),
            places: Arc::new(Semaphore::new(max_in_flight)),
            max_in_flight,
            counters: Counters::default(),
        });
        let runtime = Handle::current();
        let watcher = runtime.spawn(inner.clone().watch()).abort_handle();
        Self {
            inner,
            runtime,
            watcher,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.inner.name
    }

    /// Why it is away, if it is.
    pub(crate) fn problem(&self) -> Option<String> {
        let is_away = self.inner.is_away.load(Ordering::Relaxed);
        is_away.then(|| self.inner.problem.lock().clone())
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.inner.counters
    }

    /// Asks the store, and counts how that went.
    pub(crate) async fn fetch(
        &self,
        query: Arc<FeatureQuery>,
        timeout: Duration,
    ) -> Result<Vec<Feature>, LookupError> {
        let began = Instant::now();
        let answer = self.ask(query, timeout).await;
        let outcome = match &answer {
            Ok(_) => LookupOutcome::Answered,
            Err(LookupError::TimedOut { .. }) => LookupOutcome::TimedOut,
            Err(LookupError::Away { .. } | LookupError::Busy { .. }) => LookupOutcome::NotSent,
            Err(_) => LookupOutcome::Failed,
        };
        self.inner.counters.add(outcome, began.elapsed());
        answer
    }

    async fn ask(
        &self,
        query: Arc<FeatureQuery>,
        timeout: Duration,
    ) -> Result<Vec<Feature>, LookupError> {
        let inner = &self.inner;
        if let Some(problem) = self.problem() {
            return Err(inner.away(problem));
        }
        let Ok(place) = inner.places.clone().try_acquire_owned() else {
            let (store, max) = (inner.name.clone(), inner.max_in_flight);
            return Err(LookupError::Busy { store, max });
        };
        let asked = inner.clone();
        let task = self.runtime.spawn(async move {
            let _place = place;
            asked.store.fetch(&query).await
        });
        let _abort = AbortOnDrop(task.abort_handle());
        let error = match tokio::time::timeout(timeout, task).await {
            Ok(Ok(Ok(features))) => {
                inner.failures.store(0, Ordering::Relaxed);
                return Ok(features);
            }
            Ok(Ok(Err(StoreError::Refused(problem)))) => {
                let store = inner.name.clone();
                return Err(LookupError::Refused { store, problem });
            }
            Ok(Ok(Err(error))) => error,
            Ok(Err(panic)) => StoreError::Failed(panic.to_string()),
            Err(_) => {
                let timeout_ms = timeout.as_millis();
                inner.note(StoreError::Failed("it does not answer in time".to_owned()));
                let store = inner.name.clone();
                return Err(LookupError::TimedOut { store, timeout_ms });
            }
        };
        inner.note(error.clone());
        Err(inner.away(error.problem()))
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

/// Ends a task that nobody waits for any longer.
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Inner {
    fn away(&self, problem: String) -> LookupError {
        let store = self.name.clone();
        LookupError::Away { store, problem }
    }

    /// Counts a failure; after a few of them, the store is away.
    fn note(&self, error: StoreError) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if failures < MAX_FAILURES && matches!(error, StoreError::Failed(_)) {
            return;
        }
        self.lose(error.problem());
    }

    fn lose(&self, problem: String) {
        let was_away = self.is_away.load(Ordering::Relaxed);
        *self.problem.lock() = problem.clone();
        self.is_away.store(true, Ordering::Relaxed);
        if !was_away {
            warn!(
                store = self.name,
                problem, "the feature store cannot be reached"
            );
            self.went_away.notify_one();
        }
    }

    async fn watch(self: Arc<Self>) {
        let mut backoff = MIN_BACKOFF;
        loop {
            match self.check().await {
                Ok(()) => {
                    backoff = MIN_BACKOFF;
                    self.find();
                    let _ = tokio::time::timeout(CHECK_EVERY, self.went_away.notified()).await;
                }
                Err(problem) => {
                    self.lose(problem);
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(MAX_BACKOFF);
                }
            }
        }
    }

    async fn check(&self) -> Result<(), String> {
        match tokio::time::timeout(CHECK_TIMEOUT, self.store.check()).await {
            Ok(checked) => checked.map_err(StoreError::problem),
            Err(_) => Err("it does not answer in time".to_owned()),
        }
    }

    fn find(&self) {
        if self.is_away.swap(false, Ordering::Relaxed) {
            self.failures.store(0, Ordering::Relaxed);
            info!(store = self.name, "the feature store answers");
        }
    }
}

#[cfg(test)]
mod tests;
