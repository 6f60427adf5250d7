//! Refreshing, against a real server, with a clock that the test moves.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use serde_json::{Value, json};
use tokio::time::advance;

use super::*;
use crate::testing::{KeyServer, TestKey, claims, key_set, until};
use crate::{JwtVerifier, TokenError, VerifiedToken};

fn interval(max_age_s: Option<u64>) -> u64 {
    let config = JwtIssuerConfig::default();
    refresh_interval(&config, max_age_s.map(Duration::from_secs)).as_secs()
}

#[test]
fn keys_are_fetched_before_they_expire() {
    for _ in 0..100 {
        assert!((80..90).contains(&interval(Some(100))));
    }
}

#[test]
fn the_interval_stays_within_its_bounds() {
    for _ in 0..100 {
        assert_eq!(interval(Some(1)), 10);
        assert!((720..810).contains(&interval(Some(604_800))));
        assert!((720..810).contains(&interval(None)));
    }
}

#[test]
fn waits_after_failures_double_up_to_half_a_minute() {
    for (failures, most_ms) in [
        (0, 1000),
        (1, 2000),
        (3, 8000),
        (5, 30_000),
        (u32::MAX, 30_000),
    ] {
        let wait = retry_wait(failures).as_millis();
        assert!(
            (most_ms / 2..=most_ms).contains(&wait),
            "{failures}: {wait}"
        );
    }
}

/// Claims that are valid at the time of this machine.
fn current_claims(server: &KeyServer) -> Value {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    claims(json!({ "iss": server.url, "exp": now + 300, "nbf": now, "iat": now }))
}

/// A server with these keys, and a verifier that has fetched them.
async fn started(keys: &[&TestKey]) -> (KeyServer, JwtVerifier) {
    let server = KeyServer::start(key_set(keys)).await;
    server.set_cache_control("max-age=604800");
    let verifier = JwtVerifier::start(&[server.config()]).unwrap();
    fetched(&verifier, 1).await;
    (server, verifier)
}

/// Waits for a number of successful fetches, and until the keys of the last can be doubted.
async fn fetched(verifier: &JwtVerifier, count: usize) {
    until(|| fetches(verifier) as usize == count).await;
    advance(Duration::from_millis(1001)).await;
}

async fn advance_s(seconds: u64) {
    // Timers fire at whole milliseconds, the clock need not stand at one.
    advance(Duration::from_secs(seconds) + Duration::from_millis(2)).await;
}

/// Gives the server and the background task a moment. Nothing depends on how long it is.
async fn settle() {
    std::thread::sleep(Duration::from_micros(200));
    tokio::task::yield_now().await;
}

fn failures(verifier: &JwtVerifier) -> u64 {
    verifier.status()[0].failures
}

fn fetches(verifier: &JwtVerifier) -> u64 {
    verifier.status()[0].fetches
}

#[tokio::test]
async fn keys_are_found_by_discovery() {
    let key = TestKey::p256("k1");
    let server = KeyServer::start(key_set(&[&key])).await;
    let verifier = JwtVerifier::start(&[server.config()]).unwrap();
    let token = key.token(&current_claims(&server));
    let error = verifier.verify(&token).unwrap_err();
    assert_eq!(error, TokenError::Unavailable { awaits_keys: true });
    let verified = verifier.verify_with_new_keys(&token).await.unwrap();
    assert_eq!(verified.subject, "ann");
    assert!(verifier.verify(&token).is_ok());
}

#[tokio::test]
async fn metadata_of_another_issuer_is_refused() {
    let server = KeyServer::start(key_set(&[])).await;
    for metadata in [
        json!({ "issuer": "https://evil.example", "jwks_uri": format!("{}/keys", server.url) }),
        json!({ "issuer": server.url, "jwks_uri": "http://evil.example/keys" }),
        json!({ "issuer": server.url, "jwks_uri": "file:///etc/passwd" }),
        json!({ "issuer": server.url }),
    ] {
        server.set_metadata(metadata.clone());
        let verifier = JwtVerifier::start(&[server.config()]).unwrap();
        until(|| failures(&verifier) == 1).await;
        assert_eq!(
            (fetches(&verifier), server.asked_for_keys()),
            (0, 0),
            "{metadata}"
        );
    }
}

#[tokio::test]
async fn a_rotated_key_is_accepted_after_one_fetch_however_long_the_old_may_be_cached() {
    let (first, second) = (TestKey::p256("k1"), TestKey::p256("k2"));
    let (server, verifier) = started(&[&first]).await;
    advance_s(10).await;
    server.set_keys(key_set(&[&second]));
    let token = second.token(&current_claims(&server));
    let error = verifier.verify(&token).unwrap_err();
    assert!(error.awaits_keys(), "{error}");
    verifier.verify_with_new_keys(&token).await.unwrap();
    assert_eq!(server.asked_for_keys(), 2);
    // The withdrawn key does not count any more, nor what it had signed.
    let old = verifier
        .verify(&first.token(&current_claims(&server)))
        .unwrap_err();
    assert!(matches!(old, TokenError::UnknownKey { .. }), "{old}");
}

