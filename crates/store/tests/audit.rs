//! The audit log: it cannot be changed without a trace, on SQLite and on PostgreSQL.

#![allow(clippy::unwrap_used, missing_docs, reason = "these are tests")]

#[path = "support/postgres.rs"]
mod postgres;
#[macro_use]
#[path = "support/suite.rs"]
mod suite;

use serde_json::{Value, json};
use sqlx::{AnyPool, Executor};
use tidegate_store::{
    AuditAnchor, AuditEntry, AuditFilter, AuditRecord, AuditReport, AuditRetention, Store,
};

suite!(
    what_is_written_is_what_is_hashed,
    fifty_concurrent_writers_make_one_chain,
    rows_removed_by_retention_leave_a_chain,
    a_row_that_is_not_committed_is_not_in_the_chain,
    rows_are_found_by_actor_action_resource_and_time,
    rows_removed_from_the_front_by_hand_are_found,
);

const YEAR_MS: i64 = 365 * 86_400_000;

fn entry(at: usize) -> AuditEntry {
    let before = json!({"at": at, "share": 0.1 + at as f64});
    let mut entry = AuditEntry::new(&format!("user-{at}"), "model.load", "ok")
        .about("model", &format!("fraud-{at}"))
        .with_states(&before, &json!(["ä", null, at]));
    entry.source = format!("10.0.0.{at}");
    entry.code = format!("code-{at}");
    entry.tenant = format!("tenant-{at}");
    entry
}

async fn append(store: &Store, entries: impl IntoIterator<Item = AuditEntry>) -> AuditAnchor {
    let mut write = store.write("me").await.unwrap();
    let mut head = None;
    for entry in entries {
        head = Some(write.append_audit(&entry).await.unwrap());
    }
    write.commit().await.unwrap();
    head.unwrap()
}

async fn verify(store: &Store, anchors: &[AuditAnchor]) -> AuditReport {
    store.verify_audit(anchors).await.unwrap()
}

async fn what_is_written_is_what_is_hashed(database: String) {
    let store = Store::open(&database).await.unwrap();
    let odd = AuditEntry::new("a\0b", &"ä".repeat(1000), "ok")
        .with_states(&json!({"b": 1e300, "a": "\0\n\u{1f600}"}), &Value::Null);
    let head = append(&store, [odd, entry(2)]).await;
    let report = verify(&store, std::slice::from_ref(&head)).await;
    assert_eq!((report.rows, report.problems.len()), (2, 0), "{report:?}");
    assert_eq!((report.head, head.number), (head.clone(), 2));
    let rows = store.audit_from(0, 10).await.unwrap();
    assert_eq!(rows[0].entry.actor, "a\u{fffd}b");
    assert_eq!(rows[0].entry.action.len(), 512);
    assert_eq!(
        rows[0].entry.state_before,
        "{\"a\":\"\\u0000\\n😀\",\"b\":1e+300}"
    );
    assert_eq!(rows[1].entry, entry(2));
    assert_eq!(rows[1].previous_hash, rows[0].hash);
    // As another program reads it.
    let line = serde_json::to_string(&rows[1]).unwrap();
    let read: AuditRecord = serde_json::from_str(&line).unwrap();
    assert_eq!(read.computed_hash(), read.hash);
}

async fn fifty_concurrent_writers_make_one_chain(database: String) {
    let mut writers = tokio::task::JoinSet::new();
    // Ten stores as ten processes have them: each with connections of its own.
    for process in 0..10 {
        let store = Store::open(&database).await.unwrap();
        for writer in 0..5 {
            let store = store.clone();
            writers.spawn(async move {
                for at in 0..3 {
                    append(&store, [entry(process * 100 + writer * 10 + at)]).await;
                }
            });
        }
    }
    while let Some(outcome) = writers.join_next().await {
        outcome.unwrap();
    }
    let store = Store::open(&database).await.unwrap();
    let report = verify(&store, &[]).await;
    assert_eq!((report.rows, report.problems), (150, Vec::new()));
    assert_eq!(report.head.number, 150);
}

