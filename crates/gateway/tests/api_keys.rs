//! API keys in a real database.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::time::Duration;

use tidegate_gateway::{
    ApiKeyError, ApiKeys, Credentials, Gateway, GrantConfig, KeyRequest, KeyTable, Permission, Role,
};
use tidegate_store::Store;

async fn keys(folder: &tempfile::TempDir) -> ApiKeys {
    let database = folder.path().join("keys.db").display().to_string();
    ApiKeys::new(Store::open(&database).await.unwrap())
}

fn request(name: &str) -> KeyRequest {
    KeyRequest {
        name: name.to_owned(),
        tenant: "acme".to_owned(),
        grants: vec![GrantConfig {
            role: Role::Caller,
            resources: vec!["fraud*".to_owned()],
        }],
        valid_for: None,
    }
}

/// Whether a key opens the endpoint `fraud` now.
async fn opens(keys: &ApiKeys, key: &str) -> bool {
    let gateway = Gateway::protected(Vec::new());
    gateway.set_keys(keys.table(&KeyTable::default()).await.unwrap());
    let mut headers = http::HeaderMap::new();
    headers.insert("x-api-key", key.parse().unwrap());
    gateway
        .admit(Credentials::of(&headers), Permission::Call, "fraud")
        .await
        .is_ok()
}

#[tokio::test]
async fn the_database_never_has_the_key_itself() {
    let folder = tempfile::tempdir().unwrap();
    let keys = keys(&folder).await;
    let key = keys.create("alice", &request("shop")).await.unwrap();
    assert!(opens(&keys, key.reveal()).await);
    keys.store().close().await;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let content = std::fs::read(entry.unwrap().path()).unwrap();
        let secret = &key.reveal().as_bytes()[key.hint().len()..];
        assert!(!content.windows(secret.len()).any(|part| part == secret));
    }
}

#[tokio::test]
async fn a_name_has_one_valid_key_until_it_is_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let keys = keys(&folder).await;
    let first = keys.create("alice", &request("shop")).await.unwrap();
    let again = keys.create("alice", &request("shop")).await.unwrap_err();
    assert!(matches!(again, ApiKeyError::Exists(_)), "{again}");
    assert_eq!(keys.revoke("alice", "shop").await.unwrap(), 1);
    assert!(!opens(&keys, first.reveal()).await);
    let again = keys.revoke("alice", "shop").await.unwrap_err();
    assert!(matches!(again, ApiKeyError::Unknown(_)), "{again}");
    let second = keys.create("alice", &request("shop")).await.unwrap();
    assert!(opens(&keys, second.reveal()).await);
    assert_eq!(
        keys.list().await.unwrap().len(),
        2,
        "revoked keys stay in the list"
    );
}

#[tokio::test]
async fn a_rotated_key_stays_valid_for_the_overlap() {
    let folder = tempfile::tempdir().unwrap();
    let keys = keys(&folder).await;
    let old = keys.create("alice", &request("shop")).await.unwrap();
    let hour = Duration::from_secs(3600);
    let new = keys.rotate("bob", "shop", hour).await.unwrap();
    assert!(opens(&keys, old.reveal()).await && opens(&keys, new.reveal()).await);
    let newest = keys.rotate("bob", "shop", Duration::ZERO).await.unwrap();
    assert!(!opens(&keys, old.reveal()).await && !opens(&keys, new.reveal()).await);
    assert!(opens(&keys, newest.reveal()).await);
    assert_eq!(keys.revoke("bob", "shop").await.unwrap(), 1);
    assert!(!opens(&keys, newest.reveal()).await);
}

#[tokio::test]
async fn an_expired_key_opens_nothing_and_its_name_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let keys = keys(&folder).await;
    let short = KeyRequest {
        valid_for: Some(Duration::ZERO),
        ..request("shop")
    };
    let key = keys.create("alice", &short).await.unwrap();
    assert!(!opens(&keys, key.reveal()).await);
    assert!(keys.create("alice", &request("shop")).await.is_ok());
}

#[tokio::test]
async fn wrong_names_roles_and_resources_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let keys = keys(&folder).await;
    for name in ["", "a b", "\u{1b}[31m", &"x".repeat(129)] {
        let refused = keys.create("alice", &request(name)).await.unwrap_err();
        assert!(matches!(refused, ApiKeyError::Name(_)), "{refused}");
    }
    let mut wrong = request("shop");
    wrong.grants[0].resources = vec!["a*b".to_owned()];
    let refused = keys.create("alice", &wrong).await.unwrap_err();
    assert!(matches!(refused, ApiKeyError::Pattern(_)), "{refused}");
    wrong.grants.clear();
    let refused = keys.create("alice", &wrong).await.unwrap_err();
    assert!(matches!(refused, ApiKeyError::NoGrants), "{refused}");
    assert!(keys.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_last_use_of_a_key_never_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let keys = keys(&folder).await;
    keys.create("alice", &request("shop")).await.unwrap();
    let id = keys.list().await.unwrap()[0].id.clone();
    for used_ms in [2000, 1000] {
        let uses = [(id.clone(), used_ms)];
        keys.store().note_api_key_uses(&uses).await.unwrap();
    }
    assert_eq!(keys.list().await.unwrap()[0].last_used_ms, Some(2000));
}

#[tokio::test]
async fn every_change_of_keys_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let keys = keys(&folder).await;
    let start = keys.store().api_keys_change().await.unwrap();
    keys.create("alice", &request("shop")).await.unwrap();
    let created = keys.store().api_keys_change().await.unwrap();
    keys.revoke("alice", "shop").await.unwrap();
    let revoked = keys.store().api_keys_change().await.unwrap();
    assert!(start < created && created < revoked);
}
