use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use tidegate_store::{AuditFilter, Store};

use super::*;

struct Fixture {
    folder: tempfile::TempDir,
    audit: Arc<Audit>,
    running: tokio::task::JoinHandle<()>,
}

impl Fixture {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = AuditPlace {
            database: folder.path().join("audit.db").display().to_string(),
            anchors: Some(folder.path().join("audit-anchor")),
        };
        let audit = Arc::new(Audit::new(place, &AuditConfig::default()));
        let background = audit.clone();
        let running = tokio::spawn(async move { background.run().await });
        Self {
            folder,
            audit,
            running,
        }
    }

    async fn store(&self) -> Store {
        let database = self.folder.path().join("audit.db");
        Store::open(database.to_str().unwrap()).await.unwrap()
    }

    async fn finish(&self) {
        self.running.abort();
        while !self.running.is_finished() {
            tokio::task::yield_now().await;
        }
        self.audit.finish().await;
    }
}

fn entry(at: usize) -> AuditEntry {
    AuditEntry::new("me", "model.load", "ok").about("model", &at.to_string())
}

fn denial(action: &str) -> Denial<'_> {
    Denial {
        actor: "anonymous",
        tenant: "",
        source: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        action,
        code: "forbidden",
    }
}

#[tokio::test]
async fn a_recorded_entry_is_in_the_database_when_record_returns() {
    let fixture = Fixture::start();
    let recording = (0..50).map(|at| fixture.audit.record(entry(at)));
    let outcomes = futures_util::future::join_all(recording).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let report = fixture.store().await.verify_audit(&[]).await.unwrap();
    assert_eq!((report.rows, report.problems), (50, Vec::new()));
    assert_eq!(fixture.audit.counts().written, 50);
}

#[tokio::test]
async fn an_entry_that_cannot_be_written_is_an_error() {
    let place = AuditPlace {
        database: "/proc/no/audit.db".to_owned(),
        anchors: None,
    };
    let audit = Arc::new(Audit::new(place, &AuditConfig::default()));
    let background = audit.clone();
    tokio::spawn(async move { background.run().await });
    let error = audit.record(entry(1)).await.unwrap_err();
    assert!(error.to_string().contains("/proc/no"), "{error}");
    assert_eq!(audit.counts().failed, 1);
    assert!(audit.problem().is_some());
}

#[tokio::test]
async fn equal_denials_are_one_row_and_too_many_different_ones_are_counted() {
    let fixture = Fixture::start();
    for _ in 0..500 {
        fixture.audit.deny(denial("call"));
    }
    for at in 0..300 {
        fixture.audit.deny(denial(&format!("action-{at}")));
    }
    fixture.finish().await;
    let store = fixture.store().await;
    let filter = AuditFilter {
        resource: "call".to_owned(),
        ..AuditFilter::default()
    };
    let found = store.audit(&filter, 10).await.unwrap();
    assert_eq!(found.len(), 1);
    let denied = &found[0].entry;
    assert_eq!(
        (denied.occurrences, denied.action.as_str()),
        (500, "request.denied")
    );
    assert_eq!(
        (denied.source.as_str(), denied.code.as_str()),
        ("127.0.0.1", "forbidden")
    );
    let counts = fixture.audit.counts();
    assert_eq!((counts.written, counts.dropped), (256, 45));
}

#[tokio::test]
async fn the_end_of_the_server_leaves_an_anchor_that_finds_a_cut_off_log() {
    let fixture = Fixture::start();
    fixture.audit.record(entry(1)).await.unwrap();
    fixture.audit.record(entry(2)).await.unwrap();
    fixture.finish().await;
    let anchors = AuditAnchors::in_folder(fixture.folder.path())
        .read()
        .unwrap();
    assert_eq!(anchors.last().map(|anchor| anchor.number), Some(2));
    let other = AuditPlace {
        database: fixture.folder.path().join("other.db").display().to_string(),
        anchors: None,
    };
    // A log that has lost its last row, and is whole otherwise.
    let shorter = Audit::new(other.clone(), &AuditConfig::default());
    shorter.write_all(vec![entry(1)]).await;
    let store = Store::open(&other.database).await.unwrap();
    assert_eq!(store.verify_audit(&[]).await.unwrap().problems, []);
    assert!(
        !store
            .verify_audit(&anchors)
            .await
            .unwrap()
            .problems
            .is_empty()
    );
}

#[test]
fn an_anchor_file_is_bounded_and_survives_a_cut_off_line() {
    let folder = tempfile::tempdir().unwrap();
    let anchors = AuditAnchors::in_folder(folder.path());
    assert_eq!(anchors.read().unwrap(), []);
    let anchor = |number| tidegate_store::AuditAnchor {
        number,
        hash: "0".repeat(64),
    };
    let lines = (1..=MAX_LINES_OF_TEST)
        .map(|number| serde_json::to_string(&anchor(number)).unwrap() + "\n");
    let text: String = lines.collect();
    std::fs::write(anchors.path(), text + "{\"number\":").unwrap();
    assert_eq!(anchors.read().unwrap().len(), 1000);
    anchors.append(&anchor(1001)).unwrap();
    let left = anchors.read().unwrap();
    assert_eq!((left.len(), left.last()), (501, Some(&anchor(1001))));
}

const MAX_LINES_OF_TEST: i64 = 1000;

impl Audit {
    async fn write_all(&self, entries: Vec<AuditEntry>) {
        self.append(&entries).await.unwrap();
    }
}
