//! The one that writes to the database.

use std::time::{Duration, Instant};

use tidegate_store::{AuditAnchor, AuditEntry, AuditRetention, OpenOptions, Store, StoreError};
use tracing::{info, warn};

use super::{AuditAnchors, AuditError, AuditPlace};

/// How often old rows are removed.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);

#[derive(Debug)]
pub(super) struct Writer {
    database: String,
    anchors: Option<AuditAnchors>,
    retention: AuditRetention,
    store: Option<Store>,
    /// The anchor that was written last.
    anchored: Option<AuditAnchor>,
    pruned: Option<Instant>,
    problem: Option<String>,
}

impl Writer {
    pub(super) fn new(place: AuditPlace, retention: AuditRetention) -> Self {
        Self {
            database: place.database,
            anchors: place.anchors.map(AuditAnchors::at),
            retention,
            store: None,
            anchored: None,
            pruned: None,
            problem: None,
        }
    }

    /// Adds entries, all or none.
    pub(super) async fn append(&mut self, entries: &[AuditEntry]) -> Result<(), AuditError> {
        let outcome = self.try_append(entries).await;
        self.note(outcome).map_err(AuditError)
    }

    async fn try_append(&mut self, entries: &[AuditEntry]) -> Result<(), StoreError> {
        let store = self.store().await?;
        let mut write = store.write("tidegate").await?;
        for entry in entries {
            write.append_audit(entry).await?;
        }
        write.commit().await
    }

    /// As [`Writer::maintain`], on a log that an earlier process began; there may be none.
    pub(super) async fn maintain_existing(&mut self) {
        let options = OpenOptions {
            must_exist: true,
            ..OpenOptions::default()
        };
        if let Ok(store) = Store::open_with(&self.database, options).await {
            self.store = Some(store);
            self.maintain().await;
        }
    }

    /// Removes old rows and keeps an anchor of the newest one, once there is a log.
    pub(super) async fn maintain(&mut self) {
        let Some(store) = self.store.clone() else {
            return;
        };
        let outcome = self.try_maintain(&store).await;
        let _ = self.note(outcome);
    }

    async fn try_maintain(&mut self, store: &Store) -> Result<(), StoreError> {
        if self
            .pruned
            .is_none_or(|pruned| pruned.elapsed() >= PRUNE_EVERY)
        {
            // Noted first: a removal that fails is tried again after the interval, not at every
            // tick.
            self.pruned = Some(Instant::now());
            self.prune(store).await?;
        }
        let head = store.audit_head().await?;
        self.keep(head);
        Ok(())
    }

    async fn prune(&self, store: &Store) -> Result<(), StoreError> {
        loop {
            let mut write = store.write("tidegate").await?;
            let removed = write.prune_audit(self.retention).await?;
            if removed == 0 {
                return Ok(());
            }
            write.commit().await?;
            info!(rows = removed, "old rows of the audit log were removed");
        }
    }

    fn keep(&mut self, head: AuditAnchor) {
        let Some(anchors) = &self.anchors else {
            return;
        };
        if head.number == 0 || self.anchored.as_ref() == Some(&head) {
            return;
        }
        match anchors.append(&head) {
            Ok(()) => self.anchored = Some(head),
            Err(error) => {
                let file = anchors.path().display();
                warn!(%file, %error, "cannot write the anchor of the audit log");
            }
        }
    }

    /// Keeps the last anchor, and closes the database.
    pub(super) async fn close(&mut self) {
        self.maintain().await;
        if let Some(store) = self.store.take() {
            store.close().await;
        }
    }

    /// The database, opened if it is not.
    pub(super) async fn store(&mut self) -> Result<Store, StoreError> {
        if let Some(store) = &self.store {
            store.check_file()?;
            return Ok(store.clone());
        }
        let store = Store::open(&self.database).await?;
        self.store = Some(store.clone());
        Ok(store)
    }

    fn note(&mut self, outcome: Result<(), StoreError>) -> Result<(), String> {
        let problem = outcome.err().map(|error| error.to_string());
        match (&self.problem, &problem) {
            (None, Some(problem)) => warn!(problem, "the audit log cannot be written"),
            (Some(_), None) => info!("the audit log is written again"),
            _ => {}
        }
        if problem.is_some() {
            // Its connections may be dead, and the file may have been replaced: begin anew.
            self.store = None;
        }
        self.problem = problem.clone();
        problem.map_or(Ok(()), Err)
    }
}
