use std::sync::Arc;
use std::time::Instant;

use tidegate_redis::{CommandOutcome, RedisCommand};

use super::*;
use crate::limits::config::{LimitConfig, LimitsConfig};
use crate::limits::database::DatabaseQuotas;
use crate::redis_testing::{TestRedis, until};
use crate::{Caller, Charge, Denied, Identity, Principal};

/// So slow that no token comes during a test.
const NEVER: f64 = 1e-6;

async fn replica(server: &TestRedis, rules: &[LimitConfig]) -> (Arc<Limiter>, Arc<RedisClient>) {
    let redis = server.client().await;
    let config = LimitsConfig {
        rule: rules.to_vec(),
        ..LimitsConfig::default()
    };
    // No rule here has a quota.
    let quotas = Arc::new(DatabaseQuotas::new("/nowhere"));
    let limiter = Limiter::new(&config, quotas).unwrap();
    (Arc::new(limiter.with_shared_rates(redis.clone())), redis)
}

fn rule(name: &str, per_second: f64, burst: u64) -> LimitConfig {
    LimitConfig {
        name: name.to_owned(),
        requests_per_second: Some(per_second),
        burst_requests: Some(burst),
        ..LimitConfig::default()
    }
}

async fn charge(limiter: &Arc<Limiter>, endpoint: &str) -> Result<Charge, Denied> {
    let principal = Principal::ApiKey("shop".into());
    let identity = Identity::new(principal, "acme", Vec::new());
    let caller = Caller::known(Arc::new(identity), None);
    let charged = limiter.charge(&caller, endpoint).await;
    charged.map(|charge| charge.expect("there are limits"))
}

async fn admitted(limiter: &Arc<Limiter>, count: usize) -> usize {
    let mut admitted = 0;
    for _ in 0..count {
        admitted += usize::from(charge(limiter, "fraud").await.is_ok());
    }
    admitted
}