#[tokio::test]
async fn keys_follow_many_rotations() {
    let ids = ["a", "b", "c", "d", "e"];
    let keys = ids.map(TestKey::p256);
    let (server, verifier) = started(&[&keys[0]]).await;
    for (index, key) in keys.iter().enumerate().skip(1) {
        server.set_keys(key_set(&[key]));
        advance_s(900).await;
        fetched(&verifier, index + 1).await;
        assert!(
            verifier
                .verify(&key.token(&current_claims(&server)))
                .is_ok()
        );
    }
}

#[tokio::test]
async fn ten_thousand_unknown_keys_cause_one_fetch_in_each_interval() {
    let key = TestKey::p256("k1");
    let (server, verifier) = started(&[&key]).await;
    let sent = AtomicUsize::new(0);
    for interval in 0..5 {
        for _ in 0..2000 {
            let id = sent.fetch_add(1, Relaxed);
            let header = json!({ "alg": "ES256", "kid": format!("unknown-{id}") });
            let token = key.token_with_header(&header, &current_claims(&server));
            let error = verifier.verify(&token).unwrap_err();
            assert!(matches!(error, TokenError::UnknownKey { .. }), "{error}");
        }
        assert_eq!(server.asked_for_keys(), interval + 1);
        advance_s(10).await;
        fetched(&verifier, interval + 2).await;
    }
    assert_eq!(server.asked_for_keys(), 6);
    // Nobody asks any more: one of them asked after the last fetch began, and no more follow.
    advance_s(10).await;
    let good = key.token(&current_claims(&server));
    assert!(verifier.verify(&good).is_ok());
    assert!(server.asked_for_keys() <= 7);
}

#[tokio::test]
async fn an_unknown_key_is_looked_for_once() {
    let (key, other) = (TestKey::p256("k1"), TestKey::p256("k2"));
    let (server, verifier) = started(&[&key]).await;
    let token = other.token(&current_claims(&server));
    advance_s(10).await;
    let error = verifier.verify_with_new_keys(&token).await.unwrap_err();
    assert_eq!(error, TokenError::UnknownKey { awaits_keys: false });
    advance_s(20).await;
    assert!(!verifier.verify(&token).unwrap_err().awaits_keys());
    assert_eq!(server.asked_for_keys(), 2);
    // It may have been published late, so after a minute it is looked for again.
    advance_s(40).await;
    assert!(verifier.verify(&token).unwrap_err().awaits_keys());
}

#[tokio::test]
async fn new_key_material_under_the_same_id_is_accepted_after_one_fetch() {
    let (old, new) = (TestKey::p256("k1"), TestKey::p256("k1"));
    let (server, verifier) = started(&[&old]).await;
    let old_token = old.token(&current_claims(&server));
    verifier.verify(&old_token).unwrap();
    advance_s(10).await;
    server.set_keys(key_set(&[&new]));
    let token = new.token(&current_claims(&server));
    verifier.verify_with_new_keys(&token).await.unwrap();
    assert_eq!(server.asked_for_keys(), 2);
    // What the old key had signed is not remembered.
    let error = verifier.verify(&old_token).unwrap_err();
    assert!(matches!(error, TokenError::Signature { .. }), "{error}");
}

#[tokio::test]
async fn wrong_signatures_do_not_cause_a_fetch_each() {
    let (key, forger) = (TestKey::p256("k1"), TestKey::p256("k1"));
    let (server, verifier) = started(&[&key]).await;
    for jti in 0..300 {
        let mut claims = current_claims(&server);
        claims["jti"] = jti.into();
        verifier.verify(&forger.token(&claims)).unwrap_err();
        if jti % 100 == 99 {
            advance_s(10).await;
            fetched(&verifier, 2).await;
        }
    }
    assert_eq!(server.asked_for_keys(), 2);
}

