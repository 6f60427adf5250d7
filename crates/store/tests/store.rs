//! The same behaviour on SQLite and on PostgreSQL.

#![allow(clippy::unwrap_used, missing_docs, reason = "these are tests")]

#[path = "support/postgres.rs"]
mod postgres;
#[macro_use]
#[path = "support/suite.rs"]
mod suite;

use std::time::Duration;

use serde_json::json;
use tidegate_store::{
    Garbage, MAX_VERSION, MoveCause, NewEvent, Object, OpenOptions, Signature, Store, StoreError,
    Timeouts, Upload, Version, VersionFile, VersionState, Write, now_ms,
};

suite!(
    a_version_is_there_whole_or_not_at_all,
    numbers_are_not_used_again,
    content_is_unique_among_living_versions,
    an_alias_guards_its_version,
    alias_moves_are_remembered,
    events_follow_the_order_of_commits,
    objects_in_use_are_not_collected,
    abandoned_uploads_are_adopted_or_collected,
    reported_uses_are_replaced_and_forgotten,
    two_stores_on_one_database_agree,
    opening_at_once_migrates_once,
    a_newer_schema_is_refused,
    a_position_tells_histories_apart,
    numbers_end_before_they_overflow,
    a_name_of_any_length_is_cut,
);

const HOUR_MS: i64 = 3_600_000;

fn version(number: i64, digest: &str) -> Version {
    Version {
        model: "fraud".to_owned(),
        number,
        digest: digest.to_owned(),
        state: VersionState::Ready,
        reason: String::new(),
        manifest: "{}".to_owned(),
        bytes: 3,
        pushed_by: "me".to_owned(),
        pushed_ms: now_ms(),
    }
}

fn object(digest: &str) -> Object {
    Object {
        digest: digest.to_owned(),
        location: format!("objects/{digest}"),
        bytes: 3,
        stored_bytes: 3,
        envelope: None,
    }
}

async fn add(write: &mut Write, number: i64, digest: &str, content: &str) {
    if write.object(content).await.unwrap().is_none() {
        write.add_object(&object(content)).await.unwrap();
    }
    let file = VersionFile {
        path: "model.onnx".to_owned(),
        digest: content.to_owned(),
        bytes: 3,
    };
    write
        .add_version(&version(number, digest), &[file])
        .await
        .unwrap();
}

async fn a_version_is_there_whole_or_not_at_all(database: String) {
    let store = Store::open(&database).await.unwrap();
    let mut write = store.write("me").await.unwrap();
    add(&mut write, 1, "d1", "c1").await;
    drop(write);
    assert!(
        store.versions(None).await.unwrap().is_empty() && store.objects().await.unwrap().is_empty()
    );

    let mut write = store.write("me").await.unwrap();
    add(&mut write, 1, "d1", "c1").await;
    let signature = Signature {
        key_id: "k".to_owned(),
        signature: "00".to_owned(),
        signed_ms: 1,
    };
    write.add_signature("fraud", 1, &signature).await.unwrap();
    write.commit().await.unwrap();
    let found = store.version("fraud", 1).await.unwrap().unwrap();
    assert_eq!(
        (found.digest.as_str(), found.state),
        ("d1", VersionState::Ready)
    );
    assert_eq!(store.files("fraud", 1).await.unwrap()[0].digest, "c1");
    assert_eq!(store.signatures("fraud", 1).await.unwrap(), [signature]);
    assert!(store.version("fraud", 2).await.unwrap().is_none());
    store.close().await;

    let store = Store::open(&database).await.unwrap();
    assert_eq!(store.versions(Some("fraud")).await.unwrap(), [found]);
    assert!(store.versions(Some("other")).await.unwrap().is_empty());
}

async fn numbers_are_not_used_again(database: String) {
    let store = Store::open(&database).await.unwrap();
    let mut write = store.write("me").await.unwrap();
    assert_eq!(write.next_version("fraud").await.unwrap(), 1);
    add(&mut write, 1, "d1", "c1").await;
    add(&mut write, 5, "d5", "c1").await;
    write
        .set_state("fraud", 5, VersionState::Deleted, "")
        .await
        .unwrap();
    assert_eq!(write.next_version("fraud").await.unwrap(), 6);
    write.commit().await.unwrap();
    assert_eq!(store.versions(None).await.unwrap().len(), 1);
    assert!(store.files("fraud", 5).await.unwrap().is_empty());
    assert_eq!(
        store.version("fraud", 5).await.unwrap().unwrap().state,
        VersionState::Deleted
    );
}

