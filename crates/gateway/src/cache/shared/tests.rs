use std::sync::atomic::{AtomicUsize, Ordering};

use tidegate_redis::RedisClient;

use super::*;
use crate::cache::{
    CacheConfig, CacheKeyHasher, CacheKeys, CacheOutcome, EndpointCacheConfig, ResponseCache,
};
use crate::redis_testing::{TestRedis, until};

const HOUR: Duration = Duration::from_secs(3600);
const POLICY: CachePolicy = CachePolicy {
    ttl: HOUR,
    stale: Duration::ZERO,
    is_shared: false,
    is_for_all_servers: true,
    keep_last: None,
};
const PLAIN: CacheControl = CacheControl {
    no_cache: false,
    no_store: false,
    max_age: None,
};
const CODEC: AnswerCodec<u32> = AnswerCodec {
    encode: |value| value.to_le_bytes().to_vec(),
    decode: |bytes| Some((u32::from_le_bytes(bytes.try_into().ok()?), 4)),
};

fn cache_of(redis: std::sync::Arc<RedisClient>, secret: &str) -> ResponseCache<u32> {
    let config = CacheConfig {
        endpoint: vec![EndpointCacheConfig {
            name: "*".to_owned(),
            ..EndpointCacheConfig::default()
        }],
        ..CacheConfig::default()
    };
    let answers = SharedAnswers::start(redis, &secret.into(), 1000).unwrap();
    let cache = ResponseCache::new(&config).unwrap();
    cache.with_shared(answers, CODEC)
}

async fn cache(server: &TestRedis) -> ResponseCache<u32> {
    cache_of(server.client().await, "0123456789abcdef0123456789abcdef")
}

/// The keys of a request, in a process that has loaded the version as number `load`.
fn keys(content: &str, load: u64) -> CacheKeys {
    let mut hasher = CacheKeyHasher::default();
    hasher.add(b"inputs");
    let mut shared = hasher.clone();
    shared.add(content.as_bytes());
    hasher.add_number(load);
    CacheKeys {
        own: hasher.finish(),
        shared: Some(shared.finish()),
    }
}

async fn ask(
    cache: &ResponseCache<u32>,
    keys: CacheKeys,
    control: CacheControl,
    value: u32,
) -> (u32, CacheOutcome) {
    let compute = || async { Ok::<_, String>((value, 4)) };
    let cached = cache.answer(keys, POLICY, control, None, compute).await;
    let cached = cached.unwrap();
    (cached.value, cached.outcome)
}

/// Asks with what nobody has, and waits until the answer is in Redis.
async fn compute_and_share(cache: &ResponseCache<u32>, keys: CacheKeys, value: u32) {
    let before = cache.shared_stats().unwrap().written;
    assert_eq!(
        ask(cache, keys, PLAIN, value).await,
        (value, CacheOutcome::Miss)
    );
    until(|| cache.shared_stats().unwrap().written > before).await;
}

#[tokio::test]
async fn an_answer_of_one_server_is_given_by_another_and_kept_there() {
    let server = TestRedis::start(&[]);
    let (one, two) = (cache(&server).await, cache(&server).await);
    compute_and_share(&one, keys("v1", 1), 7).await;
    assert_eq!(
        ask(&two, keys("v1", 9), PLAIN, 8).await,
        (7, CacheOutcome::Shared)
    );
    assert_eq!(
        ask(&two, keys("v1", 9), PLAIN, 8).await,
        (7, CacheOutcome::Hit)
    );
}

#[tokio::test]
async fn another_version_gets_no_answer_of_the_old_one() {
    let server = TestRedis::start(&[]);
    let (one, two) = (cache(&server).await, cache(&server).await);
    compute_and_share(&one, keys("v1", 1), 7).await;
    assert_eq!(
        ask(&two, keys("v2", 2), PLAIN, 8).await,
        (8, CacheOutcome::Miss)
    );
}

#[tokio::test]
async fn a_version_loaded_again_finds_what_servers_share() {
    let server = TestRedis::start(&[]);
    let one = cache(&server).await;
    compute_and_share(&one, keys("v1", 1), 7).await;
    assert_eq!(
        ask(&one, keys("v1", 2), PLAIN, 8).await,
        (7, CacheOutcome::Shared)
    );
}

