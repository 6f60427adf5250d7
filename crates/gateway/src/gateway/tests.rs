use http::header;

use super::*;
use crate::{
    AllResources, Extent, NewApiKey, Permissions, PolicyDecider, PolicyDecision, Role, StoredKey,
};

/// A gateway with one key, of a caller of `fraud*`.
fn gateway() -> (Gateway, NewApiKey) {
    let gateway = Gateway::protected(Vec::new());
    let key = NewApiKey::generate().unwrap();
    let grant = Grant::of_role(Role::Caller, vec!["fraud*".parse().unwrap()]);
    let stored = StoredKey {
        id: "1".to_owned(),
        name: "shop".to_owned(),
        digest: key.digest(),
        tenant: "acme".to_owned(),
        grants: vec![grant],
        expires_ms: None,
    };
    gateway.set_keys(KeyTable::new(vec![stored], &KeyTable::default()));
    (gateway, key)
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pairs = pairs.iter().map(|(name, value)| {
        let name = HeaderName::from_static(name);
        (name, HeaderValue::from_str(value).unwrap())
    });
    pairs.collect()
}

fn ask(gateway: &Gateway, sent: &[(&'static str, &str)], endpoint: &str) -> Result<String, Denied> {
    let headers = headers(sent);
    let admitted = admit(gateway, &headers, Permission::Call, endpoint)?;
    Ok(admitted.caller().principal().to_string())
}

fn admit<R: Resource>(
    gateway: &Gateway,
    headers: &HeaderMap,
    permission: Permission,
    resource: R,
) -> Result<Authorized<R>, Denied> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(gateway.admit(Credentials::of(headers), permission, resource))
}

fn bad(why: BadCredentials) -> Result<String, Denied> {
    Err(Denied::BadCredentials(why))
}

#[test]
fn an_open_gateway_lets_everybody_in_whatever_they_send() {
    let sent = [("authorization", "Bearer anything")];
    assert_eq!(
        ask(&Gateway::open(), &sent, "x"),
        Ok("anonymous".to_owned())
    );
}

#[test]
fn a_key_opens_the_endpoints_of_its_grants_and_no_others() {
    let (gateway, key) = gateway();
    let bearer = format!("bearer {}", key.reveal());
    let expected = Ok("key:shop".to_owned());
    assert_eq!(
        ask(&gateway, &[("authorization", &bearer)], "fraud-eu"),
        expected
    );
    assert_eq!(
        ask(&gateway, &[("x-api-key", key.reveal())], "fraud"),
        expected
    );
    let other = ask(&gateway, &[("authorization", &bearer)], "churn");
    assert!(matches!(other, Err(Denied::Forbidden { .. })), "{other:?}");
}

#[test]
fn without_credentials_the_caller_is_asked_for_some() {
    let (gateway, _) = gateway();
    assert_eq!(ask(&gateway, &[], "fraud"), Err(Denied::NoCredentials));
}

#[test]
fn wrong_credentials_are_never_taken_for_none() {
    let everything = Grant::of_role(Role::Admin, vec!["*".parse().unwrap()]);
    let gateway = Gateway::protected(vec![everything]);
    gateway.set_keys(KeyTable::default());
    assert!(ask(&gateway, &[], "fraud").is_ok());
    let unknown = NewApiKey::generate().unwrap();
    let sent = [("x-api-key", unknown.reveal())];
    assert_eq!(
        ask(&gateway, &sent, "fraud"),
        bad(BadCredentials::UnknownKey)
    );
    for (value, why) in [
        ("Basic dTpw", BadCredentials::Scheme),
        ("Bearer", BadCredentials::Scheme),
        ("Bearer ", BadCredentials::UnknownKind),
        ("Bearer tdg_short", BadCredentials::Checksum),
        (
            "Bearer eyJhbGciOiJub25lIn0.e30.",
            BadCredentials::UnknownKind,
        ),
    ] {
        assert_eq!(
            ask(&gateway, &[("authorization", value)], "fraud"),
            bad(why),
            "{value}"
        );
    }
}

#[test]
fn two_credentials_are_refused_even_if_both_are_right() {
    let (gateway, key) = gateway();
    let bearer = format!("Bearer {}", key.reveal());
    let both = [
        ("authorization", bearer.as_str()),
        ("x-api-key", key.reveal()),
    ];
    assert_eq!(
        ask(&gateway, &both, "fraud"),
        bad(BadCredentials::Ambiguous)
    );
    let mut twice = headers(&both[..1]);
    twice.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer x"));
    let refused = admit(&gateway, &twice, Permission::Call, "fraud").unwrap_err();
    assert_eq!(refused, Denied::BadCredentials(BadCredentials::Ambiguous));
}

#[test]
fn keys_that_were_not_read_yet_are_not_unknown() {
    let gateway = Gateway::protected(Vec::new());
    let key = NewApiKey::generate().unwrap();
    let asked = ask(&gateway, &[("x-api-key", key.reveal())], "fraud");
    assert!(matches!(asked, Err(Denied::Unavailable(_))), "{asked:?}");
}

#[test]
fn a_revoked_key_is_refused_at_once() {
    let (gateway, key) = gateway();
    let sent = [("x-api-key", key.reveal())];
    assert!(ask(&gateway, &sent, "fraud").is_ok());
    gateway.set_keys(KeyTable::default());
    assert_eq!(
        ask(&gateway, &sent, "fraud"),
        bad(BadCredentials::UnknownKey)
    );
}

#[test]
fn what_is_public_is_open_to_expired_credentials_too() {
    let (gateway, _) = gateway();
    let sent = headers(&[("authorization", "Bearer tdg_gone")]);
    let admitted = admit(&gateway, &sent, Permission::Public, AllResources);
    assert!(admitted.is_ok(), "{admitted:?}");
}

#[test]
fn metrics_alone_can_be_public() {
    let metrics = Grant {
        permissions: Permissions::of(&[Permission::ViewMetrics]),
        resources: vec!["metrics:*".parse().unwrap()],
    };
    let gateway = Gateway::protected(vec![metrics]);
    let none = HeaderMap::new();
    for permission in Permission::ALL {
        let admitted = admit(&gateway, &none, permission, AllResources);
        let expected = matches!(permission, Permission::Public | Permission::ViewMetrics);
        assert_eq!(admitted.is_ok(), expected, "{permission:?}");
    }
}

#[test]
fn a_certificate_counts_where_the_headers_have_no_credentials() {
    let (gateway, key) = gateway();
    let binding = serde_json::json!({"role": "caller", "certificate": "spiffe://shop/*"});
    let bindings = [serde_json::from_value(binding).unwrap()];
    let gateway = gateway.with_certificates(&bindings).unwrap();
    let ask = |headers: &HeaderMap, name: &str, expires_ms: i64| {
        let certificate = ClientCertificate::new(name, expires_ms);
        let credentials = Credentials::of(headers).with_certificate(Some(&certificate));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let admitted = runtime.block_on(gateway.admit(credentials, Permission::Call, "churn"))?;
        Ok(admitted.caller().principal().to_string())
    };
    let none = HeaderMap::new();
    let shop = "spiffe://shop/a";
    assert_eq!(
        ask(&none, shop, i64::MAX),
        Ok(format!("certificate:{shop}"))
    );
    assert_eq!(ask(&none, shop, 1), bad(BadCredentials::ExpiredCertificate));
    let other = ask(&none, "spiffe://other/a", i64::MAX);
    assert!(matches!(other, Err(Denied::Forbidden { .. })), "{other:?}");
    // The key of `fraud*` is meant, not the certificate, which may call everything.
    let bearer = format!("Bearer {}", key.reveal());
    let other = ask(&headers(&[("authorization", &bearer)]), shop, i64::MAX);
    assert!(matches!(other, Err(Denied::Forbidden { .. })), "{other:?}");
}

/// Permits `churn`, forbids `fraud-eu`.
struct Rules;

impl PolicyDecider for Rules {
    fn decide(&self, _: &Identity, permission: Permission, extent: Extent<'_>) -> PolicyDecision {
        match (permission, extent) {
            (Permission::Call, Extent::One("churn")) => PolicyDecision::Permit,
            (Permission::Call, Extent::One("fraud-eu")) => PolicyDecision::Forbid,
            _ => PolicyDecision::Silent,
        }
    }
}

#[test]
fn policies_decide_besides_roles_from_the_next_request_on() {
    let (gateway, key) = gateway();
    let gateway = gateway.requiring_policies();
    let bearer = format!("Bearer {}", key.reveal());
    let sent = [("authorization", bearer.as_str())];
    assert!(ask(&gateway, &sent, "fraud").is_err(), "none were read yet");
    gateway.set_policies(Policies::new(Rules));
    for (endpoint, is_open) in [
        ("fraud", true),
        ("churn", true),
        ("fraud-eu", false),
        ("other", false),
    ] {
        assert_eq!(
            ask(&gateway, &sent, endpoint).is_ok(),
            is_open,
            "{endpoint}"
        );
    }
    assert_eq!(ask(&gateway, &[], "churn"), Ok("anonymous".to_owned()));
}

#[test]
fn what_is_public_is_not_asked_of_policies() {
    let gateway = Gateway::protected(Vec::new()).requiring_policies();
    assert!(admit(&gateway, &headers(&[]), Permission::Public, AllResources).is_ok());
}
