//! `exp`, `nbf` and `iat` against the clock, with a skew of 60 s.

use super::*;

fn result_with(changes: Value) -> Result<Arc<VerifiedToken>, TokenError> {
    let (verifier, key) = verifier_with_key();
    verifier.verify_at(&key.token(&claims(changes)), NOW)
}

#[test]
fn each_time_may_be_wrong_by_the_skew_but_not_more() {
    // The claim, its distance from now in seconds, and whether the token is valid.
    for (claim, distance, is_valid) in [
        ("exp", -61, false),
        ("exp", -60, false),
        ("exp", -59, true),
        ("exp", 0, true),
        ("exp", 60, true),
        ("nbf", -60, true),
        ("nbf", 0, true),
        ("nbf", 60, true),
        ("nbf", 61, false),
        ("iat", -86_400, true),
        ("iat", 59, true),
        ("iat", 60, true),
        ("iat", 61, false),
    ] {
        let result = result_with(json!({ claim: NOW + distance }));
        assert_eq!(result.is_ok(), is_valid, "{claim} {distance:+}: {result:?}");
    }
}

#[test]
fn without_skew_times_are_exact() {
    let key = TestKey::p256("k1");
    let exact = JwtIssuerConfig {
        clock_skew_s: 0,
        ..config()
    };
    let verifier = verifier(exact, &key_set(&[&key]));
    let mut valid = Vec::new();
    for (claim, distance) in [("exp", 0), ("exp", 1), ("nbf", 0), ("nbf", 1), ("iat", 1)] {
        let token = key.token(&claims(json!({ claim: NOW + distance })));
        if verifier.verify_at(&token, NOW).is_ok() {
            valid.push((claim, distance));
        }
    }
    assert_eq!(valid, [("exp", 1), ("nbf", 0)]);
}

#[test]
fn an_expiry_is_demanded() {
    let error = result_with(json!({ "exp": null })).unwrap_err();
    assert_eq!(error, TokenError::MissingClaim("exp".into()));
    for claim in ["nbf", "iat"] {
        result_with(json!({ claim: null })).unwrap();
    }
}

#[test]
fn a_time_of_a_wrong_type_is_an_error_and_not_absent() {
    for claim in ["exp", "nbf", "iat"] {
        let texts = [
            json!((NOW + 100).to_string()),
            json!("2099-01-01T00:00:00Z"),
        ];
        let others = [
            json!(true),
            json!([NOW]),
            json!({}),
            json!(-1),
            json!(1e300),
        ];
        // Milliseconds would mean a token that is valid for ever, or never yet.
        let milliseconds = [json!(NOW * 1000)];
        for value in texts.into_iter().chain(others).chain(milliseconds) {
            let error = result_with(json!({ claim: value })).unwrap_err();
            assert!(
                matches!(error, TokenError::InvalidClaim { .. }),
                "{claim}: {value}: {error}"
            );
        }
    }
    // `claims` removes what is null, so this is written by hand.
    let (verifier, key) = verifier_with_key();
    let mut payload = claims(json!({}));
    payload["nbf"] = Value::Null;
    assert!(verifier.verify_at(&key.token(&payload), NOW).is_err());
}

#[test]
fn a_time_may_be_a_fraction() {
    result_with(json!({ "exp": NOW as f64 + 0.5, "iat": NOW as f64 - 0.5 })).unwrap();
}
