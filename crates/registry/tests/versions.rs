//! Versions and aliases: push, list, move, roll back, delete.

#![allow(clippy::unwrap_used, missing_docs, reason = "these are tests")]

mod support;

use std::time::Duration;

use support::{Fixture, files_below, noise, resolve};
use tidegate_registry::{ErrorCode, PushOptions, VersionState};

#[tokio::test]
async fn the_same_content_is_the_same_version() {
    let fixture = Fixture::new();
    let registry = fixture.open().await;
    let first = fixture.push(&registry, b"one").await;
    assert_eq!(
        (first.version.name().as_str(), first.created),
        ("fraud:1", true)
    );
    let again = fixture.push(&registry, b"one").await;
    assert_eq!(
        (again.version.clone(), again.created, again.sent_bytes),
        (first.version.clone(), false, 0)
    );
    let second = fixture.push(&registry, b"two").await;
    assert_eq!(second.version.number, 2);
    assert_ne!(second.version.digest, first.version.digest);
    assert_eq!(second.sent_bytes, 3, "model.toml was there");
    let other = fixture.bundle_of("other", "", &[("model.onnx", b"one")]);
    let other = registry
        .push(&other, &PushOptions::default())
        .await
        .unwrap();
    assert_eq!(other.version.name(), "other:1", "numbers count by model");
}

#[tokio::test]
async fn pushes_at_once_give_one_version_each_or_share_it() {
    let fixture = Fixture::new();
    let registry = fixture.open().await;
    let mut pushes = tokio::task::JoinSet::new();
    for at in 0..8u8 {
        let (registry, bundle) = (registry.clone(), fixture.bundle(&[at / 2; 5000]));
        pushes.spawn(async move {
            registry
                .push(&bundle, &PushOptions::default())
                .await
                .unwrap()
        });
    }
    let pushed = pushes.join_all().await;
    let mut numbers: Vec<i64> = pushed
        .iter()
        .filter(|one| one.created)
        .map(|one| one.version.number)
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3, 4]);
    assert!(
        registry
            .verify(&|_, _| {})
            .await
            .unwrap()
            .problems
            .is_empty()
    );
    let collected = registry.collect_garbage(Duration::ZERO).await.unwrap();
    assert_eq!(collected.objects, 0);
    assert_eq!(
        files_below(&fixture.data().join("objects/objects")).len(),
        5,
        "four artifacts and a manifest, once each"
    );
}

#[tokio::test]
async fn a_version_is_fetched_as_it_was_pushed() {
    let fixture = Fixture::new();
    let registry = fixture.open().await;
    let large = noise(1, 40 << 20);
    let bundle = fixture.bundle_of(
        "fraud",
        "",
        &[
            ("model.onnx", &large),
            ("a/b/labels.txt", b"yes\nno\n"),
            ("empty", b""),
        ],
    );
    registry
        .push(&bundle, &PushOptions::default())
        .await
        .unwrap();
    let cached = registry
        .fetch(&resolve(&registry, "fraud:1").await)
        .await
        .unwrap();
    assert_eq!(
        std::fs::read(cached.path().join("model.onnx")).unwrap(),
        large
    );
    assert_eq!(
        std::fs::read(cached.path().join("a/b/labels.txt")).unwrap(),
        b"yes\nno\n"
    );
    assert!(
        std::fs::read(cached.path().join("empty"))
            .unwrap()
            .is_empty()
    );
    assert!(
        std::fs::metadata(cached.path().join("model.onnx"))
            .unwrap()
            .permissions()
            .readonly()
    );
}

#[tokio::test]
async fn references_and_aliases_resolve() {
    let fixture = Fixture::new();
    let registry = fixture.open().await;
    for content in [b"one".as_slice(), b"two", b"three"] {
        fixture.push(&registry, content).await;
    }
    let two = resolve(&registry, "fraud:2").await;
    registry.set_alias("champion", &two).await.unwrap();
    assert_eq!(resolve(&registry, "fraud@champion").await, two);
    assert_eq!(resolve(&registry, "fraud").await.number, 3);
    registry
        .deprecate(&resolve(&registry, "fraud:3").await, Some("too slow"))
        .await
        .unwrap();
    assert_eq!(
        resolve(&registry, "fraud").await.number,
        2,
        "a deprecated version is nobody's newest"
    );
    let three = resolve(&registry, "fraud:3").await;
    assert_eq!(
        (three.state, three.reason.as_str()),
        (VersionState::Deprecated, "too slow")
    );
    for (text, message) in [
        ("frod", "there is no model \"frod\" in the registry"),
        (
            "fraud:9",
            "there is no fraud:9; the model has the versions 1, 2, 3",
        ),
        (
            "fraud@challenger",
            "there is no fraud@challenger; the model has the aliases champion",
        ),
    ] {
        let error = registry.resolve(&text.parse().unwrap()).await.unwrap_err();
        assert_eq!(
            (error.code, error.message.as_str()),
            (ErrorCode::NotFound, message)
        );
    }
}