#[tokio::test]
async fn three_servers_admit_one_burst_together() {
    let server = TestRedis::start(&[]);
    let rules = [rule("all", NEVER, 60)];
    let mut total = 0;
    let mut replicas = Vec::new();
    for _ in 0..3 {
        replicas.push(replica(&server, &rules).await.0);
    }
    for _ in 0..100 {
        for limiter in &replicas {
            total += admitted(limiter, 1).await;
        }
    }
    assert_eq!(total, 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_race_of_servers_for_the_last_token_has_one_winner() {
    let server = TestRedis::start(&[]);
    let mut replicas = Vec::new();
    for _ in 0..4 {
        replicas.push(replica(&server, &[rule("last", NEVER, 1)]).await.0);
    }
    let asked: Vec<_> = (0..64)
        .map(|index| {
            let limiter = replicas[index % 4].clone();
            tokio::spawn(async move { admitted(&limiter, 1).await })
        })
        .collect();
    let mut total = 0;
    for one in asked {
        total += one.await.unwrap();
    }
    assert_eq!(total, 1);
}

#[tokio::test]
async fn servers_together_keep_the_rate_but_for_what_they_have_leased() {
    let server = TestRedis::start(&[]);
    // Leases of at most 10 tokens.
    let rules = [rule("all", 1000.0, 100)];
    let replicas = [
        replica(&server, &rules).await.0,
        replica(&server, &rules).await.0,
    ];
    let began = Instant::now();
    let mut total = 0;
    for _ in 0..2000 {
        for limiter in &replicas {
            total += admitted(limiter, 1).await;
        }
    }
    let come = began.elapsed().as_secs_f64() * 1000.0;
    assert!(total as f64 <= 100.0 + come + 1.0, "{total} of {come}");
    assert!(total >= 100 - 20, "{total}");
}

#[tokio::test]
async fn few_requests_ask_redis() {
    let server = TestRedis::start(&[]);
    let (limiter, redis) = replica(&server, &[rule("all", 1e6, 100_000)]).await;
    assert_eq!(admitted(&limiter, 20_000).await, 20_000);
    let commands = redis.stats().commands[RedisCommand::Lease as usize];
    let asked = commands[CommandOutcome::Answered as usize];
    assert!(asked < 1000, "{asked}");
}

#[tokio::test]
async fn callers_over_their_rate_do_not_cost_redis_a_question_each() {
    let server = TestRedis::start(&[]);
    let (limiter, redis) = replica(&server, &[rule("all", NEVER, 1)]).await;
    assert_eq!(admitted(&limiter, 1000).await, 1);
    let commands = redis.stats().commands[RedisCommand::Lease as usize];
    let asked = commands[CommandOutcome::Answered as usize];
    assert!(asked < 100, "{asked}");
}

#[tokio::test]
async fn a_request_that_one_rule_refuses_uses_up_no_other() {
    let server = TestRedis::start(&[]);
    let narrow = LimitConfig {
        endpoint: Some("fraud".to_owned()),
        ..rule("narrow", NEVER, 1)
    };
    let (limiter, redis) = replica(&server, &[rule("wide", NEVER, 10), narrow]).await;
    assert_eq!(admitted(&limiter, 20).await, 1);
    let mut others = 0;
    for _ in 0..20 {
        others += usize::from(charge(&limiter, "digits").await.is_ok());
    }
    assert_eq!(others, 9);
    assert!(redis.is_connected());
}

#[tokio::test]
async fn what_is_refunded_goes_to_whoever_asks_next() {
    let server = TestRedis::start(&[]);
    let rules = [rule("all", NEVER, 1)];
    let first = replica(&server, &rules).await.0;
    let second = replica(&server, &rules).await.0;
    let mut charged = charge(&first, "fraud").await.unwrap();
    charged.refund();
    let mut again = charge(&first, "fraud").await.expect("it was given back");
    again.refund();
    first.surrender_leases().await;
    assert_eq!(admitted(&second, 5).await, 1);
}

#[tokio::test]
async fn while_redis_is_away_each_server_admits_its_share() {
    let mut server = TestRedis::start(&[]);
    let rules = [rule("all", NEVER, 10)];
    let (first, one) = replica(&server, &rules).await;
    let (second, two) = replica(&server, &rules).await;
    until(|| one.servers() == 2 && two.servers() == 2).await;
    server.kill();
    until(|| !one.is_connected() && !two.is_connected()).await;
    assert_eq!(admitted(&first, 20).await, 5);
    assert_eq!(admitted(&second, 20).await, 5);
    // What Redis kept is gone with it.
    server.run();
    until(|| one.is_connected() && two.is_connected()).await;
    let both = admitted(&first, 20).await + admitted(&second, 20).await;
    assert_eq!(both, 10);
}

#[tokio::test]
async fn a_slow_redis_holds_up_a_few_requests_and_then_none() {
    let server = TestRedis::start(&[]);
    let config = tidegate_redis::RedisConfig {
        command_timeout_ms: 50,
        ..server.config()
    };
    let redis = server.client_of(&config).await;
    let limits = LimitsConfig {
        rule: vec![rule("all", NEVER, 100)],
        ..LimitsConfig::default()
    };
    let limiter = Limiter::new(&limits, Arc::new(DatabaseQuotas::new("/nowhere"))).unwrap();
    let limiter = Arc::new(limiter.with_shared_rates(redis.clone()));
    server.command(&["CLIENT", "PAUSE", "60000", "ALL"]).await;
    assert_eq!(admitted(&limiter, 200).await, 100);
    let commands = redis.stats().commands[RedisCommand::Lease as usize];
    assert!(
        commands[CommandOutcome::TimedOut as usize] <= 3,
        "{commands:?}"
    );
}

#[tokio::test]
async fn what_is_left_is_told_for_all_servers() {
    let server = TestRedis::start(&[]);
    let rules = [rule("all", NEVER, 10)];
    let first = replica(&server, &rules).await.0;
    let second = replica(&server, &rules).await.0;
    assert_eq!(admitted(&first, 4).await, 4);
    let status = charge(&second, "fraud").await.unwrap().status();
    assert!(
        status.state_header().starts_with("\"all-requests\";r=5;"),
        "{status:?}"
    );
}