async fn content_is_unique_among_living_versions(database: String) {
    let store = Store::open(&database).await.unwrap();
    let mut write = store.write("me").await.unwrap();
    add(&mut write, 1, "d1", "c1").await;
    assert_eq!(
        write
            .version_by_digest("fraud", "d1")
            .await
            .unwrap()
            .unwrap()
            .number,
        1
    );
    write.commit().await.unwrap();

    let mut write = store.write("me").await.unwrap();
    let twice = write.add_version(&version(2, "d1"), &[]).await;
    assert!(matches!(twice, Err(StoreError::Refused(_))), "{twice:?}");
    drop(write);

    let mut write = store.write("me").await.unwrap();
    write
        .set_state("fraud", 1, VersionState::Deleted, "")
        .await
        .unwrap();
    assert!(
        write
            .version_by_digest("fraud", "d1")
            .await
            .unwrap()
            .is_none()
    );
    write.add_version(&version(2, "d1"), &[]).await.unwrap();
    write.commit().await.unwrap();
}

async fn an_alias_guards_its_version(database: String) {
    let store = Store::open(&database).await.unwrap();
    let mut write = store.write("me").await.unwrap();
    let event = NewEvent {
        kind: "alias.moved",
        model: "fraud",
        version: None,
        detail: json!({}),
    };
    let change = write.record(event).await.unwrap();
    let missing = write
        .move_alias("fraud", "champion", Some(9), MoveCause::Set, change)
        .await;
    assert!(
        matches!(missing, Err(StoreError::Refused(_))),
        "{missing:?}"
    );
    drop(write);
    assert_eq!(store.last_change().await.unwrap(), 0);
    assert!(store.aliases(None).await.unwrap().is_empty());
}

async fn alias_moves_are_remembered(database: String) {
    let store = Store::open(&database).await.unwrap();
    let mut write = store.write("me").await.unwrap();
    add(&mut write, 1, "d1", "c1").await;
    add(&mut write, 2, "d2", "c1").await;
    for (version, cause) in [
        (Some(1), MoveCause::Set),
        (Some(2), MoveCause::Set),
        (Some(1), MoveCause::Rollback),
    ] {
        let event = NewEvent {
            kind: "alias.moved",
            model: "fraud",
            version,
            detail: json!({}),
        };
        let change = write.record(event).await.unwrap();
        write
            .move_alias("fraud", "champion", version, cause, change)
            .await
            .unwrap();
    }
    assert_eq!(write.aliases_of("fraud", 1).await.unwrap(), ["champion"]);
    assert!(write.aliases_of("fraud", 2).await.unwrap().is_empty());
    write.commit().await.unwrap();
    assert_eq!(store.alias("fraud", "champion").await.unwrap(), Some(1));
    let moves = store.alias_moves("fraud", "champion").await.unwrap();
    assert_eq!(
        moves.iter().map(|one| one.version).collect::<Vec<_>>(),
        [Some(1), Some(2), Some(1)]
    );
    assert_eq!(
        (moves[2].cause, moves[2].actor.as_str()),
        (MoveCause::Rollback, "me")
    );

    let mut write = store.write("me").await.unwrap();
    let event = NewEvent {
        kind: "alias.removed",
        model: "fraud",
        version: None,
        detail: json!({}),
    };
    let change = write.record(event).await.unwrap();
    write
        .move_alias("fraud", "champion", None, MoveCause::Remove, change)
        .await
        .unwrap();
    write.commit().await.unwrap();
    assert_eq!(store.alias("fraud", "champion").await.unwrap(), None);
}

async fn events_follow_the_order_of_commits(database: String) {
    let store = Store::open(&database).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..4i64 {
        let store = store.clone();
        tasks.spawn(async move {
            for at in 0..10i64 {
                let mut write = store.write("me").await.unwrap();
                let event = NewEvent {
                    kind: "test",
                    model: "m",
                    version: Some(writer),
                    detail: json!({"at": at}),
                };
                write.record(event).await.unwrap();
                write.commit().await.unwrap();
            }
        });
    }
    // A reader that goes on from the last change it saw misses nothing.
    let (mut seen, mut since) = (Vec::new(), 0);
    while seen.len() < 40 {
        for event in store.events_since(since, 7).await.unwrap() {
            since = event.change;
            seen.push((event.version, event.detail["at"].as_i64()));
        }
        tokio::task::yield_now().await;
    }
    tasks.join_all().await;
    assert_eq!(store.last_change().await.unwrap(), 40);
    for writer in 0..4 {
        let own: Vec<_> = seen
            .iter()
            .filter(|(by, _)| *by == Some(writer))
            .filter_map(|(_, at)| *at)
            .collect();
        assert_eq!(own, (0..10).collect::<Vec<_>>());
    }
}