#[tokio::test]
async fn rollback_goes_to_the_last_version_that_is_still_good() {
    let fixture = Fixture::new();
    let registry = fixture.open().await;
    let model = "fraud".parse().unwrap();
    for content in [b"1".as_slice(), b"2", b"3", b"4"] {
        let options = PushOptions {
            alias: Some("champion".to_owned()),
            ..PushOptions::default()
        };
        registry
            .push(&fixture.bundle(content), &options)
            .await
            .unwrap();
    }
    registry
        .delete(&resolve(&registry, "fraud:3").await)
        .await
        .unwrap();
    assert_eq!(
        registry.rollback(&model, "champion").await.unwrap(),
        (4, 2),
        "3 is deleted"
    );
    assert_eq!(
        registry.rollback(&model, "champion").await.unwrap(),
        (2, 1),
        "4 was left for a reason"
    );
    let error = registry.rollback(&model, "champion").await.unwrap_err();
    assert_eq!(error.code, ErrorCode::NothingToRollBackTo);
    assert_eq!(resolve(&registry, "fraud@champion").await.number, 1);
    let history = registry.alias_history(&model, "champion").await.unwrap();
    assert_eq!(history.moves.len(), 6);
    assert_eq!(
        registry.rollback(&model, "nobody").await.unwrap_err().code,
        ErrorCode::NotFound
    );
}

#[tokio::test]
async fn what_is_in_use_is_not_deleted() {
    let fixture = Fixture::new();
    let registry = fixture.open().await;
    fixture.push(&registry, b"one").await;
    let one = resolve(&registry, "fraud:1").await;
    registry.set_alias("champion", &one).await.unwrap();
    let error = registry.delete(&one).await.unwrap_err();
    assert_eq!(
        (error.code, error.message.as_str()),
        (
            ErrorCode::InUse,
            "fraud:1 is in use: the alias champion points at it"
        )
    );
    registry
        .remove_alias(&"fraud".parse().unwrap(), "champion")
        .await
        .unwrap();

    registry
        .report_uses("replica-1", &[("fraud".to_owned(), 1)])
        .await
        .unwrap();
    let error = registry.delete(&one).await.unwrap_err();
    assert_eq!(error.message, "fraud:1 is in use: replica-1 serves it");
    registry.report_uses("replica-1", &[]).await.unwrap();
    registry.delete(&one).await.unwrap();
    assert_eq!(
        registry.delete(&one).await.unwrap_err().code,
        ErrorCode::NotFound
    );
    assert_eq!(
        fixture.push(&registry, b"one").await.version.number,
        2,
        "the number is not used again"
    );
}

#[tokio::test]
async fn a_follower_sees_every_change_once() {
    let fixture = Fixture::new();
    let registry = fixture.open().await;
    let start = registry.snapshot().await.unwrap();
    assert_eq!((start.change, start.versions.len()), (0, 0));
    fixture.push(&registry, b"one").await;
    fixture.push(&registry, b"one").await;
    registry
        .set_alias("champion", &resolve(&registry, "fraud:1").await)
        .await
        .unwrap();
    registry
        .set_alias("champion", &resolve(&registry, "fraud:1").await)
        .await
        .unwrap();
    let events = registry.events_since(start.change).await.unwrap();
    let kinds: Vec<(&str, Option<i64>)> = events
        .iter()
        .map(|event| (event.kind.as_str(), event.version))
        .collect();
    assert_eq!(
        kinds,
        [("version.pushed", Some(1)), ("alias.moved", Some(1))],
        "what changes nothing is no change"
    );
    assert_eq!(
        (events[1].actor.as_str(), &events[1].detail["alias"]),
        ("tester", &"champion".into())
    );
    let snapshot = registry.snapshot().await.unwrap();
    assert_eq!(snapshot.change, registry.last_change().await.unwrap());
    assert_eq!(
        snapshot
            .resolve(&"fraud@champion".parse().unwrap())
            .unwrap()
            .number,
        1
    );
    registry.cache().keep_snapshot(&snapshot).unwrap();
    assert_eq!(registry.cache().last_snapshot().unwrap(), Some(snapshot));
}

