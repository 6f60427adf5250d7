//! Whatever is changed behind the registry's back is found, named and not used.

#![allow(clippy::unwrap_used, missing_docs, reason = "these are tests")]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use support::{Fixture, noise, resolve};
use tidegate_registry::{
    ErrorCode, ImportOptions, PushOptions, Registry, RequireSignature, SigningKeys, Verdict,
    generate_key,
};

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// The code with which a fetch of `fraud:1` and a verification fail.
async fn code(registry: &Registry) -> ErrorCode {
    let error = registry
        .fetch(&resolve(registry, "fraud:1").await)
        .await
        .unwrap_err();
    let report = registry.verify(&|_, _| {}).await.unwrap();
    let found = report
        .problems
        .iter()
        .find(|problem| problem.versions.contains(&"fraud:1".to_owned()));
    assert_eq!(found.unwrap().error.code, error.code, "{error}");
    error.code
}

async fn each_change_of_a_stored_content_has_its_code(fixture: Fixture) {
    let registry = fixture.open().await;
    let (one, two) = (noise(1, 300_000), noise(2, 300_000));
    fixture.push(&registry, &one).await;
    fixture.push(&registry, &two).await;
    assert!(
        registry
            .verify(&|_, _| {})
            .await
            .unwrap()
            .problems
            .is_empty()
    );
    let place = fixture.stored(&one);
    let whole = std::fs::read(&place).unwrap();
    for at in [0, 100_000, whole.len() - 50] {
        flip(&place, at);
        assert_eq!(code(&registry).await, ErrorCode::ObjectCorrupt);
        std::fs::write(&place, &whole).unwrap();
    }
    std::fs::write(&place, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(code(&registry).await, ErrorCode::ObjectCorrupt);
    std::fs::write(&place, []).unwrap();
    assert_eq!(code(&registry).await, ErrorCode::ObjectCorrupt);
    std::fs::copy(fixture.stored(&two), &place).unwrap();
    assert_eq!(code(&registry).await, ErrorCode::ObjectSwapped);
    std::fs::remove_file(&place).unwrap();
    assert_eq!(code(&registry).await, ErrorCode::ObjectMissing);
    std::fs::write(&place, &whole).unwrap();
    registry
        .fetch(&resolve(&registry, "fraud:1").await)
        .await
        .unwrap();
    registry
        .fetch(&resolve(&registry, "fraud:2").await)
        .await
        .unwrap();
}

#[tokio::test]
async fn changes_of_plain_contents_are_found() {
    each_change_of_a_stored_content_has_its_code(Fixture::new()).await;
}

fn encrypted() -> (Fixture, PathBuf) {
    let mut fixture = Fixture::new();
    let key = fixture.folder.path().join("data.key");
    generate_key(&key).unwrap();
    fixture.config.encryption.key_file = Some(key.clone());
    (fixture, key)
}

#[tokio::test]
async fn changes_of_encrypted_contents_are_found() {
    each_change_of_a_stored_content_has_its_code(encrypted().0).await;
}

#[tokio::test]
async fn encrypted_contents_need_their_key_and_follow_its_rotation() {
    let (mut fixture, old) = encrypted();
    let secret = noise(3, 20 << 20);
    fixture.push(&fixture.open().await, &secret).await;
    let stored = std::fs::read(fixture.stored(&secret)).unwrap();
    assert!(
        !stored
            .windows(64)
            .any(|window| window == &secret[1000..1064]),
        "the content is not to be seen"
    );

    let new = fixture.folder.path().join("new.key");
    generate_key(&new).unwrap();
    fixture.config.encryption.key_file = Some(new);
    assert_eq!(code(&fixture.open().await).await, ErrorCode::WrongKey);
    fixture.config.encryption.previous_keys = vec![old];
    let registry = fixture.open().await;
    assert_eq!(
        (
            registry.rewrap_keys().await.unwrap(),
            registry.rewrap_keys().await.unwrap()
        ),
        (2, 0)
    );
    assert_eq!(
        std::fs::read(fixture.stored(&secret)).unwrap(),
        stored,
        "contents are not touched"
    );
    fixture.config.encryption.previous_keys.clear();
    let registry = fixture.open().await;
    let cached = registry
        .fetch(&resolve(&registry, "fraud:1").await)
        .await
        .unwrap();
    assert_eq!(
        std::fs::read(cached.path().join("model.onnx")).unwrap(),
        secret
    );
    fixture.config.encryption.key_file = None;
    let error = fixture
        .open()
        .await
        .verify(&|_, _| {})
        .await
        .unwrap()
        .problems
        .remove(0)
        .error;
    assert!(error.message.contains("configured is none"), "{error}");
}

fn signing(policy: RequireSignature) -> (Fixture, PathBuf) {
    let mut fixture = Fixture::new();
    fixture.config.require_signature = policy;
    let keys = fixture.data().join("keys");
    SigningKeys::generate(&keys).unwrap();
    (fixture, keys)
}

async fn sql(fixture: &Fixture, statement: &'static str) {
    sqlx::any::install_default_drivers();
    let url = format!("sqlite:{}", fixture.data().join("registry.db").display());
    let pool = sqlx::AnyPool::connect(&url).await.unwrap();
    sqlx::raw_sql(statement).execute(&pool).await.unwrap();
    pool.close().await;
}

#[tokio::test]
async fn an_older_content_under_a_newer_number_is_refused() {
    let (fixture, _) = signing(RequireSignature::Always);
    let registry = fixture.open().await;
    fixture.push(&registry, b"old and weak").await;
    fixture.push(&registry, b"new").await;
    let fetched = async |name: &str| {
        registry
            .fetch(&resolve(&registry, name).await)
            .await
            .map_err(|error| error.code)
    };
    fetched("fraud:2").await.unwrap();
    // Whoever writes to the database puts the content and the signature of number 1 in the place of
    // number 2.
    sql(
        &fixture,
        "DROP INDEX versions_by_digest;
         UPDATE versions SET digest = (SELECT digest FROM versions WHERE number = 1) WHERE number = 2;
         UPDATE signatures SET signature = (SELECT signature FROM signatures WHERE number = 1) WHERE number = 2;
         UPDATE version_files SET digest = (SELECT f.digest FROM version_files f WHERE f.number = 1 AND f.path = version_files.path),
             bytes = (SELECT f.bytes FROM version_files f WHERE f.number = 1 AND f.path = version_files.path)
         WHERE number = 2;",
    )
    .await;
    assert_eq!(
        fetched("fraud:2").await.unwrap_err(),
        ErrorCode::ManifestDowngraded
    );
    fetched("fraud:1").await.unwrap();
}

#[tokio::test]
async fn a_changed_list_of_files_and_a_changed_signature_are_told_apart() {
    let (fixture, _) = signing(RequireSignature::Always);
    let registry = fixture.open().await;
    fixture.push(&registry, b"one").await;
    fixture.push(&registry, b"two").await;
    sql(
        &fixture,
        "UPDATE version_files SET path = 'other.onnx' WHERE number = 1 AND path = 'model.onnx'",
    )
    .await;
    assert_eq!(code(&registry).await, ErrorCode::ManifestCorrupt);
    sql(
        &fixture,
        "UPDATE version_files SET path = 'model.onnx' WHERE number = 1 AND path = 'other.onnx'",
    )
    .await;
    // One in sixteen begins with the digit that takes the first one's place.
    let change = "UPDATE signatures SET signature = \
                  CASE substr(signature, 1, 1) WHEN '0' THEN '1' ELSE '0' END || substr(signature, 2) WHERE number = 1";
    sql(&fixture, change).await;
    assert_eq!(code(&registry).await, ErrorCode::BadSignature);
    sql(&fixture, "DELETE FROM signatures WHERE number = 1").await;
    assert_eq!(code(&registry).await, ErrorCode::Unsigned);
}

#[tokio::test]
async fn keys_are_rotated_and_revoked_under_a_registry() {
    let (fixture, keys) = signing(RequireSignature::Always);
    let registry = fixture.open().await;
    fixture.push(&registry, b"one").await;
    let old = SigningKeys::open(&keys).unwrap().list().remove(0).id;
    let new = SigningKeys::generate(&keys).unwrap();
    SigningKeys::revoke(&keys, &old).unwrap();
    let registry = fixture.open().await;
    assert_eq!(code(&registry).await, ErrorCode::RevokedKey);
    assert_eq!(
        fixture.push(&registry, b"one").await.signed_by,
        Some(new.to_string()),
        "pushed again, it is signed anew"
    );
    let (_, verdict) = registry
        .inspect(&resolve(&registry, "fraud:1").await)
        .await
        .unwrap();
    assert_eq!(verdict, Verdict::Signed(new));
}

#[tokio::test]
async fn the_cache_serves_without_the_registry_and_notices_changes() {
    let (fixture, keys) = signing(RequireSignature::Always);
    let registry = fixture.open().await;
    fixture.push(&registry, b"one").await;
    let version = resolve(&registry, "fraud:1").await;
    let path = registry.fetch(&version).await.unwrap().path().to_owned();
    let snapshot = registry.snapshot().await.unwrap();
    registry.cache().keep_snapshot(&snapshot).unwrap();
    registry.close().await;
    for gone in ["registry.db", "registry.db-wal", "registry.db-shm"] {
        let _ = std::fs::remove_file(fixture.data().join(gone));
    }
    std::fs::remove_dir_all(fixture.data().join("objects")).unwrap();

    let cache = tidegate_registry::Cache::open(&fixture.config, &fixture.data()).unwrap();
    let snapshot = cache.last_snapshot().unwrap().unwrap();
    let known = snapshot.resolve(&"fraud:1".parse().unwrap()).unwrap();
    assert_eq!(cache.load(known).await.unwrap().unwrap().path(), path);

    let file = path.join("model.onnx");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::write(&file, b"one").unwrap();
    assert!(
        cache.load(known).await.unwrap().is_some(),
        "touched, and read again: it is the same"
    );
    std::fs::write(&file, b"0ne").unwrap();
    assert!(cache.load(known).await.unwrap().is_none());
    std::fs::write(&file, b"one").unwrap();
    let id = SigningKeys::open(&keys).unwrap().list().remove(0).id;
    SigningKeys::revoke(&keys, &id).unwrap();
    let cache = tidegate_registry::Cache::open(&fixture.config, &fixture.data()).unwrap();
    assert_eq!(
        cache.load(known).await.unwrap_err().code,
        ErrorCode::RevokedKey,
        "trust is checked without the registry too"
    );
}

#[tokio::test]
async fn a_broken_cache_entry_is_filled_again() {
    let fixture = Fixture::new();
    let registry = fixture.open().await;
    fixture.push(&registry, b"one").await;
    let version = resolve(&registry, "fraud:1").await;
    let first = registry.fetch(&version).await.unwrap();
    let file = first.path().join("model.onnx");
    std::fs::remove_file(&file).unwrap();
    let second = registry.fetch(&version).await.unwrap();
    assert_eq!(
        std::fs::read(second.path().join("model.onnx")).unwrap(),
        b"one"
    );
}

#[tokio::test]
async fn the_cache_stays_within_its_bounds_and_keeps_what_is_used() {
    let mut fixture = Fixture::new();
    fixture.config.cache_max_bytes = 250_000;
    let registry = fixture.open().await;
    for seed in 1..=4 {
        fixture.push(&registry, &noise(seed, 100_000)).await;
    }
    let fetch = async |number: i64| {
        registry
            .fetch(&resolve(&registry, &format!("fraud:{number}")).await)
            .await
    };
    let held = fetch(1).await.unwrap();
    drop(fetch(2).await.unwrap());
    let third = fetch(3).await.unwrap();
    assert!(held.path().exists(), "it is used, though for longest");
    let there = |version: &tidegate_registry::VersionRecord| {
        fixture
            .data()
            .join("cache/versions")
            .join(version.digest.hex())
            .exists()
    };
    assert!(!there(&resolve(&registry, "fraud:2").await));
    let error = fetch(4).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::CacheTooSmall);
    drop(third);
    fetch(4).await.unwrap();
    assert!(!there(&resolve(&registry, "fraud:3").await) && held.path().exists());
}

