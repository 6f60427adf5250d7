//! API keys in a real database.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::time::Duration;

use tidegate_gateway::{
    ApiKeyError, ApiKeys, Caller, ChangedBy, Credentials, Gateway, GrantConfig, KeyRequest,
    KeyTable, LastAdminKey, Permission, Role,
};
use tidegate_store::Store;

const ALICE: ChangedBy<'_> = ChangedBy::Operator("alice");
const BOB: ChangedBy<'_> = ChangedBy::Operator("bob");

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

/// The owner of a key.
async fn owner(keys: &ApiKeys, key: &str) -> Caller {
    let gateway = Gateway::protected(Vec::new());
    gateway.set_keys(keys.table(&KeyTable::default()).await.unwrap());
    let mut headers = http::HeaderMap::new();
    headers.insert("x-api-key", key.parse().unwrap());
    let owner = gateway.authenticate(Credentials::of(&headers)).await;
    owner.unwrap()
}

fn admin_of(name: &str, tenant: &str, resources: &[&str]) -> KeyRequest {
    KeyRequest {
        tenant: tenant.to_owned(),
        grants: vec![GrantConfig {
            role: Role::Admin,
            resources: resources.iter().map(|name| (*name).to_owned()).collect(),
        }],
        ..request(name)
    }
}

#[tokio::test]
async fn a_caller_makes_and_replaces_no_key_that_permits_more_than_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let keys = keys(&folder).await;
    let root = keys.create(ALICE, &admin_of("root", "", &["*"])).await;
    let lead = admin_of("lead", "acme", &["keys:*", "fraud*"]);
    let lead = keys.create(ALICE, &lead).await.unwrap();
    let lead = owner(&keys, lead.reveal()).await;
    let by = ChangedBy::Caller(&lead);
    keys.create(by, &request("shop")).await.unwrap();
    keys.rotate(by, "shop", Duration::ZERO).await.unwrap();
    let named = keys.store().api_keys().await.unwrap();
    assert_eq!(named.last().unwrap().created_by, "key:lead");
    let refused = [
        keys.create(by, &admin_of("more", "acme", &["*"]))
            .await
            .err(),
        keys.create(by, &admin_of("other", "umbrella", &["fraud"]))
            .await
            .err(),
        keys.rotate(by, "root", Duration::ZERO).await.err(),
        keys.revoke(by, "root", LastAdminKey::Keep).await.err(),
    ];
    for error in refused {
        assert!(
            matches!(error, Some(ApiKeyError::NotPermitted(_))),
            "{error:?}"
        );
    }
    assert!(opens(&keys, root.unwrap().reveal()).await);
    keys.revoke(by, "shop", LastAdminKey::Keep).await.unwrap();
    keys.store().close().await;
}

#[tokio::test]
async fn the_database_never_has_the_key_itself() {
    let folder = tempfile::tempdir().unwrap();
    let keys = keys(&folder).await;
    let key = keys.create(ALICE, &request("shop")).await.unwrap();
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
    let first = keys.create(ALICE, &request("shop")).await.unwrap();
    let again = keys.create(ALICE, &request("shop")).await.unwrap_err();
    assert!(matches!(again, ApiKeyError::Exists(_)), "{again}");
    assert_eq!(
        keys.revoke(ALICE, "shop", LastAdminKey::Keep)
            .await
            .unwrap(),
        1
    );
    assert!(!opens(&keys, first.reveal()).await);
    let again = keys
        .revoke(ALICE, "shop", LastAdminKey::Keep)
        .await
        .unwrap_err();
    assert!(matches!(again, ApiKeyError::Unknown(_)), "{again}");
    let second = keys.create(ALICE, &request("shop")).await.unwrap();
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
    let old = keys.create(ALICE, &request("shop")).await.unwrap();
    let hour = Duration::from_secs(3600);
    let new = keys.rotate(BOB, "shop", hour).await.unwrap();
    assert!(opens(&keys, old.reveal()).await && opens(&keys, new.reveal()).await);
    let newest = keys.rotate(BOB, "shop", Duration::ZERO).await.unwrap();
    assert!(!opens(&keys, old.reveal()).await && !opens(&keys, new.reveal()).await);
    assert!(opens(&keys, newest.reveal()).await);
    assert_eq!(
        keys.revoke(BOB, "shop", LastAdminKey::Keep).await.unwrap(),
        1
    );
    assert!(!opens(&keys, newest.reveal()).await);
}

#[tokio::test]
async fn an_expired_key_opens_nothing_and_its_name_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let keys = keys(&folder).await;
    let short = KeyRequest {
        valid_for: Some(Duration::from_millis(1)),
        ..request("shop")
    };
    let key = keys.create(ALICE, &short).await.unwrap();
    while opens(&keys, key.reveal()).await {
        tokio::task::yield_now().await;
    }
    assert!(keys.create(ALICE, &request("shop")).await.is_ok());
}

