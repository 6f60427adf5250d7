//! The form of a token, and its header.

use super::*;
use crate::testing::{encode, encode_json};

fn with_header(changes: Value) -> Result<Arc<VerifiedToken>, TokenError> {
    let (verifier, key) = verifier_with_key();
    let mut header = key.header();
    for (name, value) in changes.as_object().unwrap() {
        header[name] = value.clone();
    }
    verifier.verify_at(&key.token_with_header(&header, &claims(json!({}))), NOW)
}

#[test]
fn a_key_in_the_header_is_not_used() {
    let (verifier, ours) = verifier_with_key();
    let theirs = TestKey::p256("k1");
    for name in ["jwk", "jku", "x5u", "x5c"] {
        let value = match name {
            "jwk" => theirs.jwk(),
            "x5c" => json!(["MIIB"]),
            _ => json!("http://127.0.0.1:9/keys"),
        };
        let mut header = theirs.header();
        header[name] = value.clone();
        let error = verifier.verify_at(&theirs.token_with_header(&header, &claims(json!({}))), NOW);
        assert!(
            matches!(error, Err(TokenError::Signature { .. })),
            "{name}: {error:?}"
        );
        // Issuers do send them; they do no harm to a token of the issuer's own key.
        let mut header = ours.header();
        header[name] = value;
        verifier
            .verify_at(&ours.token_with_header(&header, &claims(json!({}))), NOW)
            .unwrap();
    }
}

#[test]
fn extensions_are_refused() {
    for changes in [
        json!({ "crit": ["exp"], "exp": NOW }),
        json!({ "crit": [] }),
        json!({ "b64": false, "crit": ["b64"] }),
        json!({ "b64": false }),
    ] {
        assert_eq!(with_header(changes).unwrap_err(), TokenError::Extension);
    }
}

#[test]
fn only_access_and_id_tokens_are_accepted() {
    for name in ["JWT", "at+jwt", "application/at+jwt", "jwt"] {
        with_header(json!({ "typ": name })).unwrap();
    }
    for name in ["logout+jwt", "dpop+jwt", "secevent+jwt", "JOSE", ""] {
        assert_eq!(
            with_header(json!({ "typ": name })).unwrap_err(),
            TokenError::Type
        );
    }
}

#[test]
fn wrong_types_in_the_header_are_refused() {
    for changes in [
        json!({ "alg": 1 }),
        json!({ "alg": null }),
        json!({ "kid": 1 }),
    ] {
        let error = with_header(changes.clone()).unwrap_err();
        assert!(
            matches!(error, TokenError::Malformed(_)),
            "{changes}: {error}"
        );
    }
}

#[test]
fn what_is_no_compact_token_is_refused() {
    let (verifier, key) = verifier_with_key();
    let good = key.token(&claims(json!({})));
    let encrypted = format!("{good}.AAAA.AAAA");
    let parts: Vec<_> = good.split('.').collect();
    let padded = format!("{}.{}.{}=", parts[0], parts[1], parts[2]);
    let spaced = format!("{good}\n");
    let json = json!({ "payload": parts[1], "protected": parts[0], "signature": parts[2] });
    let json = json.to_string();
    for token in [
        "", ".", "..", "a.b.c", "Bearer", &encrypted, &padded, &spaced, &json,
    ] {
        let error = verifier.verify_at(token, NOW).unwrap_err();
        assert!(matches!(error, TokenError::Malformed(_)), "{error}");
    }
}

#[test]
fn two_members_of_one_name_are_refused() {
    let (verifier, key) = verifier_with_key();
    let header = encode_json(&key.header());
    let payload = claims(json!({})).to_string();
    let twice = payload.replace("\"sub\":\"ann\"", "\"sub\":\"ann\",\"sub\":\"root\"");
    let token = key.sign(&format!("{header}.{}", encode(twice.as_bytes())));
    let error = verifier.verify_at(&token, NOW).unwrap_err();
    assert!(matches!(error, TokenError::Malformed(_)), "{error}");

    let header = encode(br#"{"alg":"none","alg":"ES256","kid":"k1"}"#);
    let token = key.sign(&format!("{header}.{}", encode(payload.as_bytes())));
    let error = verifier.verify_at(&token, NOW).unwrap_err();
    assert!(matches!(error, TokenError::Malformed(_)), "{error}");
}

#[test]
fn a_payload_that_is_no_object_is_refused() {
    let (verifier, key) = verifier_with_key();
    for payload in [json!([]), json!("iss"), json!(null)] {
        let error = verifier.verify_at(&key.token(&payload), NOW).unwrap_err();
        assert!(matches!(error, TokenError::Malformed(_)), "{error}");
    }
}