#[tokio::test]
async fn many_fill_the_cache_at_once_and_get_the_same() {
    let fixture = Fixture::new();
    let registry = fixture.open().await;
    let content = noise(1, 2 << 20);
    fixture.push(&registry, &content).await;
    let version = resolve(&registry, "fraud:1").await;
    let mut fetches = tokio::task::JoinSet::new();
    for _ in 0..6 {
        // Each with a registry of its own, as processes have.
        let (registry, version) = (fixture.open().await, version.clone());
        fetches.spawn(async move { registry.fetch(&version).await.unwrap() });
    }
    for cached in fetches.join_all().await {
        assert_eq!(
            std::fs::read(cached.path().join("model.onnx")).unwrap(),
            content
        );
    }
    assert_eq!(
        std::fs::read_dir(fixture.data().join("cache/tmp"))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test]
async fn an_export_brings_versions_signatures_and_aliases_along() {
    let (from, keys) = signing(RequireSignature::Always);
    let registry = from.open().await;
    let content = noise(1, 3 << 20);
    for content in [content.as_slice(), b"two"] {
        from.push(&registry, content).await;
    }
    registry
        .set_alias("champion", &resolve(&registry, "fraud:2").await)
        .await
        .unwrap();
    let file = from.folder.path().join("fraud.tar.zst");
    let versions = registry.versions(None).await.unwrap();
    registry
        .export(&versions, &file, Default::default())
        .await
        .unwrap();
    let again = registry
        .export(&versions, &file, Default::default())
        .await
        .unwrap_err();
    assert_eq!(again.code, ErrorCode::FileUnusable, "it is not overwritten");

    let mut to = Fixture::new();
    to.config.require_signature = RequireSignature::Always;
    let options = ImportOptions {
        aliases: true,
        ..ImportOptions::default()
    };
    let error = to.open().await.import(&file, &options).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::UntrustedKey);
    let public = keys.join(format!(
        "trusted/{}.pem",
        SigningKeys::open(&keys).unwrap().list()[0].id
    ));
    SigningKeys::trust(&to.data().join("keys"), &public).unwrap();
    let registry = to.open().await;
    let imported = registry.import(&file, &options).await.unwrap();
    let names: Vec<&str> = imported.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["fraud:1", "fraud:2"]);
    assert_eq!(resolve(&registry, "fraud@champion").await.number, 2);
    let cached = registry
        .fetch(&resolve(&registry, "fraud:1").await)
        .await
        .unwrap();
    assert_eq!(
        std::fs::read(cached.path().join("model.onnx")).unwrap(),
        content
    );
    assert!(
        registry
            .import(&file, &options)
            .await
            .unwrap()
            .iter()
            .all(|one| !one.pushed.created),
        "once is enough"
    );
}