#[tokio::test]
async fn the_last_good_keys_are_kept_while_the_issuer_is_down() {
    let (key, new) = (TestKey::p256("k1"), TestKey::p256("k2"));
    let (server, verifier) = started(&[&key]).await;
    server.set_down(true);
    let token = key.token(&current_claims(&server));
    verifier.verify(&token).unwrap();
    let mut elapsed_s = 0;
    while elapsed_s < 86_000 {
        advance_s(1000).await;
        elapsed_s += 1000;
        let so_far = failures(&verifier);
        until(|| failures(&verifier) > so_far || so_far > 0).await;
        verifier.verify(&token).unwrap();
    }
    // Whether a new key was published cannot be seen now: not the caller's fault.
    let error = verifier
        .verify(&new.token(&current_claims(&server)))
        .unwrap_err();
    assert_eq!(error, TokenError::Unavailable { awaits_keys: false });
    // A day without keys: they may have been withdrawn long ago, also for tokens seen before.
    advance_s(1000).await;
    assert!(verifier.verify(&token).unwrap_err().is_unavailable());
    server.set_down(false);
    while fetches(&verifier) < 2 {
        advance_s(1).await;
        settle().await;
    }
    verifier.verify(&token).unwrap();
}

#[tokio::test]
async fn an_issuer_in_trouble_is_asked_less_and_less_often() {
    let key = TestKey::p256("k1");
    let server = KeyServer::start(key_set(&[&key])).await;
    server.set_down(true);
    let verifier = JwtVerifier::start(&[server.config()]).unwrap();
    until(|| failures(&verifier) == 1).await;
    let token = key.token(&current_claims(&server));
    for _ in 0..300 {
        advance_s(1).await;
        for _ in 0..10 {
            let error = verifier.verify(&token).unwrap_err();
            assert_eq!(error, TokenError::Unavailable { awaits_keys: false });
        }
        settle().await;
    }
    // Waits of at least 0.5, 1, 2, 4, 8, 15, 15 … seconds fit 4 + 20 times into five minutes.
    let count = failures(&verifier);
    assert!((5..=25).contains(&count), "{count} fetches in five minutes");
}

#[tokio::test]
async fn an_answer_that_is_too_long_or_no_key_set_changes_nothing() {
    let key = TestKey::p256("k1");
    let (server, verifier) = started(&[&key]).await;
    let token = key.token(&current_claims(&server));
    let long = json!({ "keys": [], "padding": "x".repeat(300_000) });
    for (index, keys) in [long, json!([]), json!({ "keys": {} })]
        .into_iter()
        .enumerate()
    {
        server.set_keys(keys);
        advance_s(900).await;
        until(|| failures(&verifier) > index as u64).await;
        verifier.verify(&token).unwrap();
    }
}

#[tokio::test]
async fn keys_that_are_all_withdrawn_verify_nothing() {
    let key = TestKey::p256("k1");
    let (server, verifier) = started(&[&key]).await;
    let token = key.token(&current_claims(&server));
    verifier.verify(&token).unwrap();
    server.set_keys(json!({ "keys": [] }));
    advance_s(900).await;
    fetched(&verifier, 2).await;
    let error = verifier.verify(&token).unwrap_err();
    assert!(matches!(error, TokenError::UnknownKey { .. }), "{error}");
}

#[tokio::test]
async fn equal_keys_do_not_forget_what_they_verified() {
    let key = TestKey::p256("k1");
    let (server, verifier) = started(&[&key]).await;
    let token = key.token(&current_claims(&server));
    let first: Arc<VerifiedToken> = verifier.verify(&token).unwrap();
    advance_s(900).await;
    fetched(&verifier, 2).await;
    assert!(Arc::ptr_eq(&first, &verifier.verify(&token).unwrap()));
}

#[tokio::test]
async fn tokens_that_wait_for_keys_are_few() {
    let key = TestKey::p256("k1");
    let (server, verifier) = started(&[&key]).await;
    let verifier = Arc::new(verifier);
    let finished = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for id in 0..200 {
        let header = json!({ "alg": "ES256", "kid": format!("unknown-{id}") });
        let token = key.token_with_header(&header, &current_claims(&server));
        let (verifier, finished) = (Arc::clone(&verifier), Arc::clone(&finished));
        tasks.spawn(async move {
            verifier.verify_with_new_keys(&token).await.unwrap_err();
            finished.fetch_add(1, Relaxed);
        });
    }
    until(|| finished.load(Relaxed) >= 200 - 64).await;
    assert_eq!(finished.load(Relaxed), 200 - 64);
    // The others give up, as the interval until the next fetch is longer than their patience.
    advance_s(5).await;
    while tasks.join_next().await.is_some() {}
    assert_eq!(server.asked_for_keys(), 1);
}

#[tokio::test]
async fn a_token_that_waited_for_the_first_keys_is_decided_by_them() {
    let (key, other) = (TestKey::p256("k1"), TestKey::p256("k1"));
    let server = KeyServer::start(key_set(&[&key])).await;
    let verifier = JwtVerifier::start(&[server.config()]).unwrap();
    let token = other.token(&current_claims(&server));
    let error = verifier.verify_with_new_keys(&token).await.unwrap_err();
    assert_eq!(error, TokenError::Signature { awaits_keys: false });
    assert_eq!(server.asked_for_keys(), 1);
}