#[tokio::test]
async fn an_updated_snapshot_is_what_a_whole_one_would_be() {
    let fixture = Fixture::new();
    let registry = fixture.open().await;
    fixture.push(&registry, b"one").await;
    fixture.push(&registry, b"two").await;
    let mut known = registry.snapshot().await.unwrap();
    for step in 0..5 {
        let version = async |reference| resolve(&registry, reference).await;
        match step {
            0 => drop(fixture.push(&registry, b"three").await),
            1 => registry
                .set_alias("champion", &version("fraud:3").await)
                .await
                .unwrap(),
            2 => registry
                .deprecate(&version("fraud:1").await, Some("old"))
                .await
                .unwrap(),
            3 => registry.delete(&version("fraud:2").await).await.unwrap(),
            _ => registry
                .set_alias("champion", &version("fraud:1").await)
                .await
                .unwrap(),
        }
        let now = registry.position().await.unwrap();
        let updated = registry.update(&known, &now).await.unwrap().unwrap();
        assert_eq!(updated, registry.snapshot().await.unwrap(), "step {step}");
        known = updated;
    }
}

#[tokio::test]
async fn a_restored_database_is_not_taken_for_the_same_history() {
    let fixture = Fixture::new();
    let registry = fixture.open().await;
    fixture.push(&registry, b"one").await;
    registry.close().await;
    let database = fixture.data().join("registry.db");
    let backup = fixture.data().join("backup.db");
    std::fs::copy(&database, &backup).unwrap();

    let registry = fixture.open().await;
    fixture.push(&registry, b"two").await;
    let before = registry.snapshot().await.unwrap();
    registry.close().await;
    std::fs::copy(&backup, &database).unwrap();

    let registry = fixture.open().await;
    fixture.push(&registry, b"another two").await;
    let now = registry.position().await.unwrap();
    assert_eq!(before.change, now.change, "the numbers alone do not tell");
    assert_ne!(before.position, now);
    fixture.push(&registry, b"three").await;
    let now = registry.position().await.unwrap();
    assert_eq!(registry.update(&before, &now).await.unwrap(), None);
}

#[tokio::test]
async fn garbage_goes_after_its_grace_and_not_before() {
    let fixture = Fixture::new();
    let registry = fixture.open().await;
    fixture.push(&registry, b"one").await;
    fixture.push(&registry, b"two").await;
    registry
        .delete(&resolve(&registry, "fraud:1").await)
        .await
        .unwrap();
    let hour = Duration::from_secs(3600);
    assert_eq!(registry.collect_garbage(hour).await.unwrap().objects, 0);
    let stray = fixture.data().join("objects/objects/zz/unknown");
    std::fs::create_dir_all(stray.parent().unwrap()).unwrap();
    std::fs::write(&stray, "x").unwrap();
    let collected = registry.collect_garbage(Duration::ZERO).await.unwrap();
    assert_eq!(
        (collected.objects, collected.bytes, collected.strays),
        (1, 3, 1)
    );
    assert!(!stray.exists() && fixture.stored(b"two").exists());
    assert!(
        registry
            .verify(&|_, _| {})
            .await
            .unwrap()
            .problems
            .is_empty()
    );
    assert_eq!(
        registry.collect_garbage(Duration::ZERO).await.unwrap(),
        Default::default()
    );
}

#[tokio::test]
async fn two_registries_do_not_share_a_storage() {
    let mut fixture = Fixture::new();
    let registry = fixture.open().await;
    fixture.push(&registry, b"one").await;
    fixture.config.storage = Some(fixture.data().join("objects").display().to_string());
    fixture.config.database = Some(fixture.data().join("other.db").display().to_string());
    let other = fixture.open().await;
    let error = other.collect_garbage(Duration::ZERO).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::StorageMismatch);
    let error = other
        .push(&fixture.bundle(b"two"), &PushOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::StorageMismatch);
}

