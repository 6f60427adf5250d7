//! Algorithms and keys.

use ring::hmac;

use super::*;
use crate::Algorithm;
use crate::testing::{encode, encode_json};

fn verify_with(keys: &Value, token: &str) -> Result<Arc<VerifiedToken>, TokenError> {
    let mut config = config();
    config.algorithms.push(Algorithm::Ps256);
    verifier(config, keys).verify_at(token, NOW)
}

fn is_unknown_key(result: Result<Arc<VerifiedToken>, TokenError>) -> bool {
    matches!(result, Err(TokenError::UnknownKey { .. }))
}

#[test]
fn tokens_of_every_kind_of_key_are_accepted() {
    let keys = [
        TestKey::rsa("r", "RS256"),
        TestKey::rsa("p", "PS256"),
        TestKey::p256("e"),
        TestKey::ed25519("o"),
    ];
    let set = key_set(&keys.each_ref());
    for key in &keys {
        verify_with(&set, &key.token(&claims(json!({})))).unwrap();
    }
}

#[test]
fn the_new_name_of_eddsa_is_accepted() {
    let key = TestKey::ed25519("o");
    let header = json!({ "alg": "Ed25519", "kid": "o" });
    let token = key.token_with_header(&header, &claims(json!({})));
    verify_with(&key_set(&[&key]), &token).unwrap();
}

#[test]
fn the_signature_of_another_key_is_refused() {
    for (ours, theirs) in [
        (TestKey::rsa("k", "RS256"), TestKey::rsa("k", "RS256")),
        (TestKey::p256("k"), TestKey::p256("k")),
        (TestKey::ed25519("k"), TestKey::ed25519("k")),
    ] {
        let error = verify_with(&key_set(&[&ours]), &theirs.token(&claims(json!({}))));
        assert!(
            matches!(error, Err(TokenError::Signature { .. })),
            "{error:?}"
        );
    }
}

#[test]
fn a_changed_payload_is_refused() {
    let key = TestKey::ed25519("k");
    let token = key.token(&claims(json!({})));
    let parts: Vec<_> = token.split('.').collect();
    let payload = encode_json(&claims(json!({ "sub": "bob" })));
    let forged = format!("{}.{payload}.{}", parts[0], parts[2]);
    let error = verify_with(&key_set(&[&key]), &forged);
    assert!(
        matches!(error, Err(TokenError::Signature { .. })),
        "{error:?}"
    );
}

#[test]
fn a_token_without_signature_is_refused() {
    let key = TestKey::p256("k");
    for name in ["none", "None", "NONE", ""] {
        let header = encode_json(&json!({ "alg": name, "kid": "k" }));
        let token = format!("{header}.{}.", encode_json(&claims(json!({}))));
        let error = verify_with(&key_set(&[&key]), &token).unwrap_err();
        assert!(matches!(error, TokenError::Algorithm(_)), "{name}: {error}");
    }
    // The algorithm is right, the signature is not there.
    let whole = key.token(&claims(json!({})));
    let (signed, _) = whole.rsplit_once('.').unwrap();
    assert!(verify_with(&key_set(&[&key]), &format!("{signed}.")).is_err());
    assert!(verify_with(&key_set(&[&key]), signed).is_err());
}

#[test]
fn the_public_key_is_no_secret_of_an_hmac() {
    let key = TestKey::rsa("k", "RS256");
    let mut without_alg = key.jwk();
    without_alg.as_object_mut().unwrap().shift_remove("alg");
    for set in [key_set(&[&key]), json!({ "keys": [without_alg] })] {
        for secret in key.as_secrets() {
            let header = encode_json(&json!({ "alg": "HS256", "kid": "k" }));
            let signed = format!("{header}.{}", encode_json(&claims(json!({}))));
            let secret = hmac::Key::new(hmac::HMAC_SHA256, &secret);
            let signature = hmac::sign(&secret, signed.as_bytes());
            let token = format!("{signed}.{}", encode(signature.as_ref()));
            let error = verify_with(&set, &token).unwrap_err();
            assert_eq!(error, TokenError::Algorithm("HS256"));
        }
    }
}

