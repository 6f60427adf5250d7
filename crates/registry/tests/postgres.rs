//! Several machines on one PostgreSQL.

#![allow(clippy::unwrap_used, missing_docs, reason = "these are tests")]

#[path = "../../store/tests/support/postgres.rs"]
mod postgres;
mod support;

use std::time::Duration;

use postgres::Postgres;
use support::{Fixture, noise, resolve};
use tidegate_registry::{ErrorCode, PushOptions, Registry};

#[tokio::test]
async fn machines_share_a_registry_and_survive_its_end() {
    let mut server = Postgres::start();
    let storage = tempfile::tempdir().unwrap();
    let machine = || {
        let mut fixture = Fixture::new();
        fixture.config.storage = Some(storage.path().display().to_string());
        fixture
    };
    let (mut here, mut there) = (machine(), machine());
    let database = server.database("registry");
    here.config.database = Some(database.clone());
    there.config.database = Some(database);
    let (one, two) = (here.open().await, there.open().await);

    // Both push the same eight contents at once, and one of them cleans up meanwhile.
    let mut pushes = tokio::task::JoinSet::new();
    for at in 0..16u64 {
        let (registry, fixture) = if at % 2 == 0 {
            (&one, &here)
        } else {
            (&two, &there)
        };
        let (registry, bundle) = (registry.clone(), fixture.bundle(&noise(at / 2, 50_000)));
        pushes.spawn(async move { registry.push(&bundle, &PushOptions::default()).await });
    }
    for _ in 0..5 {
        one.collect_garbage(Duration::ZERO).await.unwrap();
    }
    let mut numbers = Vec::new();
    for pushed in pushes.join_all().await {
        let pushed = pushed.unwrap();
        numbers.extend(pushed.created.then_some(pushed.version.number));
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=8).collect::<Vec<_>>());
    assert!(two.verify(&|_, _| {}).await.unwrap().problems.is_empty());

    let seen = two.snapshot().await.unwrap();
    one.set_alias("champion", &resolve(&one, "fraud:3").await)
        .await
        .unwrap();
    let events = two.events_since(seen.change).await.unwrap();
    assert_eq!(
        (events.len(), events[0].kind.as_str(), events[0].version),
        (1, "alias.moved", Some(3))
    );
    let champion = resolve(&two, "fraud@champion").await;
    two.fetch(&champion).await.unwrap();
    two.report_uses("there", &[("fraud".to_owned(), 3)])
        .await
        .unwrap();
    assert_eq!(one.uses().await.unwrap()[0].server, "there");

    server.kill();
    let error = two.last_change().await.unwrap_err();
    assert_eq!(error.code, ErrorCode::DatabaseUnavailable, "{error}");
    let error = Registry::open(&there.config, &there.data(), "me")
        .await
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::DatabaseUnavailable, "{error}");
    assert!(
        two.cache().load(&champion).await.unwrap().is_some(),
        "what is cached needs no database"
    );
}
