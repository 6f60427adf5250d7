//! The registry on an S3-compatible server, and what happens when that is not as it was.

#![cfg(feature = "s3")]
#![allow(clippy::unwrap_used, missing_docs, reason = "these are tests")]

#[path = "support/moto.rs"]
mod moto;
mod support;

use std::sync::Arc;
use std::time::Duration;

use moto::Moto;
use object_store::ObjectStoreExt;
use object_store::aws::AmazonS3Builder;
use support::{Fixture, noise, resolve};
use tidegate_registry::{ErrorCode, Progress, PushOptions, Registry};
use tokio::sync::Notify;

fn fixture(moto: &Moto) -> Fixture {
    let mut fixture = Fixture::new();
    fixture.config.storage = Some("s3://models/registry/one".to_owned());
    let options = [
        ("endpoint", moto.endpoint()),
        ("region", "us-east-1".to_owned()),
        ("access_key_id", "test".to_owned()),
        ("secret_access_key", "test".to_owned()),
    ];
    fixture.config.storage_options = options
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    fixture
}

/// Pushes until the first part was sent, and then lets go, as a process does that is killed.
async fn push_in_part(registry: &Registry, fixture: &Fixture, content: &[u8]) {
    let sent = Arc::new(Notify::new());
    let heard = sent.clone();
    let progress: Progress = Arc::new(move |stage, _, _| {
        if stage == "sending" {
            heard.notify_one();
        }
    });
    let bundle = fixture.bundle_of(
        "fraud",
        "# the second file is sent after the first\n",
        &[("model.onnx", content)],
    );
    let options = PushOptions {
        progress: Some(progress),
        ..PushOptions::default()
    };
    tokio::select! {
        _ = registry.push(&bundle, &options) => panic!("the push was not cut off"),
        () = async { sent.notified().await; sent.notified().await } => {}
    }
}

#[tokio::test]
async fn push_fetch_verify_and_collect_on_s3() {
    let moto = Moto::start();
    let fixture = fixture(&moto);
    let registry = fixture.open().await;
    let large = noise(1, 40 << 20);
    fixture.push(&registry, &large).await;
    fixture.push(&registry, b"small").await;
    let cached = registry
        .fetch(&resolve(&registry, "fraud:1").await)
        .await
        .unwrap();
    assert!(std::fs::read(cached.path().join("model.onnx")).unwrap() == large);
    let report = registry.verify(&|_, _| {}).await.unwrap();
    assert_eq!((report.problems.len(), report.objects), (0, 3));
    registry
        .delete(&resolve(&registry, "fraud:1").await)
        .await
        .unwrap();
    let collected = registry.collect_garbage(Duration::ZERO).await.unwrap();
    assert_eq!(
        (collected.objects, collected.bytes, collected.strays),
        (1, 40 << 20, 0)
    );
    registry
        .fetch(&resolve(&registry, "fraud:2").await)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_push_that_was_cut_off_goes_on() {
    let moto = Moto::start();
    let fixture = fixture(&moto);
    let content = noise(1, 90 << 20);
    push_in_part(&fixture.open().await, &fixture, &content).await;
    let registry = fixture.open().await;
    assert!(
        registry.versions(None).await.unwrap().is_empty(),
        "nothing half-made is to be seen"
    );
    let bundle = fixture.bundle_of(
        "fraud",
        "# the second file is sent after the first\n",
        &[("model.onnx", &content)],
    );
    let pushed = registry
        .push(&bundle, &PushOptions::default())
        .await
        .unwrap();
    assert!(pushed.resumed_bytes >= 16 << 20, "{pushed:?}");
    assert!(pushed.sent_bytes < 90 << 20, "{pushed:?}");
    let cached = registry.fetch(&pushed.version).await.unwrap();
    assert!(std::fs::read(cached.path().join("model.onnx")).unwrap() == content);
}

#[tokio::test]
async fn an_encrypted_push_that_was_cut_off_goes_on_or_is_collected() {
    let moto = Moto::start();
    let mut fixture = fixture(&moto);
    let key = fixture.folder.path().join("data.key");
    tidegate_registry::generate_key(&key).unwrap();
    fixture.config.encryption.key_file = Some(key);
    let content = noise(1, 90 << 20);
    push_in_part(&fixture.open().await, &fixture, &content).await;
    let registry = fixture.open().await;
    let bundle = fixture.bundle_of(
        "fraud",
        "# the second file is sent after the first\n",
        &[("model.onnx", &content)],
    );
    let pushed = registry
        .push(&bundle, &PushOptions::default())
        .await
        .unwrap();
    assert!(pushed.resumed_bytes >= 16 << 20, "{pushed:?}");
    assert_eq!(registry.verify(&|_, _| {}).await.unwrap().problems, []);

    push_in_part(&registry, &fixture, &noise(2, 90 << 20)).await;
    let collected = registry.collect_garbage(Duration::ZERO).await.unwrap();
    assert_eq!(collected.uploads, 1);
    assert_eq!(registry.verify(&|_, _| {}).await.unwrap().problems, []);
}

#[tokio::test]
async fn what_is_wrong_with_the_bucket_is_said_and_the_cache_goes_on() {
    let moto = Moto::start();
    let fixture = fixture(&moto);
    let registry = fixture.open().await;
    fixture.push(&registry, b"one").await;
    fixture.push(&registry, b"two").await;
    let (one, two) = (
        resolve(&registry, "fraud:1").await,
        resolve(&registry, "fraud:2").await,
    );
    registry.fetch(&one).await.unwrap();
    let bundle = fixture.bundle(b"three");
    let push = async || registry.push(&bundle, &PushOptions::default()).await;

    moto.refuse(true);
    assert_eq!(
        registry.fetch(&two).await.unwrap_err().code,
        ErrorCode::StorageDenied
    );
    assert_eq!(push().await.unwrap_err().code, ErrorCode::StorageDenied);
    registry
        .fetch(&one)
        .await
        .expect("what is in the cache needs no storage");
    moto.refuse(false);
    assert_eq!(
        push().await.unwrap().version.number,
        3,
        "it recovers by itself"
    );

    moto.forget();
    assert_eq!(
        registry.fetch(&two).await.unwrap_err().code,
        ErrorCode::StorageMissing
    );
    let bundle = fixture.bundle(b"four");
    let error = registry
        .push(&bundle, &PushOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::StorageMissing, "{error}");
    moto.request("PUT", "/models", b"");
    assert_eq!(
        registry.fetch(&two).await.unwrap_err().code,
        ErrorCode::ObjectMissing
    );
    registry.fetch(&one).await.unwrap();
}

#[tokio::test]
async fn a_truncated_object_is_found() {
    let moto = Moto::start();
    let fixture = fixture(&moto);
    let registry = fixture.open().await;
    let content = noise(1, 100_000);
    fixture.push(&registry, &content).await;
    let version = resolve(&registry, "fraud:1").await;
    let location = registry_location(&fixture, &content).await;
    overwrite(&moto, &location, &content[..50_000]).await;
    let error = registry.fetch(&version).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::ObjectCorrupt);
    assert!(error.message.contains("has 50000 bytes"), "{error}");
    overwrite(&moto, &location, &content).await;
    registry.fetch(&version).await.unwrap();
}

