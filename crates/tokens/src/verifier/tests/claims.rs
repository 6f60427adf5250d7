//! Audience, subject, tenant, groups and the claims that the configuration demands.

use super::*;

fn verified(config: JwtIssuerConfig, changes: Value) -> Arc<VerifiedToken> {
    let key = TestKey::p256("k1");
    let verifier = verifier(config, &key_set(&[&key]));
    verifier
        .verify_at(&key.token(&claims(changes)), NOW)
        .unwrap()
}

#[test]
fn the_audience_is_a_string_or_an_array_with_one_of_ours() {
    let config = JwtIssuerConfig {
        audiences: vec!["models".to_owned(), "api".to_owned()],
        ..config()
    };
    for audience in [json!("api"), json!(["other", "models"])] {
        verified(config.clone(), json!({ "aud": audience }));
    }
    for audience in [
        json!("other"),
        json!("model"),
        json!("models/x"),
        json!(["x"]),
        json!([]),
    ] {
        let error = error_with(config.clone(), json!({ "aud": audience }));
        assert_eq!(error, TokenError::Audience, "{audience}");
    }
    for audience in [json!(1), json!({ "models": true }), json!(["models", 1])] {
        let error = error_with(config.clone(), json!({ "aud": audience }));
        assert!(
            matches!(error, TokenError::InvalidClaim { .. }),
            "{audience}: {error}"
        );
    }
    let error = error_with(config, json!({ "aud": null }));
    assert_eq!(error, TokenError::MissingClaim("aud".into()));
}

#[test]
fn a_subject_is_demanded_and_fit_for_a_log() {
    let error = error_with(config(), json!({ "sub": null }));
    assert_eq!(error, TokenError::MissingClaim("sub".into()));
    for subject in [json!(""), json!(7), json!("a\nb"), json!("x".repeat(256))] {
        let error = error_with(config(), json!({ "sub": subject }));
        assert!(
            matches!(error, TokenError::InvalidClaim { .. }),
            "{subject}: {error}"
        );
    }
}

#[test]
fn subject_tenant_and_groups_come_from_the_configured_claims() {
    let config = JwtIssuerConfig {
        subject_claim: "client_id".to_owned(),
        tenant_claim: Some("org.id".to_owned()),
        groups_claim: Some("realm_access.roles".to_owned()),
        kept_claims: vec!["email".to_owned(), "absent".to_owned()],
        ..config()
    };
    let token = verified(
        config.clone(),
        json!({
            "client_id": "batch", "org": { "id": "acme" },
            "realm_access": { "roles": ["caller", "viewer"] },
            "email": "a@b.example", "phone": "1",
        }),
    );
    assert_eq!(token.subject, "batch");
    assert_eq!(token.tenant.as_deref(), Some("acme"));
    assert_eq!(token.groups, ["caller", "viewer"]);
    assert_eq!(
        Value::Object(token.claims.clone()),
        json!({ "email": "a@b.example" })
    );

    // Without a tenant the caller would share that of strangers; without groups it has no roles.
    let token = verified(
        config.clone(),
        json!({ "client_id": "x", "org": { "id": "acme" } }),
    );
    assert!(token.groups.is_empty());
    let error = error_with(config, json!({ "client_id": "x" }));
    assert_eq!(error, TokenError::MissingClaim("org.id".into()));
}

#[test]
fn a_name_with_dots_is_a_claim_before_it_is_a_path() {
    let config = JwtIssuerConfig {
        groups_claim: Some("https://a.example/roles".to_owned()),
        ..config()
    };
    let token = verified(config, json!({ "https://a.example/roles": "admin" }));
    assert_eq!(token.groups, ["admin"]);
}

#[test]
fn groups_of_a_wrong_type_are_an_error() {
    let config = JwtIssuerConfig {
        groups_claim: Some("groups".to_owned()),
        ..config()
    };
    for groups in [json!(1), json!({ "admin": true }), json!(["admin", 1])] {
        let error = error_with(config.clone(), json!({ "groups": groups }));
        assert!(
            matches!(error, TokenError::InvalidClaim { .. }),
            "{groups}: {error}"
        );
    }
}

#[test]
fn demanded_claims_are_demanded() {
    let mut config = config();
    config.required_claims = [
        ("tid".to_owned(), vec!["t1".to_owned(), "t2".to_owned()]),
        ("email_verified".to_owned(), vec!["true".to_owned()]),
        ("jti".to_owned(), Vec::new()),
    ]
    .into();
    let good = json!({ "tid": "t2", "email_verified": true, "jti": "7" });
    verified(config.clone(), good.clone());
    for (name, value, expected) in [
        ("tid", json!("t3"), TokenError::ClaimValue("tid".into())),
        (
            "tid",
            json!({ "t1": 1 }),
            TokenError::ClaimValue("tid".into()),
        ),
        (
            "email_verified",
            json!(false),
            TokenError::ClaimValue("email_verified".into()),
        ),
        ("jti", Value::Null, TokenError::MissingClaim("jti".into())),
    ] {
        let mut changes = good.clone();
        changes[name] = value;
        assert_eq!(error_with(config.clone(), changes), expected);
    }
}

#[test]
fn a_token_bound_to_a_key_is_no_bearer_token() {
    let error = error_with(config(), json!({ "cnf": { "jkt": "x" } }));
    assert_eq!(error, TokenError::Bound);
}