#[tokio::test]
async fn wrong_names_roles_and_resources_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let keys = keys(&folder).await;
    for name in ["", "a b", "\u{1b}[31m", &"x".repeat(129)] {
        let refused = keys.create(ALICE, &request(name)).await.unwrap_err();
        assert!(matches!(refused, ApiKeyError::Name(_)), "{refused}");
    }
    let mut wrong = request("shop");
    wrong.grants[0].resources = vec!["a*b".to_owned()];
    let refused = keys.create(ALICE, &wrong).await.unwrap_err();
    assert!(matches!(refused, ApiKeyError::Pattern(_)), "{refused}");
    wrong.grants.clear();
    let refused = keys.create(ALICE, &wrong).await.unwrap_err();
    assert!(matches!(refused, ApiKeyError::NoGrants), "{refused}");
    assert!(keys.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_last_use_of_a_key_never_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let keys = keys(&folder).await;
    keys.create(ALICE, &request("shop")).await.unwrap();
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
    keys.create(ALICE, &request("shop")).await.unwrap();
    let created = keys.store().api_keys_change().await.unwrap();
    keys.revoke(ALICE, "shop", LastAdminKey::Keep)
        .await
        .unwrap();
    let revoked = keys.store().api_keys_change().await.unwrap();
    assert!(start < created && created < revoked);
}

#[tokio::test]
async fn the_name_of_a_revoked_key_goes_to_another_tenant_only_by_who_manages_both() {
    let folder = tempfile::tempdir().unwrap();
    let keys = keys(&folder).await;
    keys.create(ALICE, &request("shop")).await.unwrap();
    let theirs = admin_of("theirs", "umbrella", &["*"]);
    let theirs = keys.create(ALICE, &theirs).await.unwrap();
    let of_umbrella = owner(&keys, theirs.reveal()).await;
    let by_umbrella = ChangedBy::Caller(&of_umbrella);
    let foreign = KeyRequest {
        tenant: "umbrella".to_owned(),
        ..request("shop")
    };
    // Whether it is valid or revoked, another tenant is told no more than that.
    for _ in 0..2 {
        let refused = keys.create(by_umbrella, &foreign).await.unwrap_err();
        assert!(matches!(refused, ApiKeyError::Taken(_)), "{refused}");
        let _ = keys.revoke(ALICE, "shop", LastAdminKey::Keep).await;
    }
    keys.create(ALICE, &foreign).await.unwrap();
    keys.store().close().await;
}

#[tokio::test]
async fn the_last_key_that_can_manage_keys_is_revoked_only_by_force() {
    let folder = tempfile::tempdir().unwrap();
    let keys = keys(&folder).await;
    for (name, tenant) in [("root", ""), ("lead", "acme"), ("other", "umbrella")] {
        let request = admin_of(name, tenant, &["*"]);
        keys.create(ALICE, &request).await.unwrap();
    }
    // A key of no tenant manages the keys of all, but not the other way round.
    keys.revoke(ALICE, "lead", LastAdminKey::Keep)
        .await
        .unwrap();
    let refused = keys.revoke(ALICE, "root", LastAdminKey::Keep).await;
    assert!(
        matches!(refused, Err(ApiKeyError::LastAdmin(_))),
        "{refused:?}"
    );
    // One that manages nothing but the keys of some models is not enough, nor is one that was replaced.
    keys.create(ALICE, &admin_of("models", "", &["fraud*"]))
        .await
        .unwrap();
    keys.rotate(ALICE, "root", Duration::ZERO).await.unwrap();
    let refused = keys.revoke(ALICE, "root", LastAdminKey::Keep).await;
    assert!(
        matches!(refused, Err(ApiKeyError::LastAdmin(_))),
        "{refused:?}"
    );
    keys.create(ALICE, &admin_of("next", "", &["*"]))
        .await
        .unwrap();
    keys.revoke(ALICE, "root", LastAdminKey::Keep)
        .await
        .unwrap();
    keys.revoke(ALICE, "next", LastAdminKey::Forced)
        .await
        .unwrap();
    keys.store().close().await;
}

#[tokio::test]
async fn a_key_that_could_not_make_another_one_does_not_count_as_a_manager() {
    let folder = tempfile::tempdir().unwrap();
    let keys = keys(&folder).await;
    keys.create(ALICE, &admin_of("root", "", &["*"]))
        .await
        .unwrap();
    keys.create(ALICE, &admin_of("only-keys", "", &["keys:*"]))
        .await
        .unwrap();
    let for_a_minute = KeyRequest {
        valid_for: Some(Duration::from_secs(60)),
        ..admin_of("for-a-minute", "", &["*"])
    };
    let for_a_minute = keys.create(ALICE, &for_a_minute).await.unwrap();
    let refused = keys.revoke(ALICE, "root", LastAdminKey::Keep).await;
    assert!(
        matches!(refused, Err(ApiKeyError::LastAdmin(_))),
        "{refused:?}"
    );
    // A rotation by a key that ends sooner would leave no lasting manager, too.
    let short_lived = owner(&keys, for_a_minute.reveal()).await;
    let by = ChangedBy::Caller(&short_lived);
    let refused = keys.rotate(by, "root", Duration::ZERO).await;
    assert!(matches!(refused, Err(ApiKeyError::LastAdmin(_))));
    keys.rotate(ALICE, "root", Duration::ZERO).await.unwrap();
    keys.store().close().await;
}

#[tokio::test]
async fn a_key_that_is_valid_for_no_time_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let keys = keys(&folder).await;
    let no_time = KeyRequest {
        valid_for: Some(Duration::ZERO),
        ..request("shop")
    };
    let refused = keys.create(ALICE, &no_time).await.unwrap_err();
    assert!(matches!(refused, ApiKeyError::NoTime), "{refused}");
    assert!(keys.list().await.unwrap().is_empty());
    keys.store().close().await;
}
