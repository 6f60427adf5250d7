use http::header;

use super::*;
use crate::{Credentials, Grant, NewApiKey, Permission, Role, StoredKey};

fn gateway() -> (Gateway, NewApiKey) {
    let gateway = Gateway::protected(Vec::new());
    let gateway = gateway
        .with_login(&LoginConfig::default(), &[], &[], false)
        .unwrap();
    let key = NewApiKey::generate().unwrap();
    gateway.set_keys(table(&key));
    (gateway, key)
}

fn table(key: &NewApiKey) -> KeyTable {
    let stored = StoredKey {
        id: "1".to_owned(),
        name: "ada".to_owned(),
        digest: key.digest(),
        tenant: String::new(),
        grants: vec![Grant::of_role(Role::Admin, vec!["*".parse().unwrap()])],
        expires_ms: None,
    };
    KeyTable::new(vec![stored], &KeyTable::default())
}

/// The header that a browser sends after it was given a cookie.
fn sent_back(cookie: &HeaderValue) -> HeaderMap {
    let pair = cookie.to_str().unwrap().split(';').next().unwrap();
    HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_str(pair).unwrap())])
}

async fn who(gateway: &Gateway, credentials: Credentials<'_>) -> Result<String, Denied> {
    let caller = gateway.authenticate(credentials).await?;
    let permitted = gateway.authorize(caller, Permission::ViewOperations, "")?;
    Ok(permitted.caller.principal().to_string())
}

#[tokio::test]
async fn a_session_counts_only_where_it_is_asked_for() {
    let (gateway, key) = gateway();
    let logged_in = gateway.log_in_with_key(key.reveal()).unwrap();
    let cookie = gateway
        .begin_session(&logged_in, &HeaderMap::new())
        .unwrap();
    let headers = sent_back(&cookie);
    let credentials = Credentials::of(&headers);
    assert_eq!(who(&gateway, credentials).await, Err(Denied::NoCredentials));
    assert_eq!(
        who(&gateway, credentials.or_session()).await.unwrap(),
        "key:ada"
    );
    assert_eq!(
        gateway.session(&headers).unwrap().principal().to_string(),
        "key:ada"
    );
}

#[tokio::test]
async fn a_session_ends_at_once_with_its_key() {
    let (gateway, key) = gateway();
    let logged_in = gateway.log_in_with_key(key.reveal()).unwrap();
    let headers = sent_back(
        &gateway
            .begin_session(&logged_in, &HeaderMap::new())
            .unwrap(),
    );
    gateway.set_keys(KeyTable::default());
    let credentials = Credentials::of(&headers).or_session();
    assert_eq!(who(&gateway, credentials).await, Err(Denied::NoCredentials));
    assert!(gateway.session(&headers).is_none());
}

#[test]
fn each_login_has_an_id_of_its_own_and_ends_the_session_before_it() {
    let (gateway, key) = gateway();
    let logged_in = gateway.log_in_with_key(key.reveal()).unwrap();
    // An id that somebody else chose is never taken.
    let chosen = sent_back(&HeaderValue::from_static("tidegate_session=0123"));
    let first = gateway.begin_session(&logged_in, &chosen).unwrap();
    assert!(gateway.session(&chosen).is_none());
    let second = gateway
        .begin_session(&logged_in, &sent_back(&first))
        .unwrap();
    assert_ne!(first, second);
    assert!(gateway.session(&sent_back(&first)).is_none());
    assert!(gateway.session(&sent_back(&second)).is_some());
    gateway.end_session(&sent_back(&second));
    assert!(gateway.session(&sent_back(&second)).is_none());
}

#[test]
fn only_keys_log_in_as_keys() {
    let (gateway, _) = gateway();
    for wrong in [
        "",
        "tdg_",
        "eyJhbGciOi",
        NewApiKey::generate().unwrap().reveal(),
    ] {
        let denied = gateway.log_in_with_key(wrong).err();
        assert!(
            matches!(denied, Some(Denied::BadCredentials(_))),
            "{denied:?}"
        );
    }
    assert!(Gateway::open().log_in_with_key("tdg_").is_err());
}

#[test]
fn over_tls_the_cookie_is_for_this_host_alone() {
    let (_, key) = gateway();
    for (has_tls, public_url, is_secure) in [
        (false, None, false),
        (true, None, true),
        (false, Some("https://models.example.com"), true),
        (false, Some("http://models.example.com"), false),
    ] {
        let config = LoginConfig {
            public_url: public_url.map(str::to_owned),
            ..LoginConfig::default()
        };
        let gateway = Gateway::protected(Vec::new());
        let gateway = gateway.with_login(&config, &[], &[], has_tls).unwrap();
        gateway.set_keys(table(&key));
        let logged_in = gateway.log_in_with_key(key.reveal()).unwrap();
        let cookie = gateway
            .begin_session(&logged_in, &HeaderMap::new())
            .unwrap();
        let cookie = cookie.to_str().unwrap();
        assert_eq!(cookie.starts_with("__Host-"), is_secure, "{cookie}");
        assert_eq!(cookie.ends_with("; Secure"), is_secure, "{cookie}");
    }
}