async fn objects_in_use_are_not_collected(database: String) {
    let store = Store::open(&database).await.unwrap();
    let mut write = store.write("me").await.unwrap();
    add(&mut write, 1, "d1", "used").await;
    write.add_object(&object("counted-on")).await.unwrap();
    write.add_object(&object("loose")).await.unwrap();
    write.begin_push("p").await.unwrap();
    write.count_on("p", "counted-on").await.unwrap();
    write.commit().await.unwrap();

    let mut write = store.write("gc").await.unwrap();
    assert_eq!(
        write.collect_objects(HOUR_MS).await.unwrap(),
        (0, 0),
        "all of them were just touched"
    );
    assert_eq!(write.collect_objects(-1000).await.unwrap(), (1, 3));
    write.commit().await.unwrap();
    let loose = Garbage {
        location: "objects/loose".to_owned(),
        multipart: None,
    };
    assert_eq!(store.garbage().await.unwrap(), [loose]);
    assert!(store.knows_location("objects/loose").await.unwrap());
    store.cleared("objects/loose").await.unwrap();
    assert!(!store.knows_location("objects/loose").await.unwrap());

    let mut write = store.write("gc").await.unwrap();
    write
        .set_state("fraud", 1, VersionState::Deleted, "")
        .await
        .unwrap();
    write.end_dead_pushes(-1000).await.unwrap();
    assert_eq!(write.collect_objects(-1000).await.unwrap(), (2, 6));
    write.commit().await.unwrap();
    assert!(!store.keep_push_alive("p").await.unwrap());
}

async fn abandoned_uploads_are_adopted_or_collected(database: String) {
    let store = Store::open(&database).await.unwrap();
    let upload = |location: &str, multipart: Option<&str>| Upload {
        location: location.to_owned(),
        digest: "c1".to_owned(),
        bytes: 9,
        envelope: None,
        multipart: multipart.map(str::to_owned),
        part_bytes: 4,
    };
    let mut write = store.write("me").await.unwrap();
    write.begin_push("first").await.unwrap();
    write
        .begin_upload("first", &upload("objects/a", Some("m")))
        .await
        .unwrap();
    write
        .begin_upload("first", &upload("objects/b", None))
        .await
        .unwrap();
    write.begin_push("second").await.unwrap();
    assert!(
        write.adopt_upload("second", "c1").await.unwrap().is_none(),
        "the first push is at work"
    );
    write.commit().await.unwrap();
    store
        .add_upload_part("objects/a", 1, "etag-1")
        .await
        .unwrap();
    store
        .add_upload_part("objects/a", 0, "etag-0")
        .await
        .unwrap();

    let mut write = store.write("me").await.unwrap();
    write.end_push("first").await.unwrap();
    let adopted = write.adopt_upload("second", "c1").await.unwrap().unwrap();
    assert_eq!(adopted, upload("objects/a", Some("m")));
    assert_eq!(
        write.collect_uploads(-1000).await.unwrap(),
        1,
        "the other one has no push any more"
    );
    write.commit().await.unwrap();
    let parts = store.upload_parts("objects/a").await.unwrap();
    assert_eq!(parts, [(0, "etag-0".to_owned()), (1, "etag-1".to_owned())]);
    assert_eq!(store.garbage().await.unwrap()[0].location, "objects/b");

    let mut write = store.write("me").await.unwrap();
    assert!(write.knows_upload("objects/a").await.unwrap());
    write.end_upload("objects/a").await.unwrap();
    assert!(!write.knows_upload("objects/a").await.unwrap());
    write.commit().await.unwrap();
}