/// Writes to the bucket behind the registry's back.
async fn overwrite(moto: &Moto, location: &str, bytes: &[u8]) {
    let bucket = AmazonS3Builder::new()
        .with_bucket_name("models")
        .with_region("us-east-1")
        .with_endpoint(moto.endpoint())
        .with_allow_http(true)
        .with_access_key_id("test")
        .with_secret_access_key("test");
    let path = format!("registry/one/{location}").into();
    bucket
        .build()
        .unwrap()
        .put(&path, bytes.to_vec().into())
        .await
        .unwrap();
}

async fn registry_location(fixture: &Fixture, content: &[u8]) -> String {
    use sqlx::Row;
    sqlx::any::install_default_drivers();
    let url = format!("sqlite:{}", fixture.data().join("registry.db").display());
    let pool = sqlx::AnyPool::connect(&url).await.unwrap();
    let digest = tidegate_registry::Digest::of(content).hex();
    let row = sqlx::query("SELECT location FROM objects WHERE digest = $1")
        .bind(digest)
        .fetch_one(&pool)
        .await
        .unwrap();
    row.get("location")
}

#[tokio::test]
async fn a_server_that_is_away_is_named() {
    let mut fixture = Fixture::new();
    fixture.config.storage = Some("s3://models".to_owned());
    let endpoint = ("endpoint".to_owned(), "http://127.0.0.1:1".to_owned());
    fixture.config.storage_options = [endpoint, ("region".to_owned(), "x".to_owned())].into();
    fixture
        .config
        .storage_options
        .insert("skip_signature".to_owned(), "true".to_owned());
    let registry = fixture.open().await;
    let error = registry
        .push(&fixture.bundle(b"one"), &PushOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::StorageUnavailable);
    assert!(error.message.contains("s3://models"), "{error}");
    let mut wrong = fixture.config.clone();
    wrong
        .storage_options
        .insert("regiom".to_owned(), "x".to_owned());
    let error = Registry::open(&wrong, &fixture.data(), "me")
        .await
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidConfig);
    wrong.storage = Some("ftp://x".to_owned());
    assert_eq!(
        Registry::open(&wrong, &fixture.data(), "me")
            .await
            .unwrap_err()
            .code,
        ErrorCode::InvalidConfig
    );
}
