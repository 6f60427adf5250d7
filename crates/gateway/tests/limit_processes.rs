//! Processes that share a limit use it to the last one, and no further: a quota through the database, a
//! burst through Redis.
#![allow(clippy::unwrap_used, reason = "these are tests")]

#[path = "../../redis/src/testing.rs"]
mod redis_testing;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use redis_testing::{TestRedis, until};
use tidegate_gateway::{
    Credentials, DatabaseQuotas, Denied, Gateway, LimitConfig, Limiter, LimitsConfig, Permission,
    WhenUnavailable,
};
use tidegate_redis::{RedisClient, RedisConfig};

const PROCESSES: usize = 4;
const DATABASE: &str = "TIDEGATE_TEST_DATABASE";
const REDIS: &str = "TIDEGATE_TEST_REDIS";
const LIMIT: &str = "TIDEGATE_TEST_LIMIT";

#[test]
fn four_processes_admit_exactly_their_quota() {
    assert_eq!(admitted_with_database(20_000), 20_000);
}

#[test]
#[ignore = "a million requests: about a minute in a debug build"]
fn four_processes_admit_exactly_their_quota_of_a_million() {
    assert_eq!(admitted_with_database(1_000_000), 1_000_000);
}

#[test]
fn four_processes_admit_exactly_their_burst_through_redis() {
    assert_eq!(admitted_with_redis(2000), 2000);
}

#[test]
#[ignore = "a million requests, each of which asks Redis: some minutes"]
fn four_processes_admit_exactly_their_burst_of_a_million_through_redis() {
    assert_eq!(admitted_with_redis(1_000_000), 1_000_000);
}

fn admitted_with_database(quota: u64) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("quotas.db");
    admitted_by_all(quota, DATABASE, &database)
}

fn admitted_with_redis(burst: u64) -> u64 {
    let server = TestRedis::start(&[]);
    admitted_by_all(burst, REDIS, &server.socket())
}

fn admitted_by_all(limit: u64, place: &str, path: &Path) -> u64 {
    let processes: Vec<Child> = (0..PROCESSES)
        .map(|_| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "one_process", "--ignored", "--nocapture"])
                .env(place, path)
                .env(LIMIT, limit.to_string())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let ended = processes.into_iter().map(admitted_by);
    ended.sum()
}

fn admitted_by(process: Child) -> u64 {
    let ended = process.wait_with_output().unwrap();
    assert!(ended.status.success());
    let output = String::from_utf8(ended.stdout).unwrap();
    let told = output.split_once("admitted ").unwrap().1;
    told.lines().next().unwrap().trim().parse().unwrap()
}

/// One of the processes: asks until it is refused.
#[tokio::test]
#[ignore = "the other tests run it, as a process"]
async fn one_process() {
    let Ok(limit) = std::env::var(LIMIT) else {
        return;
    };
    let gateway = Gateway::open().with_limiter(limiter(limit.parse().unwrap()).await);
    let mut admitted = 0;
    loop {
        match charge(&gateway).await {
            Ok(()) => admitted += 1,
            Err(Denied::Limited(_)) => break,
            // The database is busy with the other processes.
            Err(Denied::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(other) => panic!("{other}"),
        }
    }
    println!("admitted {admitted}");
}

async fn charge(gateway: &Gateway) -> Result<(), Denied> {
    let headers = http::HeaderMap::new();
    let caller = gateway.authenticate(Credentials::of(&headers)).await?;
    let permitted = gateway.authorize(caller, Permission::Call, "fraud")?;
    gateway.limit(permitted).await.map(drop)
}

async fn limiter(limit: u64) -> Limiter {
    let named = LimitConfig {
        name: "exact".to_owned(),
        ..LimitConfig::default()
    };
    let Ok(socket) = std::env::var(REDIS) else {
        let rule = LimitConfig {
            requests_per_month: Some(limit),
            ..named
        };
        return limiter_of(rule, &std::env::var(DATABASE).unwrap());
    };
    let rule = LimitConfig {
        // No token comes during the test.
        requests_per_second: Some(1e-6),
        burst_requests: Some(limit),
        ..named
    };
    let config = RedisConfig {
        url: format!("unix://{socket}").as_str().into(),
        command_timeout_ms: 10_000,
        ..RedisConfig::default()
    };
    let redis = RedisClient::start(&config).unwrap().unwrap();
    until(|| redis.is_connected()).await;
    limiter_of(rule, "/nowhere").with_shared_rates(redis)
}

fn limiter_of(rule: LimitConfig, database: &str) -> Limiter {
    let config = LimitsConfig {
        when_unavailable: WhenUnavailable::Refuse,
        rule: vec![rule],
        ..LimitsConfig::default()
    };
    Limiter::new(&config, Arc::new(DatabaseQuotas::new(database))).unwrap()
}
