//! A login at a server that plays the issuer.

use serde_json::{Value, json};

use super::*;
use crate::testing::{KeyServer, TestKey, claims, key_set};

const CLIENT: &str = "console";

/// An issuer with one key, and logins with it.
async fn started() -> (KeyServer, TestKey, OidcLogin) {
    let key = TestKey::p256("k1");
    let server = KeyServer::start(key_set(&[&key])).await;
    server.set_metadata(json!({
        "issuer": server.url,
        "jwks_uri": format!("{}/keys", server.url),
        "authorization_endpoint": format!("{}/auth?tenant=1", server.url),
        "token_endpoint": format!("{}/token", server.url),
    }));
    let config = OidcLoginConfig {
        client_id: CLIENT.to_owned(),
        redirect_url: "http://127.0.0.1:8000/console/login".to_owned(),
        scopes: vec!["profile".to_owned()],
        ..OidcLoginConfig::default()
    };
    let login = OidcLogin::start(&server.config(), config).unwrap();
    (server, key, login)
}

/// Begins a login, lets the issuer answer with an ID token of these claims, and finishes it.
async fn finish_with(
    (server, key, login): &(KeyServer, TestKey, OidcLogin),
    changes: Value,
) -> Result<Arc<VerifiedToken>, LoginError> {
    let start = login.begin().await?;
    server.set_token_answer(json!({ "id_token": id_token(server, key, &start, changes) }));
    login.finish(&start.pending, &answer(&start)).await
}

fn id_token(server: &KeyServer, key: &TestKey, start: &LoginStart, changes: Value) -> String {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let mut said = claims(json!({
        "iss": server.url, "aud": CLIENT, "exp": now + 300, "nbf": now, "iat": now,
        "nonce": start.pending.nonce,
    }));
    for (name, value) in changes.as_object().unwrap() {
        said[name] = value.clone();
    }
    key.token(&said)
}

fn answer(start: &LoginStart) -> LoginAnswer {
    LoginAnswer {
        code: "code-1".to_owned(),
        state: start.pending.state.clone(),
        iss: None,
    }
}

fn parameter(url: &str, name: &str) -> String {
    let url = Url::parse(url).unwrap();
    let found = url.query_pairs().find(|(key, _)| key == name);
    found
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

#[tokio::test]
async fn a_login_says_who_came_back() {
    let (server, key, login) = started().await;
    let start = login.begin().await.unwrap();
    assert!(
        start
            .redirect_to
            .starts_with(&format!("{}/auth?tenant=1&", server.url))
    );
    assert_eq!(parameter(&start.redirect_to, "scope"), "openid profile");
    assert_eq!(
        parameter(&start.redirect_to, "code_challenge_method"),
        "S256"
    );
    server.set_token_answer(json!({ "id_token": id_token(&server, &key, &start, json!({})) }));
    let verified = login.finish(&start.pending, &answer(&start)).await.unwrap();
    assert_eq!(verified.subject, "ann");

    // The issuer hashes what came with the code, and compares with what came before.
    let form = format!("http://x/?{}", server.last_form());
    assert_eq!(parameter(&form, "code"), "code-1");
    let hashed = digest(&SHA256, parameter(&form, "code_verifier").as_bytes());
    let challenge = parameter(&start.redirect_to, "code_challenge");
    assert_eq!(challenge, URL_SAFE_NO_PAD.encode(hashed));
}

#[tokio::test]
async fn every_login_has_secrets_of_its_own() {
    let (_server, _, login) = started().await;
    let [first, second] = [login.begin().await.unwrap(), login.begin().await.unwrap()];
    assert_ne!(first.pending.state, second.pending.state);
    assert_ne!(first.pending.nonce, second.pending.nonce);
    assert_ne!(first.pending.code_verifier, second.pending.code_verifier);
}

#[tokio::test]
async fn an_id_token_of_another_login_or_client_is_refused() {
    let started = started().await;
    for changes in [
        json!({ "nonce": "other" }),
        json!({ "nonce": null }),
        json!({ "aud": "other" }),
        json!({ "aud": [CLIENT, "other"], "azp": "other" }),
        json!({ "azp": 1 }),
        json!({ "exp": 1 }),
    ] {
        let error = finish_with(&started, changes.clone()).await.unwrap_err();
        assert!(matches!(error, LoginError::Token(_)), "{changes}: {error}");
    }
    finish_with(&started, json!({ "aud": [CLIENT, "other"], "azp": CLIENT }))
        .await
        .unwrap();
}

#[tokio::test]
async fn the_answer_to_another_login_is_not_exchanged() {
    let (server, _, login) = started().await;
    let start = login.begin().await.unwrap();
    let mut foreign = answer(&start);
    foreign.state.push('x');
    let mut mixed_up = answer(&start);
    mixed_up.iss = Some("https://other.example".to_owned());
    for answer in [foreign, mixed_up] {
        let error = login.finish(&start.pending, &answer).await.unwrap_err();
        assert!(matches!(error, LoginError::State), "{error}");
    }
    let mut late = start.pending.clone();
    late.began_at -= Duration::from_secs(601);
    let error = login.finish(&late, &answer(&start)).await.unwrap_err();
    assert!(matches!(error, LoginError::Late), "{error}");
    assert_eq!(server.last_form(), "");
}

#[test]
fn id_and_secret_are_encoded_before_they_are_joined() {
    // printf 'a%%3Ab:c%%26%%2B' | base64
    assert_eq!(basic("a:b", "c&+"), "Basic YSUzQWI6YyUyNiUyQg==");
}