async fn reported_uses_are_replaced_and_forgotten(database: String) {
    let store = Store::open(&database).await.unwrap();
    let report = async |server: &str, versions: &[(String, i64)]| {
        let mut write = store.write(server).await.unwrap();
        write.report_uses(server, versions, HOUR_MS).await.unwrap();
        write.commit().await.unwrap();
    };
    report("a", &[("fraud".to_owned(), 1), ("fraud".to_owned(), 2)]).await;
    report("b", &[("fraud".to_owned(), 2)]).await;
    report("a", &[("fraud".to_owned(), 2)]).await;
    let uses = store.uses(HOUR_MS).await.unwrap();
    assert_eq!(
        uses.iter()
            .map(|one| (one.server.as_str(), one.version))
            .collect::<Vec<_>>(),
        [("a", 2), ("b", 2)]
    );
    let mut write = store.write("c").await.unwrap();
    assert_eq!(
        write.users_of("fraud", 2, HOUR_MS).await.unwrap(),
        ["a", "b"]
    );
    assert!(write.users_of("fraud", 2, -1000).await.unwrap().is_empty());
    write.report_uses("c", &[], -1000).await.unwrap();
    write.commit().await.unwrap();
    assert!(store.uses(HOUR_MS).await.unwrap().is_empty());
}

async fn two_stores_on_one_database_agree(database: String) {
    let one = Store::open(&database).await.unwrap();
    let two = Store::open(&database).await.unwrap();
    let mut write = one.write("me").await.unwrap();
    add(&mut write, 1, "d1", "c1").await;
    write.set_property("id", "x").await.unwrap();
    assert!(two.version("fraud", 1).await.unwrap().is_none());
    write.commit().await.unwrap();
    assert!(two.version("fraud", 1).await.unwrap().is_some());
    assert_eq!(two.property("id").await.unwrap().as_deref(), Some("x"));
    let mut write = two.write("me").await.unwrap();
    write.set_property("id", "y").await.unwrap();
    write.commit().await.unwrap();
    assert_eq!(one.property("id").await.unwrap().as_deref(), Some("y"));
}

async fn record(store: &Store, actor: &str, kind: &str) {
    let mut write = store.write(actor).await.unwrap();
    let event = NewEvent {
        kind,
        model: "fraud",
        version: None,
        detail: json!({}),
    };
    write.record(event).await.unwrap();
    write.commit().await.unwrap();
}

async fn a_position_tells_histories_apart(database: String) {
    let store = Store::open(&database).await.unwrap();
    let start = store.position().await.unwrap();
    assert_eq!((start.change, &start.registry_id), (0, &None));
    record(&store, "me", "one").await;
    let one = store.position().await.unwrap();
    assert_eq!(one, store.position().await.unwrap());
    record(&store, "me", "two").await;
    let two = store.position().await.unwrap();
    assert_eq!((one.change, two.change), (1, 2));
    assert_ne!(one.latest_event, two.latest_event);
    assert_eq!(
        store.event_fingerprint(1).await.unwrap(),
        Some(one.latest_event)
    );
    assert_eq!(store.event_fingerprint(9).await.unwrap(), None);
}

async fn numbers_end_before_they_overflow(database: String) {
    let store = Store::open(&database).await.unwrap();
    for number in [i64::MAX, MAX_VERSION + 1, 0, -1] {
        let mut write = store.write("me").await.unwrap();
        let error = write
            .add_version(&version(number, "d1"), &[])
            .await
            .unwrap_err();
        assert!(matches!(error, StoreError::Refused(_)), "{error}");
    }
}

async fn a_name_of_any_length_is_cut(database: String) {
    let store = Store::open(&database).await.unwrap();
    record(&store, &"ü".repeat(70_000), "one").await;
    let actor = &store.events_since(0, 1).await.unwrap()[0].actor;
    assert!(actor.len() <= 256 && actor.starts_with("üü"), "{actor}");
}

async fn opening_at_once_migrates_once(database: String) {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let database = database.clone();
        tasks.spawn(async move {
            Store::open(&database)
                .await
                .unwrap()
                .last_change()
                .await
                .unwrap()
        });
    }
    assert_eq!(tasks.join_all().await, [0; 6]);
}