async fn rows_removed_by_retention_leave_a_chain(database: String) {
    let store = Store::open(&database).await.unwrap();
    let old = append(&store, (0..5).map(entry)).await;
    let head = append(&store, (5..20).map(entry)).await;
    let retention = AuditRetention {
        max_age_ms: YEAR_MS,
        max_rows: 10,
    };
    let mut write = store.write("me").await.unwrap();
    assert_eq!(write.prune_audit(retention).await.unwrap(), 11);
    write.commit().await.unwrap();
    let report = verify(&store, &[old, head]).await;
    assert_eq!((report.rows, report.problems), (10, Vec::new()));
    assert_eq!((report.removed.number, report.head.number), (11, 21));

    // A second time, and by age: everything that was there is old.
    let retention = AuditRetention {
        max_age_ms: -1,
        max_rows: i64::MAX,
    };
    let mut write = store.write("me").await.unwrap();
    assert_eq!(write.prune_audit(retention).await.unwrap(), 10);
    write.commit().await.unwrap();
    let head = append(&store, [entry(30)]).await;
    let report = verify(&store, &[head]).await;
    assert_eq!((report.rows, report.problems), (2, Vec::new()));

    let mut write = store.write("me").await.unwrap();
    let retention = AuditRetention {
        max_age_ms: YEAR_MS,
        max_rows: 10,
    };
    assert_eq!(write.prune_audit(retention).await.unwrap(), 0);
}

async fn a_row_that_is_not_committed_is_not_in_the_chain(database: String) {
    let store = Store::open(&database).await.unwrap();
    append(&store, [entry(1)]).await;
    let mut write = store.write("me").await.unwrap();
    write.append_audit(&entry(2)).await.unwrap();
    drop(write);
    append(&store, [entry(3)]).await;
    let report = verify(&store, &[]).await;
    assert_eq!((report.rows, report.problems), (2, Vec::new()));
}

async fn rows_are_found_by_actor_action_resource_and_time(database: String) {
    let store = Store::open(&database).await.unwrap();
    append(&store, (0..4).map(entry)).await;
    append(&store, [AuditEntry::new("user-1", "alias.move", "ok")]).await;
    let numbers = async |filter: AuditFilter, limit: i64| -> Vec<i64> {
        let found = store.audit(&filter, limit).await.unwrap();
        found.iter().map(|record| record.number).collect()
    };
    let all = AuditFilter::default();
    assert_eq!(numbers(all.clone(), 2).await, [4, 5]);
    let actor = "user-1".to_owned();
    assert_eq!(
        numbers(
            AuditFilter {
                actor,
                ..all.clone()
            },
            9
        )
        .await,
        [2, 5]
    );
    for (action, found) in [("model", 4), ("model.load", 4), ("mod", 0), ("model.%", 0)] {
        let action = action.to_owned();
        let count = numbers(
            AuditFilter {
                action,
                ..all.clone()
            },
            9,
        )
        .await
        .len();
        assert_eq!(count, found);
    }
    let resource = "fraud-3".to_owned();
    assert_eq!(
        numbers(
            AuditFilter {
                resource,
                ..all.clone()
            },
            9
        )
        .await,
        [4]
    );
    let later = AuditFilter {
        since_ms: tidegate_store::now_ms() + YEAR_MS,
        ..all
    };
    assert!(numbers(later, 9).await.is_empty());
}

async fn rows_removed_from_the_front_by_hand_are_found(database: String) {
    let store = Store::open(&database).await.unwrap();
    append(&store, (0..5).map(entry)).await;
    let removed = store.audit_from(3, 1).await.unwrap().remove(0);
    let pool = AnyPool::connect(&url(&database)).await.unwrap();
    pool.execute("DELETE FROM audit WHERE number <= 3")
        .await
        .unwrap();
    assert_eq!(verify(&store, &[]).await.problems.len(), 1);
    // As retention does, but without a row that says so.
    let hide = format!(
        "UPDATE audit_removed SET number = 3, hash = '{}'",
        removed.hash
    );
    pool.execute(sqlx::AssertSqlSafe(hide)).await.unwrap();
    let problems = verify(&store, &[]).await.problems;
    assert!(problems[0].what.contains("no row says"), "{problems:?}");
}

