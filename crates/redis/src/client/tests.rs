use super::*;
use crate::LeaseRequest;
use crate::testing::{TestRedis, until};

const ONE: LeaseRequest<'static> = LeaseRequest {
    bucket: "a",
    per_second: 1e6,
    burst: 1000,
    want: 1,
    need: 1,
    returned: 0,
};

async fn lease(redis: &RedisClient) -> bool {
    redis.lease(&[ONE]).await.is_ok()
}

#[tokio::test]
async fn a_redis_that_is_away_at_the_start_is_found_later() {
    let mut server = TestRedis::stopped(&[]);
    let redis = RedisClient::start(&server.config()).unwrap().unwrap();
    assert!(!lease(&redis).await, "at once, without waiting");
    assert!(matches!(
        redis.next_change().await,
        RedisChange::Lost { .. }
    ));
    assert!(redis.problem().is_some());
    server.run();
    assert!(matches!(
        redis.next_change().await,
        RedisChange::Found { .. }
    ));
    assert!(lease(&redis).await);
    assert_eq!(redis.problem(), None);
}

#[tokio::test]
async fn a_redis_that_is_killed_is_noticed_and_found_again() {
    let mut server = TestRedis::start(&[]);
    let redis = server.client().await;
    assert!(lease(&redis).await);
    server.kill();
    while lease(&redis).await {}
    assert!(matches!(
        redis.next_change().await,
        RedisChange::Lost { .. }
    ));
    server.run();
    assert!(matches!(
        redis.next_change().await,
        RedisChange::Found { .. }
    ));
    assert!(lease(&redis).await);
}

#[tokio::test]
async fn a_slow_redis_is_given_up_and_then_nobody_waits() {
    let server = TestRedis::start(&[]);
    let config = RedisConfig {
        command_timeout_ms: 50,
        ..server.config()
    };
    let redis = server.client_of(&config).await;
    server.command(&["CLIENT", "PAUSE", "60000", "ALL"]).await;
    while redis.is_connected() {
        assert!(!lease(&redis).await);
    }
    let timed_out = CommandOutcome::TimedOut as usize;
    let not_sent = CommandOutcome::NotSent as usize;
    let before = redis.stats().commands[RedisCommand::Lease as usize];
    assert!(before[timed_out] <= u64::from(MAX_FAILURES), "{before:?}");
    for _ in 0..1000 {
        assert!(!lease(&redis).await);
    }
    let after = redis.stats().commands[RedisCommand::Lease as usize];
    assert_eq!(after[not_sent] - before[not_sent], 1000);
    let problem = redis.problem().unwrap();
    assert!(problem.contains("in time"), "{problem}");
}

#[tokio::test]
async fn a_pause_that_ends_is_noticed() {
    let server = TestRedis::start(&[]);
    let config = RedisConfig {
        command_timeout_ms: 50,
        ..server.config()
    };
    let redis = server.client_of(&config).await;
    server
        .command(&["CLIENT", "PAUSE", "600000", "WRITE"])
        .await;
    while redis.is_connected() {
        lease(&redis).await;
    }
    assert!(matches!(
        redis.next_change().await,
        RedisChange::Lost { .. }
    ));
    server.command(&["CLIENT", "UNPAUSE"]).await;
    assert!(matches!(
        redis.next_change().await,
        RedisChange::Found { .. }
    ));
}

#[tokio::test]
async fn a_wrong_password_is_told_without_showing_it() {
    let server = TestRedis::start(&["--requirepass", "correct horse"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "hunter2").unwrap();
    let config = RedisConfig {
        password_file: Some(file.clone()),
        ..server.config()
    };
    let redis = RedisClient::start(&config).unwrap().unwrap();
    let RedisChange::Lost { problem } = redis.next_change().await else {
        panic!("it is not there yet");
    };
    assert_eq!(problem, "it refuses the credential");
    assert!(!format!("{redis:?} {config:?}").contains("hunter2"));
    // It is read again at each attempt.
    std::fs::write(&file, "correct horse\n").unwrap();
    until(|| redis.is_connected()).await;
}

#[tokio::test]
async fn a_redis_that_cannot_be_written_to_counts_as_away() {
    let server = TestRedis::start(&[]);
    let redis = server.client().await;
    server.command(&["REPLICAOF", "127.0.0.1", "1"]).await;
    while redis.is_connected() {
        lease(&redis).await;
    }
    let problem = redis.problem().unwrap();
    assert!(problem.to_lowercase().contains("read"), "{problem}");
    server.command(&["REPLICAOF", "NO", "ONE"]).await;
    until(|| redis.is_connected()).await;
}

#[tokio::test]
async fn servers_are_counted() {
    let server = TestRedis::start(&[]);
    let first = server.client().await;
    assert_eq!(first.servers(), 1);
    let second = server.client().await;
    assert_eq!(second.servers(), 2);
    until(|| first.servers() == 2).await;
    let apart = RedisConfig {
        key_prefix: "other".to_owned(),
        ..server.config()
    };
    assert_eq!(server.client_of(&apart).await.servers(), 1);
}

#[tokio::test]
async fn a_wrong_address_is_refused_without_showing_it() {
    let config = RedisConfig {
        url: "http://user:hunter2@host".into(),
        ..RedisConfig::default()
    };
    let refused = RedisClient::start(&config).unwrap_err().to_string();
    assert!(refused.contains("redis.url"), "{refused}");
    assert!(!refused.contains("hunter2"), "{refused}");
    assert!(
        RedisClient::start(&RedisConfig::default())
            .unwrap()
            .is_none()
    );
}