async fn a_newer_schema_is_refused(database: String) {
    let store = Store::open(&database).await.unwrap();
    store.close().await;
    sqlx::any::install_default_drivers();
    let url = if database.starts_with('/') {
        format!("sqlite:{}", database.replace(' ', "%20"))
    } else {
        database.clone()
    };
    let pool = sqlx::AnyPool::connect(&url).await.unwrap();
    sqlx::query("INSERT INTO schema_version (version) VALUES (99)")
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
    let refused = Store::open(&database).await.unwrap_err();
    assert!(
        matches!(refused, StoreError::NewerSchema { found: 99, .. }),
        "{refused}"
    );
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named_without_its_password() {
    let error = Store::open("postgres://me:secret@127.0.0.1:1/none")
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("postgres://me:…@127.0.0.1:1/none") && !error.contains("secret"),
        "{error}"
    );
    let folder = tempfile::tempdir().unwrap();
    let error = Store::open(folder.path().to_str().unwrap())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("cannot open the database"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("registry.db");
    std::fs::write(&file, vec![7; 8192]).unwrap();
    let opening = Store::open(file.to_str().unwrap());
    let error = tokio::time::timeout(Duration::from_secs(20), opening)
        .await
        .expect("it is told without trying for minutes")
        .unwrap_err();
    assert!(error.to_string().contains("not a database"), "{error}");
}

#[tokio::test]
async fn a_file_that_was_replaced_or_removed_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (file, copy) = (folder.path().join("a.db"), folder.path().join("b.db"));
    let database = file.to_str().unwrap();
    let store = Store::open(database).await.unwrap();
    record(&store, "me", "one").await;
    store.position().await.unwrap();
    std::fs::copy(&file, &copy).unwrap();
    std::fs::rename(&copy, &file).unwrap();
    let error = store.position().await.unwrap_err();
    assert!(error.to_string().contains("was replaced"), "{error}");
    std::fs::remove_file(&file).unwrap();
    let error = store.position().await.unwrap_err();
    assert!(error.to_string().contains("is gone"), "{error}");
    let options = OpenOptions {
        must_exist: true,
        ..OpenOptions::default()
    };
    Store::open_with(database, options).await.unwrap_err();
    assert!(!file.exists(), "no empty one is made in its place");
}

/// Timeouts for tests: long enough for a busy machine.
fn impatient() -> OpenOptions {
    let timeouts = Timeouts {
        poll: Duration::from_millis(1000),
        read: Duration::from_millis(1000),
        ..Timeouts::default()
    };
    OpenOptions {
        timeouts,
        ..OpenOptions::default()
    }
}

#[tokio::test]
async fn an_answer_that_never_comes_is_given_up_and_asked_for_again() {
    let server = postgres::Postgres::start();
    let relay = postgres::Relay::to(&server.database("registry")).await;
    let store = Store::open_with(&relay.url, impatient()).await.unwrap();
    record(&store, "me", "one").await;
    relay.swallow();
    let error = store.position().await.unwrap_err();
    assert!(
        matches!(error, StoreError::Unavailable(_)) && error.to_string().contains("did not answer"),
        "{error}"
    );
    assert_eq!(
        store.position().await.unwrap().change,
        1,
        "a new connection"
    );
    assert!(store.versions(None).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_writer_that_does_not_end_is_an_error_for_the_next_one() {
    let server = postgres::Postgres::start();
    let database = server.database("registry");
    let store = Store::open(&database).await.unwrap();
    let _unfinished = store.write("me").await.unwrap();
    let impatient = format!("{database}&options=-c%20lock_timeout=200");
    let other = Store::open(&impatient).await.unwrap();
    let error = other.write("you").await.unwrap_err();
    assert!(
        matches!(error, StoreError::Unavailable(_)) && error.to_string().contains("lock timeout"),
        "{error}"
    );
}

#[tokio::test]
async fn leases_go_by_the_clock_of_the_database() {
    let server = postgres::Postgres::start();
    let database = server.database("registry");
    // A function that hides PostgreSQL's own: the database's clock is years behind.
    server.run_sql(
        "registry",
        "CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql \
         AS $$ SELECT timestamptz '2001-01-01 00:00:00Z' $$",
    );
    let shifted = format!("{database}&options=-c%20search_path=public,pg_catalog");
    let store = Store::open(&shifted).await.unwrap();
    let mut write = store.write("server").await.unwrap();
    let versions = [("fraud".to_owned(), 1)];
    write
        .report_uses("server", &versions, HOUR_MS)
        .await
        .unwrap();
    assert_eq!(
        write.users_of("fraud", 1, HOUR_MS).await.unwrap(),
        ["server"]
    );
    write.begin_push("p").await.unwrap();
    write.end_dead_pushes(HOUR_MS).await.unwrap();
    write.commit().await.unwrap();
    let uses = store.uses(HOUR_MS).await.unwrap();
    assert_eq!(uses[0].reported_ms, 978_307_200_000);
    assert!(store.keep_push_alive("p").await.unwrap());
}
