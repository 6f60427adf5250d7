use std::sync::atomic::AtomicUsize;

use tokio::sync::Barrier;

use super::*;
use crate::CacheKeyHasher;

const HOUR: Duration = Duration::from_secs(3600);
const PLAIN: CacheControl = CacheControl {
    no_cache: false,
    no_store: false,
    max_age: None,
};

fn policy(ttl: Duration, stale: Duration) -> CachePolicy {
    CachePolicy {
        ttl,
        stale,
        is_shared: false,
        is_for_all_servers: true,
        keep_last: None,
    }
}

fn cache() -> ResponseCache<u32> {
    let config = CacheConfig {
        endpoint: vec![EndpointCacheConfig {
            name: "fraud".to_owned(),
            ..EndpointCacheConfig::default()
        }],
        ..CacheConfig::default()
    };
    ResponseCache::new(&config).unwrap()
}

fn key(number: u64) -> CacheKey {
    let mut hasher = CacheKeyHasher::default();
    hasher.add_number(number);
    hasher.finish()
}

/// Asks, and gives the value and where it came from. A computation gives `value`.
async fn ask(
    cache: &ResponseCache<u32>,
    policy: CachePolicy,
    control: CacheControl,
    value: u32,
) -> (u32, CacheOutcome) {
    let compute = || async { Ok::<_, String>((value, 4)) };
    let cached = cache
        .answer(key(1), policy, control, None, compute)
        .await
        .unwrap();
    (cached.value, cached.outcome)
}

#[tokio::test]
async fn an_answer_is_kept_until_it_is_no_longer_fresh() {
    let cache = cache();
    let kept = policy(HOUR, Duration::ZERO);
    assert_eq!(ask(&cache, kept, PLAIN, 1).await, (1, CacheOutcome::Miss));
    assert_eq!(ask(&cache, kept, PLAIN, 2).await, (1, CacheOutcome::Hit));
    let over = policy(Duration::ZERO, Duration::ZERO);
    assert_eq!(ask(&cache, over, PLAIN, 3).await, (3, CacheOutcome::Miss));
}

#[tokio::test]
async fn a_stale_answer_is_given_and_computed_again_by_one() {
    let cache = Arc::new(cache());
    let stale = policy(Duration::ZERO, HOUR);
    assert_eq!(ask(&cache, stale, PLAIN, 1).await, (1, CacheOutcome::Miss));
    assert_eq!(ask(&cache, stale, PLAIN, 2).await, (1, CacheOutcome::Stale));
    let refresh = cache.begin_refresh(key(1)).unwrap();
    assert!(cache.begin_refresh(key(1)).is_none(), "one does");
    refresh.keep(stale, (5, 4)).await;
    assert_eq!(ask(&cache, stale, PLAIN, 6).await, (5, CacheOutcome::Stale));
    assert!(
        cache.begin_refresh(key(1)).is_some(),
        "a refresh that ended is not in the way"
    );
}

#[tokio::test]
async fn an_answer_that_was_computed_meanwhile_is_new_enough_for_all_who_waited() {
    let cache = cache();
    let kept = policy(HOUR, Duration::ZERO);
    let new = CacheControl {
        max_age: Some(Duration::ZERO),
        ..PLAIN
    };
    let begun = Barrier::new(2);
    let compute = || async {
        begun.wait().await;
        Ok::<_, String>((1, 4))
    };
    let leader = cache.answer(key(1), kept, PLAIN, None, compute);
    let waiter = async {
        let mut waiter = std::pin::pin!(ask(&cache, kept, new, 2));
        // It waits for the leader before that ends.
        assert!(futures_util::poll!(waiter.as_mut()).is_pending());
        begun.wait().await;
        waiter.await
    };
    let (leader, waiter) = tokio::join!(leader, waiter);
    assert_eq!(leader.unwrap().value, 1);
    assert_eq!(waiter, (1, CacheOutcome::Coalesced));
}