#[tokio::test]
async fn a_number_that_is_taken_needs_another_one() {
    let from = Fixture::new();
    let registry = from.open().await;
    from.push(&registry, b"theirs").await;
    let file = from.folder.path().join("fraud.tar.zst");
    registry
        .export(
            &registry.versions(None).await.unwrap(),
            &file,
            Default::default(),
        )
        .await
        .unwrap();
    let to = Fixture::new();
    let registry = to.open().await;
    to.push(&registry, b"ours").await;
    let error = registry
        .import(&file, &ImportOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::NumberTaken);
    let options = ImportOptions {
        renumber: true,
        ..ImportOptions::default()
    };
    let imported = registry.import(&file, &options).await.unwrap();
    assert_eq!(
        (imported[0].name.as_str(), imported[0].pushed.version.number),
        ("fraud:1", 2)
    );
}

#[tokio::test]
async fn a_push_that_nobody_could_use_is_refused_before_anything_is_added() {
    let (mut fixture, keys) = signing(RequireSignature::Always);
    let id = SigningKeys::open(&keys).unwrap().list().remove(0).id;
    SigningKeys::revoke(&keys, &id).unwrap();
    let registry = fixture.open().await;
    let bundle = fixture.bundle(b"one");
    let error = registry
        .push(&bundle, &PushOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::KeyUnavailable, "{error}");
    assert!(registry.versions(None).await.unwrap().is_empty());

    // A machine that demands no signatures may push without one; the version is not used here.
    fixture.config.require_signature = RequireSignature::Never;
    let lenient = fixture.open().await;
    let pushed = lenient
        .push(&bundle, &PushOptions::default())
        .await
        .unwrap();
    assert_eq!(pushed.signed_by, None);
    assert_eq!(
        registry.fetch(&pushed.version).await.unwrap_err().code,
        ErrorCode::Unsigned
    );
    SigningKeys::generate(&keys).unwrap();
    fixture.config.require_signature = RequireSignature::Always;
    let registry = fixture.open().await;
    registry.sign(&pushed.version).await.unwrap();
    registry.fetch(&pushed.version).await.unwrap();
}