#[test]
fn a_key_is_used_for_its_own_algorithm_only() {
    let key = TestKey::rsa("k", "RS256");
    let header = json!({ "alg": "PS256", "kid": "k" });
    let token = key.token_with_header(&header, &claims(json!({})));
    assert!(is_unknown_key(verify_with(&key_set(&[&key]), &token)));
    // Neither is a key of another type, whatever the header says.
    let header = json!({ "alg": "ES256", "kid": "k" });
    let token = key.token_with_header(&header, &claims(json!({})));
    assert!(is_unknown_key(verify_with(&key_set(&[&key]), &token)));
}

#[test]
fn a_key_without_algorithm_is_used_for_those_of_its_type() {
    for key in [
        TestKey::rsa("k", "RS256"),
        TestKey::rsa("k", "PS256"),
        TestKey::p256("k"),
    ] {
        let mut jwk = key.jwk();
        jwk.as_object_mut().unwrap().shift_remove("alg");
        let set = json!({ "keys": [jwk] });
        verify_with(&set, &key.token(&claims(json!({})))).unwrap();
        let header = json!({ "alg": "EdDSA", "kid": "k" });
        let token = key.token_with_header(&header, &claims(json!({})));
        assert!(is_unknown_key(verify_with(&set, &token)));
    }
}

#[test]
fn the_allowed_algorithms_can_be_narrowed() {
    let key = TestKey::rsa("k", "RS256");
    let narrowed = JwtIssuerConfig {
        algorithms: vec![Algorithm::Es256],
        ..config()
    };
    let verifier = verifier(narrowed, &key_set(&[&key]));
    let error = verifier
        .verify_at(&key.token(&claims(json!({}))), NOW)
        .unwrap_err();
    assert!(matches!(error, TokenError::Algorithm(_)), "{error}");
}

/// A key set with one key, changed.
fn set_with(key: &TestKey, name: &str, value: Value) -> Value {
    let mut jwk = key.jwk();
    jwk[name] = value;
    json!({ "keys": [jwk] })
}

#[test]
fn a_key_for_another_purpose_is_not_used() {
    let key = TestKey::p256("k");
    let token = key.token(&claims(json!({})));
    verify_with(&set_with(&key, "key_ops", json!(["verify"])), &token).unwrap();
    for (name, value) in [
        ("use", json!("enc")),
        ("key_ops", json!(["deriveKey"])),
        ("alg", json!("ECDH-ES")),
        ("alg", json!("EdDSA")),
        ("crv", json!("P-384")),
        ("kty", json!("OKP")),
        // Everybody who can read the key set could sign with it.
        ("d", json!("AAAA")),
        ("kid", json!("other")),
        ("kid", json!(1)),
    ] {
        let result = verify_with(&set_with(&key, name, value.clone()), &token);
        assert!(is_unknown_key(result), "{name}: {value}");
    }
}

#[test]
fn a_weak_rsa_key_is_not_used() {
    let key = TestKey::rsa("k", "RS256");
    let token = key.token(&claims(json!({})));
    for length in [64, 128, 255, 1025] {
        let set = set_with(&key, "n", json!(encode(&vec![0xff; length])));
        assert!(is_unknown_key(verify_with(&set, &token)), "{length} bytes");
    }
}

#[test]
fn a_key_that_cannot_be_read_does_not_spoil_the_others() {
    let key = TestKey::p256("k");
    let token = key.token(&claims(json!({})));
    let odd = json!({ "kty": "AKP", "alg": "ML-DSA-65", "pub": "AAAA" });
    let set = json!({ "keys": [7, {}, odd, { "kty": "oct", "k": "AAAA" }, key.jwk()] });
    verify_with(&set, &token).unwrap();
}

#[test]
fn a_token_without_key_id_is_verified_with_the_keys_that_fit() {
    let (old, new) = (TestKey::p256("old"), TestKey::p256("new"));
    let header = json!({ "alg": "ES256" });
    let token = new.token_with_header(&header, &claims(json!({})));
    verify_with(&key_set(&[&old, &new]), &token).unwrap();
    assert!(verify_with(&key_set(&[&old]), &token).is_err());
}
