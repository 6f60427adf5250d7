use std::sync::Arc;

use super::*;
use crate::testing::TestRedis;

fn request(bucket: &str, want: u64, need: u64) -> LeaseRequest<'_> {
    LeaseRequest {
        bucket,
        // Nothing comes during a test.
        per_second: 1e-6,
        burst: 100,
        want,
        need,
        returned: 0,
    }
}

async fn given(redis: &RedisClient, requests: &[LeaseRequest<'_>]) -> Vec<u64> {
    let leases = redis.lease(requests).await.unwrap();
    leases.iter().map(|lease| lease.given).collect()
}

#[tokio::test]
async fn tokens_are_leased_until_there_are_none() {
    let server = TestRedis::start(&[]);
    let redis = server.client().await;
    assert_eq!(given(&redis, &[request("a", 60, 1)]).await, [60]);
    assert_eq!(given(&redis, &[request("a", 60, 1)]).await, [40]);
    let empty = redis.lease(&[request("a", 60, 1)]).await.unwrap()[0];
    assert_eq!((empty.given, empty.left), (0, 0));
    assert!(
        (900_000_000_000..=1_000_000_000_000).contains(&empty.wait_us),
        "{empty:?}"
    );
    assert_eq!(given(&redis, &[request("b", 1, 1)]).await, [1]);
}

#[tokio::test]
async fn all_buckets_give_or_none_does() {
    let server = TestRedis::start(&[]);
    let redis = server.client().await;
    assert_eq!(given(&redis, &[request("narrow", 100, 100)]).await, [100]);
    let both = [request("wide", 10, 1), request("narrow", 10, 1)];
    let leases = redis.lease(&both).await.unwrap();
    assert_eq!((leases[0].given, leases[0].wait_us), (0, 0));
    assert!(leases[1].given == 0 && leases[1].wait_us > 0);
    assert_eq!(given(&redis, &[request("wide", 100, 100)]).await, [100]);
}

#[tokio::test]
async fn what_is_returned_can_be_leased_again() {
    let server = TestRedis::start(&[]);
    let redis = server.client().await;
    assert_eq!(given(&redis, &[request("a", 100, 100)]).await, [100]);
    let returning = LeaseRequest {
        returned: 30,
        ..request("a", 50, 1)
    };
    assert_eq!(given(&redis, &[returning]).await, [30]);
    let too_much = LeaseRequest {
        returned: 1000,
        ..request("a", 0, 0)
    };
    assert_eq!(redis.lease(&[too_much]).await.unwrap()[0].left, 100);
}

#[tokio::test]
async fn more_than_a_burst_is_leased_from_a_full_bucket_and_owed() {
    let server = TestRedis::start(&[]);
    let redis = server.client().await;
    assert_eq!(given(&redis, &[request("a", 250, 250)]).await, [250]);
    assert_eq!(given(&redis, &[request("a", 1, 1)]).await, [0]);
}

#[tokio::test]
async fn tokens_come_by_the_clock_of_redis() {
    let server = TestRedis::start(&[]);
    let redis = server.client().await;
    let fast = LeaseRequest {
        per_second: 1e6,
        ..request("a", 100, 100)
    };
    assert_eq!(given(&redis, std::slice::from_ref(&fast)).await, [100]);
    // After 100 µs all are there again; no question is answered sooner.
    let mut leased = 0;
    while leased == 0 {
        leased = given(&redis, std::slice::from_ref(&fast)).await[0];
    }
    assert_eq!(leased, 100);
}

#[tokio::test]
async fn a_clock_that_was_set_back_does_not_empty_a_bucket() {
    let server = TestRedis::start(&[]);
    let redis = server.client().await;
    assert_eq!(given(&redis, &[request("a", 40, 40)]).await, [40]);
    // As if it had been written an hour later.
    let key = redis.rate_key("a");
    let shift = "local at, written = string.match(redis.call('GET', KEYS[1]), '^(%S+) (%S+)$')
        redis.call('SET', KEYS[1], string.format('%.2f %d', at + 3.6e9, written + 3.6e9))";
    server.command(&["EVAL", shift, "1", &key]).await;
    assert_eq!(given(&redis, &[request("a", 60, 60)]).await, [60]);
}

#[tokio::test]
async fn a_value_that_somebody_else_wrote_counts_as_a_full_bucket() {
    let server = TestRedis::start(&[]);
    let redis = server.client().await;
    let key = redis.rate_key("a");
    server.command(&["SET", &key, "rubbish"]).await;
    assert_eq!(given(&redis, &[request("a", 100, 100)]).await, [100]);
}

#[tokio::test]
async fn a_flushed_script_is_sent_again() {
    let server = TestRedis::start(&[]);
    let redis = server.client().await;
    server.command(&["SCRIPT", "FLUSH"]).await;
    assert_eq!(given(&redis, &[request("a", 1, 1)]).await, [1]);
    assert!(redis.is_connected());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_race_for_the_last_token_has_one_winner() {
    let server = TestRedis::start(&[]);
    let mut replicas = Vec::new();
    for _ in 0..4 {
        replicas.push(server.client().await);
    }
    let last = LeaseRequest {
        burst: 1,
        ..request("a", 1, 1)
    };
    let asked: Vec<_> = (0..64)
        .map(|index| {
            let (redis, last) = (Arc::clone(&replicas[index % 4]), last.clone());
            tokio::spawn(async move { redis.lease(&[last]).await.unwrap()[0].given })
        })
        .collect();
    let mut leased = 0;
    for one in asked {
        leased += one.await.unwrap();
    }
    assert_eq!(leased, 1);
}