#[tokio::test]
async fn what_the_database_says_of_a_signed_version_is_held_against_its_file() {
    let (fixture, _) = signing(RequireSignature::Always);
    let registry = fixture.open().await;
    let bundle = fixture.bundle_of("fraud", "license = \"MIT\"", &[("model.onnx", b"one")]);
    registry
        .push(&bundle, &PushOptions::default())
        .await
        .unwrap();
    assert_eq!(registry.verify(&|_, _| {}).await.unwrap().problems, []);
    registry.close().await;
    sql(
        &fixture,
        "UPDATE versions SET manifest = replace(manifest, 'MIT', 'forged')",
    )
    .await;
    let registry = fixture.open().await;
    let version = resolve(&registry, "fraud:1").await;
    assert_eq!(version.manifest.license, "forged");
    let problems = registry.verify(&|_, _| {}).await.unwrap().problems;
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].error.code, ErrorCode::ManifestCorrupt);
    assert!(
        problems[0].error.message.contains("license"),
        "{problems:?}"
    );
    let manifest = registry.verified_manifest(&version).await.unwrap();
    assert_eq!(manifest.license, "MIT");
}

#[tokio::test]
async fn a_cached_file_that_was_changed_in_place_with_its_times_restored_is_noticed() {
    let (fixture, _) = signing(RequireSignature::Always);
    let registry = fixture.open().await;
    fixture.push(&registry, b"one").await;
    let version = resolve(&registry, "fraud:1").await;
    let file = registry
        .fetch(&version)
        .await
        .unwrap()
        .path()
        .join("model.onnx");
    let forge = || {
        let before = std::fs::metadata(&file).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        std::fs::write(&file, b"0ne").unwrap();
        let times = std::fs::FileTimes::new().set_modified(before.modified().unwrap());
        let opened = std::fs::File::options().write(true).open(&file).unwrap();
        opened.set_times(times).unwrap();
        std::fs::set_permissions(&file, before.permissions()).unwrap();
    };
    forge();
    let problems = registry.verify(&|_, _| {}).await.unwrap().problems;
    assert_eq!(problems.len(), 1, "the cache is read too");
    assert!(problems[0].error.message.contains("local cache"));
    let again = registry.fetch(&version).await.unwrap();
    let content = std::fs::read(again.path().join("model.onnx")).unwrap();
    assert_eq!(content, b"one");
    assert_eq!(registry.verify(&|_, _| {}).await.unwrap().problems, []);
}