#[tokio::test]
async fn a_refresh_that_panics_or_fails_is_tried_again() {
    let cache = Arc::new(cache());
    let refresh = cache.begin_refresh(key(1)).unwrap();
    let computing = tokio::spawn(async move {
        let _refresh = refresh;
        panic!("the model panics");
    });
    assert!(computing.await.unwrap_err().is_panic());
    drop(cache.begin_refresh(key(1)).expect("nobody computes it"));
    assert!(cache.begin_refresh(key(1)).is_some());
}

#[tokio::test]
async fn clients_can_ask_for_a_new_answer() {
    let cache = cache();
    let kept = policy(HOUR, Duration::ZERO);
    ask(&cache, kept, PLAIN, 1).await;
    let no_store = CacheControl {
        no_store: true,
        ..PLAIN
    };
    assert_eq!(
        ask(&cache, kept, no_store, 2).await,
        (2, CacheOutcome::Bypass)
    );
    assert_eq!(ask(&cache, kept, PLAIN, 3).await, (1, CacheOutcome::Hit));
    let no_cache = CacheControl {
        no_cache: true,
        ..PLAIN
    };
    assert_eq!(
        ask(&cache, kept, no_cache, 4).await,
        (4, CacheOutcome::Bypass)
    );
    assert_eq!(ask(&cache, kept, PLAIN, 5).await, (4, CacheOutcome::Hit));
    let max_age = CacheControl {
        max_age: Some(Duration::ZERO),
        ..PLAIN
    };
    assert_eq!(
        ask(&cache, kept, max_age, 6).await,
        (6, CacheOutcome::Bypass)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_equal_requests_are_computed_once() {
    let cache = Arc::new(cache());
    let runs = Arc::new(AtomicUsize::new(0));
    let barrier = Arc::new(Barrier::new(2));
    let mut tasks = Vec::new();
    for _ in 0..1000 {
        let (cache, runs, barrier) = (cache.clone(), runs.clone(), barrier.clone());
        tasks.push(tokio::spawn(async move {
            let compute = || async {
                runs.fetch_add(1, Ordering::Relaxed);
                // Until the test says that all have asked.
                barrier.wait().await;
                Ok::<_, String>((7, 4))
            };
            let kept = policy(HOUR, Duration::ZERO);
            cache
                .answer(key(1), kept, PLAIN, None, compute)
                .await
                .unwrap()
                .value
        }));
    }
    barrier.wait().await;
    for task in tasks {
        assert_eq!(task.await.unwrap(), 7);
    }
    assert_eq!(runs.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn errors_are_not_kept() {
    let cache = cache();
    let kept = policy(HOUR, Duration::ZERO);
    let fail = || async { Err::<(u32, usize), _>("broken".to_owned()) };
    let error = cache
        .answer(key(1), kept, PLAIN, None, fail)
        .await
        .unwrap_err();
    assert_eq!(error, "broken");
    assert_eq!(ask(&cache, kept, PLAIN, 1).await, (1, CacheOutcome::Miss));
}

#[tokio::test]
async fn who_waits_for_a_request_that_is_given_up_computes_itself() {
    let cache = Arc::new(cache());
    let kept = policy(HOUR, Duration::ZERO);
    let first = cache.clone();
    let leader = tokio::spawn(async move {
        let never = || std::future::pending::<Result<(u32, usize), String>>();
        let _ = first.answer(key(1), kept, PLAIN, None, never).await;
    });
    tokio::task::yield_now().await;
    let follower = tokio::spawn({
        let cache = cache.clone();
        async move { ask(&cache, kept, PLAIN, 2).await }
    });
    tokio::task::yield_now().await;
    leader.abort();
    assert_eq!(follower.await.unwrap().0, 2);
}

#[tokio::test]
async fn who_waits_for_another_request_waits_until_its_own_deadline() {
    let cache = Arc::new(cache());
    let kept = policy(HOUR, Duration::ZERO);
    let first = cache.clone();
    let leader = tokio::spawn(async move {
        let never = || std::future::pending::<Result<(u32, usize), String>>();
        let _ = first.answer(key(1), kept, PLAIN, None, never).await;
    });
    tokio::task::yield_now().await;
    let never = || std::future::pending::<Result<(u32, usize), String>>();
    let deadline = Some((Instant::now(), "too late".to_owned()));
    let late = cache.answer(key(1), kept, PLAIN, deadline, never).await;
    assert_eq!(late.unwrap_err(), "too late");
    leader.abort();
}

#[tokio::test]
async fn the_memory_is_bounded() {
    let config = CacheConfig {
        max_bytes: 1 << 20,
        endpoint: vec![EndpointCacheConfig {
            name: "*".to_owned(),
            ..EndpointCacheConfig::default()
        }],
        ..CacheConfig::default()
    };
    let cache: ResponseCache<u32> = ResponseCache::new(&config).unwrap();
    let kept = cache.policy("any").unwrap();
    for number in 0..100 {
        let compute = || async { Ok::<_, String>((1, 100_000)) };
        cache
            .answer(key(number), kept, PLAIN, None, compute)
            .await
            .unwrap();
    }
    cache.entries.run_pending_tasks().await;
    assert!(cache.stats().bytes <= 1 << 20, "{:?}", cache.stats());
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let endpoint = |name: &str, ttl_ms| EndpointCacheConfig {
        name: name.to_owned(),
        ttl_ms,
        ..EndpointCacheConfig::default()
    };
    let refused = |endpoint| {
        let config = CacheConfig {
            endpoint,
            ..CacheConfig::default()
        };
        ResponseCache::<u32>::new(&config).err()
    };
    assert_eq!(refused(vec![endpoint("", 1)]), Some(CacheError::NoName));
    assert_eq!(
        refused(vec![endpoint("a", 0)]),
        Some(CacheError::Ttl("a".to_owned()))
    );
    let twice = vec![endpoint("a", 1), endpoint("a", 2)];
    assert_eq!(refused(twice), Some(CacheError::Duplicate("a".to_owned())));
}

#[test]
fn a_cache_without_endpoints_caches_none_by_itself() {
    let cache = ResponseCache::<u32>::new(&CacheConfig::default()).unwrap();
    assert_eq!(cache.policy("fraud"), None);
}

#[tokio::test]
async fn a_last_answer_outlives_its_freshness() {
    let config = CacheConfig {
        endpoint: vec![EndpointCacheConfig {
            name: "fraud".to_owned(),
            ..EndpointCacheConfig::default()
        }],
        ..CacheConfig::default()
    };
    let cache: ResponseCache<u32> = ResponseCache::with_last_answers(&config).unwrap();
    let kept = CachePolicy {
        keep_last: Some(HOUR),
        ..policy(Duration::from_nanos(1), Duration::ZERO)
    };
    assert!(cache.last(key(1), HOUR).await.is_none());
    assert_eq!(ask(&cache, kept, PLAIN, 1).await, (1, CacheOutcome::Miss));
    // It is no longer fresh: the next request computes, and fails.
    let failed = || async { Err::<(u32, usize), _>("no".to_owned()) };
    let failed = cache.answer(key(1), kept, PLAIN, None, failed).await;
    assert_eq!(failed.unwrap_err(), "no");
    let last = cache.last(key(1), HOUR).await.unwrap();
    assert_eq!((last.value, last.outcome), (1, CacheOutcome::Stale));
    assert!(cache.last(key(1), Duration::ZERO).await.is_none());
    assert!(cache.last(key(2), HOUR).await.is_none());
}

#[tokio::test]
async fn an_endpoint_that_does_not_fall_back_to_them_has_no_last_answers() {
    let cache = cache();
    let kept = policy(HOUR, Duration::ZERO);
    assert_eq!(ask(&cache, kept, PLAIN, 1).await, (1, CacheOutcome::Miss));
    assert!(cache.last(key(1), HOUR).await.is_none());
}