#[tokio::test]
async fn a_diff_names_files_lineage_and_signature() {
    let fixture = Fixture::new();
    let registry = fixture.open().await;
    let manifest = |commit: &str, dtype: &str| {
        format!(
            "[lineage]\ncommit = \"{commit}\"\n[[signature.inputs]]\nname = \"x\"\ndatatype = \"{dtype}\""
        )
    };
    let one = fixture.bundle_of(
        "fraud",
        &manifest("a", "FP32"),
        &[("model.onnx", b"1"), ("labels.txt", b"l")],
    );
    let two = fixture.bundle_of("fraud", &manifest("b", "FP64"), &[("model.onnx", b"2")]);
    for bundle in [one, two] {
        registry
            .push(&bundle, &PushOptions::default())
            .await
            .unwrap();
    }
    let diff = registry
        .diff(
            &resolve(&registry, "fraud:1").await,
            &resolve(&registry, "fraud:2").await,
        )
        .await
        .unwrap();
    let what = |changes: &[tidegate_registry::Change]| {
        changes
            .iter()
            .map(|change| change.what.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        what(&diff.files),
        ["labels.txt", "model.onnx", "model.toml"]
    );
    assert_eq!(
        (what(&diff.signature), what(&diff.lineage)),
        (
            vec!["signature.inputs[0].datatype".to_owned()],
            vec!["lineage.commit".to_owned()]
        )
    );
    assert!(diff.manifest.is_empty());
}

#[tokio::test]
async fn a_file_that_changes_under_the_push_is_noticed() {
    let fixture = Fixture::new();
    let registry = fixture.open().await;
    let bundle = fixture.bundle_of("fraud", "", &[("model.onnx", &noise(1, 3 << 20))]);
    let tidegate_registry::Source::File(path) = &bundle.files()[0].source else {
        panic!("it is a file")
    };
    let path = path.clone();
    // As soon as the file was read, it changes.
    let changing: tidegate_registry::Progress = std::sync::Arc::new(move |stage, done, total| {
        if stage == "reading" && done == total {
            std::fs::write(&path, noise(2, 3 << 20)).unwrap();
        }
    });
    let options = PushOptions {
        progress: Some(changing),
        ..PushOptions::default()
    };
    let error = registry.push(&bundle, &options).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::SourceChanged);
    assert!(registry.versions(None).await.unwrap().is_empty());
}

#[tokio::test]
async fn every_change_is_in_the_audit_log() {
    let fixture = Fixture::new();
    let registry = fixture.open().await;
    let one = fixture.push(&registry, b"one").await.version;
    let two = fixture.push(&registry, b"two").await.version;
    registry.set_alias("champion", &one).await.unwrap();
    registry.set_alias("champion", &two).await.unwrap();
    let model = "fraud".parse().unwrap();
    registry.rollback(&model, "champion").await.unwrap();
    registry.deprecate(&two, Some("old")).await.unwrap();
    registry.deprecate(&two, None).await.unwrap();
    registry.delete(&two).await.unwrap();
    registry.collect_garbage(Duration::ZERO).await.unwrap();
    registry.remove_alias(&model, "champion").await.unwrap();
    let in_use = registry.set_alias("champion", &two).await;
    assert!(in_use.is_err(), "it was deleted");

    let database = fixture.data().join("registry.db").display().to_string();
    let store = tidegate_store::Store::open(&database).await.unwrap();
    let rows = store.audit_from(0, 100).await.unwrap();
    let told: Vec<String> = rows
        .iter()
        .map(|row| {
            let entry = &row.entry;
            assert!(!entry.actor.is_empty() && entry.result == "ok", "{row:?}");
            format!(
                "{} {} {}",
                entry.action, entry.resource_kind, entry.resource
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "version.push version fraud:1",
            "version.push version fraud:2",
            "alias.move alias fraud@champion",
            "alias.move alias fraud@champion",
            "alias.rollback alias fraud@champion",
            "version.deprecate version fraud:2",
            "version.restore version fraud:2",
            "version.delete version fraud:2",
            "garbage.collect  ",
            "alias.remove alias fraud@champion",
        ]
    );
    let rollback = &rows[4].entry;
    assert_eq!(rollback.state_before, r#"{"version":2}"#);
    assert_eq!(rollback.state_after, r#"{"version":1}"#);
    assert_eq!(store.verify_audit(&[]).await.unwrap().problems, []);
}
