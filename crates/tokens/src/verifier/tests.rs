//! What is accepted and what is refused, with keys that need no fetching.

mod algorithms;
mod claims;
mod headers;
mod times;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::*;
use crate::key_set::KeySet;
use crate::testing::{ISSUER, NOW, TestKey, claims, config, key_set};

/// A verifier that has fetched this key set.
fn verifier(config: JwtIssuerConfig, keys: &Value) -> JwtVerifier {
    config.check().unwrap();
    let issuer = Issuer::new(config);
    let keys = KeySet::parse(keys.to_string().as_bytes()).unwrap();
    issuer.publish(keys, Instant::now());
    JwtVerifier::new(vec![Arc::new(issuer)], JoinSet::new())
}

/// A verifier with one key, and that key.
fn verifier_with_key() -> (JwtVerifier, TestKey) {
    let key = TestKey::p256("k1");
    (verifier(config(), &key_set(&[&key])), key)
}

/// Why a valid token with these changes of its claims is refused.
fn error_with(config: JwtIssuerConfig, changes: Value) -> TokenError {
    let key = TestKey::p256("k1");
    let verifier = verifier(config, &key_set(&[&key]));
    verifier
        .verify_at(&key.token(&claims(changes)), NOW)
        .unwrap_err()
}

#[test]
fn a_valid_token_says_who_it_speaks_for() {
    let (verifier, key) = verifier_with_key();
    let verified = verifier
        .verify_at(&key.token(&claims(json!({}))), NOW)
        .unwrap();
    assert_eq!(verified.issuer, ISSUER);
    assert_eq!(verified.subject, "ann");
    assert_eq!(verified.expires_at, NOW + 300);
    assert_eq!((verified.tenant.as_ref(), verified.groups.len()), (None, 0));
}

#[test]
fn a_token_that_was_verified_is_not_verified_again() {
    let (verifier, key) = verifier_with_key();
    let token = key.token(&claims(json!({})));
    let first = verifier.verify_at(&token, NOW).unwrap();
    assert!(Arc::ptr_eq(
        &first,
        &verifier.verify_at(&token, NOW).unwrap()
    ));
}

#[test]
fn a_token_that_differs_in_its_signature_only_is_verified_for_itself() {
    let (verifier, key) = verifier_with_key();
    let token = key.token(&claims(json!({})));
    verifier.verify_at(&token, NOW).unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { "B" } else { "A" };
    let forged = format!("{signed}.{first}{}", &signature[1..]);
    let error = verifier.verify_at(&forged, NOW).unwrap_err();
    assert!(matches!(error, TokenError::Signature { .. }), "{error}");
}

#[test]
fn a_cached_token_expires_like_any_other() {
    let (verifier, key) = verifier_with_key();
    let token = key.token(&claims(json!({})));
    verifier.verify_at(&token, NOW).unwrap();
    assert!(verifier.verify_at(&token, NOW + 359).is_ok());
    let error = verifier.verify_at(&token, NOW + 360).unwrap_err();
    assert_eq!(error, TokenError::Expired { seconds_ago: 60 });
    // The clock was set back, to before the token was issued.
    verifier.verify_at(&token, NOW).unwrap();
    assert!(verifier.verify_at(&token, NOW - 61).is_err());
}

#[test]
fn the_cache_holds_no_more_than_its_limit() {
    let key = TestKey::p256("k1");
    let limited = JwtIssuerConfig {
        max_cached_tokens: 16,
        ..config()
    };
    let verifier = verifier(limited, &key_set(&[&key]));
    let tokens: Vec<_> = (0..200)
        .map(|jti| key.token(&claims(json!({ "jti": jti }))))
        .collect();
    let first: Vec<_> = tokens
        .iter()
        .map(|token| verifier.verify_at(token, NOW).unwrap())
        .collect();
    let is_cached = |(token, first): &(&String, &Arc<VerifiedToken>)| {
        let digest = TokenDigest::of(token);
        let cached = verifier.issuers[0].cached(&digest, NOW);
        cached.is_some_and(|cached| Arc::ptr_eq(&cached.unwrap(), first))
    };
    let cached = tokens.iter().zip(&first).filter(is_cached).count();
    assert!((1..=16).contains(&cached), "{cached} of 200 are cached");
}

#[test]
fn a_token_over_the_limit_is_not_looked_at() {
    let (verifier, key) = verifier_with_key();
    let token = key.token(&claims(json!({ "padding": "x".repeat(16 * 1024) })));
    let error = verifier.verify_at(&token, NOW).unwrap_err();
    assert_eq!(error, TokenError::TooLong { limit: 16 * 1024 });
}

#[test]
fn no_error_quotes_the_token() {
    let (verifier, key) = verifier_with_key();
    let secret = "s3cret";
    let changes = [
        json!({ "iss": secret }),
        json!({ "aud": secret }),
        json!({ "exp": secret }),
        json!({ "sub": format!("{secret}\n") }),
    ];
    let claimed = changes
        .into_iter()
        .map(|changes| key.token(&claims(changes)));
    let headers = [
        json!({ "alg": secret }),
        json!({ "alg": "ES256", "kid": secret }),
        json!({ "alg": "ES256", "typ": secret }),
        json!({ "alg": "ES256", "crit": [secret] }),
    ];
    let headed = headers
        .iter()
        .map(|header| key.token_with_header(header, &claims(json!({}))));
    for token in claimed.chain(headed).chain([secret.to_owned()]) {
        let error = verifier.verify_at(&token, NOW).unwrap_err();
        let texts = format!("{error} {error:?}");
        assert!(!texts.contains(secret), "{texts}");
    }
}

#[test]
fn a_token_is_verified_with_the_keys_of_the_issuer_that_it_names() {
    let (ours, theirs) = (TestKey::p256("k"), TestKey::p256("k"));
    let other = JwtIssuerConfig {
        issuer: "https://other.example".to_owned(),
        ..config()
    };
    let issuers = [(config(), &ours), (other, &theirs)].map(|(config, key)| {
        let issuer = Issuer::new(config);
        let keys = KeySet::parse(key_set(&[key]).to_string().as_bytes()).unwrap();
        issuer.publish(keys, Instant::now());
        Arc::new(issuer)
    });
    let verifier = JwtVerifier::new(issuers.into(), JoinSet::new());
    let named = claims(json!({ "iss": "https://other.example" }));
    assert!(verifier.verify_at(&theirs.token(&named), NOW).is_ok());
    let error = verifier.verify_at(&ours.token(&named), NOW).unwrap_err();
    assert!(matches!(error, TokenError::Signature { .. }), "{error}");
    let unknown = claims(json!({ "iss": "https://other.example/" }));
    let error = verifier
        .verify_at(&theirs.token(&unknown), NOW)
        .unwrap_err();
    assert_eq!(error, TokenError::UnknownIssuer);
}
