#![allow(clippy::unwrap_used, reason = "these are tests")]

use futures_util::future::BoxFuture;
use tidegate_core::FeatureValue;
use tokio::sync::Semaphore as Steps;

use super::*;

/// A store that does what the test says.
struct Scripted {
    shared: Arc<Script>,
}

#[derive(Default)]
struct Script {
    is_broken: AtomicBool,
    hangs: AtomicBool,
    asked: AtomicU32,
    checked: AtomicU32,
}

impl FeatureStore for Scripted {
    fn fetch<'a>(
        &'a self,
        query: &'a FeatureQuery,
    ) -> BoxFuture<'a, Result<Vec<Feature>, StoreError>> {
        Box::pin(async {
            self.shared.asked.fetch_add(1, Ordering::Relaxed);
            if self.shared.hangs.load(Ordering::Relaxed) {
                Steps::new(0).acquire().await.unwrap().forget();
            }
            if self.shared.is_broken.load(Ordering::Relaxed) {
                return Err(StoreError::Failed("it is broken".to_owned()));
            }
            let feature = Feature {
                value: FeatureValue::Number(1.0),
                event_ms: None,
            };
            Ok(vec![feature; query.values()])
        })
    }

    fn check(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async {
            self.shared.checked.fetch_add(1, Ordering::Relaxed);
            match self.shared.is_broken.load(Ordering::Relaxed) {
                true => Err(StoreError::Lost("it is broken".to_owned())),
                false => Ok(()),
            }
        })
    }
}

fn start(is_away: bool, max_in_flight: usize) -> (Guarded, Arc<Script>) {
    let shared = Arc::new(Script::default());
    let store = Box::new(Scripted {
        shared: shared.clone(),
    });
    (Guarded::start("s", store, is_away, max_in_flight), shared)
}

fn query() -> Arc<FeatureQuery> {
    Arc::new(FeatureQuery {
        view: "v".into(),
        join_keys: ["k".into()].into(),
        features: ["f".into()].into(),
        entities: vec![vec![tidegate_core::KeyValue::Int64(1)]],
    })
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_left_alone_until_it_answers_a_check() {
    let (store, script) = start(false, 8);
    assert!(store.fetch(query(), LONG).await.is_ok());
    script.is_broken.store(true, Ordering::Relaxed);
    for _ in 0..MAX_FAILURES {
        assert!(matches!(
            store.fetch(query(), LONG).await,
            Err(LookupError::Away { .. })
        ));
    }
    let asked = script.asked.load(Ordering::Relaxed);
    assert_eq!(store.problem().as_deref(), Some("it is broken"));
    assert!(matches!(
        store.fetch(query(), LONG).await,
        Err(LookupError::Away { .. })
    ));
    assert_eq!(
        script.asked.load(Ordering::Relaxed),
        asked,
        "no request finds out"
    );

    script.is_broken.store(false, Ordering::Relaxed);
    until(|| store.problem().is_none()).await;
    assert!(store.fetch(query(), LONG).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_costs_the_timeout_a_few_times_and_then_nothing() {
    let (store, script) = start(false, 8);
    script.hangs.store(true, Ordering::Relaxed);
    let timeout = Duration::from_millis(20);
    for _ in 0..MAX_FAILURES {
        let error = store.fetch(query(), timeout).await.unwrap_err();
        assert!(
            matches!(error, LookupError::TimedOut { timeout_ms: 20, .. }),
            "{error}"
        );
    }
    // It may be found again by a check at once: then the next lookups wait again.
    let counts = store.counters().lookups();
    assert_eq!(
        counts[LookupOutcome::TimedOut as usize],
        u64::from(MAX_FAILURES)
    );
    let places = store.inner.places.clone();
    until(|| places.available_permits() == 8).await;
}

#[tokio::test(start_paused = true)]
async fn no_more_lookups_wait_than_are_allowed() {
    let (store, script) = start(false, 1);
    let store = Arc::new(store);
    script.hangs.store(true, Ordering::Relaxed);
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.fetch(query(), LONG).await }
    });
    until(|| script.asked.load(Ordering::Relaxed) == 1).await;
    let error = store.fetch(query(), LONG).await.unwrap_err();
    assert!(matches!(error, LookupError::Busy { max: 1, .. }), "{error}");
    // A request that goes away gives its place back.
    waiting.abort();
    let places = store.inner.places.clone();
    until(|| places.available_permits() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_was_not_reached_yet_is_away() {
    let (store, script) = start(true, 8);
    let error = store.fetch(query(), LONG).await.unwrap_err();
    assert!(matches!(error, LookupError::Away { .. }), "{error}");
    until(|| script.checked.load(Ordering::Relaxed) > 0).await;
    until(|| store.problem().is_none()).await;
    drop(store);
}