#[tokio::test]
async fn equal_requests_ask_redis_once() {
    let server = TestRedis::start(&[]);
    let cache = cache(&server).await;
    let runs = AtomicUsize::new(0);
    let compute = || async {
        runs.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        Ok::<_, String>((7, 4))
    };
    let asked = (0..100).map(|_| cache.answer(keys("v1", 1), POLICY, PLAIN, None, compute));
    for cached in futures_util::future::join_all(asked).await {
        assert_eq!(cached.unwrap().value, 7);
    }
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    assert_eq!(cache.shared_stats().unwrap().absent, 1);
}

#[tokio::test]
async fn a_request_that_waits_for_an_older_answer_than_it_takes_computes_its_own() {
    let server = TestRedis::start(&[]);
    let (one, two) = (cache(&server).await, cache(&server).await);
    compute_and_share(&one, keys("v1", 1), 7).await;
    let kept = Instant::now();
    until(|| kept.elapsed() > Duration::from_millis(5)).await;
    let fresh = CacheControl {
        max_age: Some(Duration::from_millis(1)),
        ..PLAIN
    };
    let leader = ask(&two, keys("v1", 9), PLAIN, 8);
    let (leader, waiter) = tokio::join!(leader, ask(&two, keys("v1", 9), fresh, 9));
    assert_eq!(leader, (7, CacheOutcome::Shared));
    assert_eq!(waiter, (9, CacheOutcome::Bypass));
    let hit = ask(&two, keys("v1", 9), PLAIN, 10).await;
    assert_eq!(hit, (9, CacheOutcome::Hit), "the new answer is kept");
}

#[tokio::test]
async fn errors_are_not_shared() {
    let server = TestRedis::start(&[]);
    let (one, two) = (cache(&server).await, cache(&server).await);
    let fail = || async { Err::<(u32, usize), _>("broken".to_owned()) };
    let failed = one.answer(keys("v1", 1), POLICY, PLAIN, None, fail).await;
    assert_eq!(failed.unwrap_err(), "broken");
    assert_eq!(
        ask(&two, keys("v1", 1), PLAIN, 8).await,
        (8, CacheOutcome::Miss)
    );
    assert_eq!(one.shared_stats().unwrap().written, 0);
}

#[tokio::test]
async fn clients_decide_about_shared_answers_too() {
    let server = TestRedis::start(&[]);
    let (one, two) = (cache(&server).await, cache(&server).await);
    let no_store = CacheControl {
        no_store: true,
        ..PLAIN
    };
    assert_eq!(
        ask(&one, keys("v1", 1), no_store, 1).await,
        (1, CacheOutcome::Bypass)
    );
    compute_and_share(&one, keys("v1", 1), 7).await;
    let no_cache = CacheControl {
        no_cache: true,
        ..PLAIN
    };
    assert_eq!(
        ask(&two, keys("v1", 1), no_cache, 8).await,
        (8, CacheOutcome::Bypass)
    );
    let three = cache(&server).await;
    until(|| two.shared_stats().unwrap().written == 1).await;
    assert_eq!(
        ask(&three, keys("v1", 1), PLAIN, 9).await,
        (8, CacheOutcome::Shared)
    );
}

#[tokio::test]
async fn what_was_kept_with_another_secret_is_not_given() {
    let server = TestRedis::start(&[]);
    let one = cache(&server).await;
    let other = cache_of(server.client().await, "another secret of thirty-two bytes");
    compute_and_share(&one, keys("v1", 1), 7).await;
    assert_eq!(
        ask(&other, keys("v1", 1), PLAIN, 8).await,
        (8, CacheOutcome::Miss)
    );
}

#[tokio::test]
async fn while_redis_is_away_each_server_computes() {
    let server = TestRedis::stopped(&[]);
    let redis = RedisClient::start(&server.config()).unwrap().unwrap();
    let cache = cache_of(redis, "0123456789abcdef0123456789abcdef");
    assert_eq!(
        ask(&cache, keys("v1", 1), PLAIN, 7).await,
        (7, CacheOutcome::Miss)
    );
    assert_eq!(
        ask(&cache, keys("v1", 1), PLAIN, 8).await,
        (7, CacheOutcome::Hit)
    );
    assert_eq!(cache.shared_stats().unwrap().unavailable, 1);
}