fn url(database: &str) -> String {
    match database.contains("://") {
        true => database.to_owned(),
        false => format!("sqlite:{}", database.replace(' ', "%20")),
    }
}

const ROWS: i64 = 24;

/// Runs statements without waiting for the disk.
async fn connect(database: &str) -> AnyPool {
    let options = sqlx::any::AnyPoolOptions::new().max_connections(1);
    let pool = options.connect(&url(database)).await.unwrap();
    pool.execute("PRAGMA synchronous = OFF").await.unwrap();
    pool
}

/// A change that somebody makes to the table behind the log's back.
fn tampering(random: &mut fastrand::Rng) -> String {
    const TEXTS: [&str; 11] = [
        "actor",
        "tenant",
        "action",
        "resource_kind",
        "resource",
        "source",
        "result",
        "code",
        "state_before",
        "state_after",
        "previous_hash",
    ];
    let row = random.i64(1..=ROWS);
    let other = 1 + (row - 1 + random.i64(1..ROWS)) % ROWS;
    let text = TEXTS[random.usize(..TEXTS.len())];
    match random.u8(0..10) {
        0 => format!("UPDATE audit SET {text} = {text} || 'x' WHERE number = {row}"),
        1 => format!("UPDATE audit SET hash = LOWER(HEX(RANDOMBLOB(32))) WHERE number = {row}"),
        2 => format!("UPDATE audit SET at_ms = at_ms + 1 WHERE number = {row}"),
        3 => format!("UPDATE audit SET occurrences = occurrences + 1 WHERE number = {row}"),
        4 => format!("DELETE FROM audit WHERE number = {row}"),
        5 => format!("DELETE FROM audit WHERE number >= {row}"),
        6 => format!("DELETE FROM audit WHERE number <= {row}"),
        // Swapped, each with the number of the other.
        7 => format!(
            "UPDATE audit SET number = -1 WHERE number = {row}; \
             UPDATE audit SET number = {row} WHERE number = {other}; \
             UPDATE audit SET number = {other} WHERE number = -1"
        ),
        8 => format!(
            "INSERT INTO audit SELECT {}, at_ms, actor, tenant, action, resource_kind, resource, \
             source, result, code, occurrences, state_before, state_after, previous_hash, hash \
             FROM audit WHERE number = {row}",
            if random.bool() { ROWS + 1 } else { -row }
        ),
        _ => format!("UPDATE audit SET {text} = CAST({text} AS BLOB) WHERE number = {row}"),
    }
}

#[tokio::test]
async fn a_thousand_random_changes_of_rows_are_each_found() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("audit.db").display().to_string();
    let store = Store::open(&database).await.unwrap();
    let head = append(&store, (0..ROWS as usize).map(entry)).await;
    let anchors = [head];
    assert_eq!(verify(&store, &anchors).await.problems, []);
    let pool = connect(&database).await;
    pool.execute("CREATE TABLE copy AS SELECT * FROM audit")
        .await
        .unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..1000 {
        let sql = tampering(&mut random);
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.clone()))
            .execute(&pool)
            .await
            .unwrap();
        let report = verify(&store, &anchors).await;
        assert!(!report.problems.is_empty(), "not found: {sql}");
        let restore = "DELETE FROM audit; INSERT INTO audit SELECT * FROM copy";
        sqlx::raw_sql(restore).execute(&pool).await.unwrap();
    }
    assert_eq!(verify(&store, &anchors).await.problems, []);
}

#[tokio::test]
async fn a_chain_that_was_computed_anew_is_found_by_an_anchor() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("audit.db").display().to_string();
    let store = Store::open(&database).await.unwrap();
    let head = append(&store, (0..5).map(entry)).await;
    let pool = connect(&database).await;
    // All rows again, with another actor: a whole chain of its own.
    pool.execute("DELETE FROM audit").await.unwrap();
    append(&store, (1..6).map(entry)).await;
    assert_eq!(verify(&store, &[]).await.problems, []);
    let problems = verify(&store, &[head]).await.problems;
    assert!(problems[0].what.contains("anchor"), "{problems:?}");
}
