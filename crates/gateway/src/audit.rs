//! The audit log of a server: who did what, from where, with what result.
//!
//! [`Audit::record`] returns once the entry is on disk, so that no administrative action is answered
//! that the log does not have. [`Audit::deny`] never waits: equal denials are counted and written
//! together, every few seconds, and are dropped and counted where there are too many different
//! ones. [`tidegate_store`] has the chain itself.

mod anchors;
mod config;
mod denials;
mod writer;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use thiserror::Error;
use tidegate_store::{AuditEntry, AuditRetention, Store};
use tokio::sync::{Mutex, mpsc, oneshot};

pub use self::anchors::AuditAnchors;
pub use self::config::{AuditConfig, AuditConfigError};
pub use self::denials::Denial;
use self::denials::Denials;
use self::writer::Writer;

/// Entries that wait to be written; one more waits for a place.
const QUEUE: usize = 1024;
/// Longest that an action waits for its entry.
const RECORD_TIMEOUT: Duration = Duration::from_secs(10);
/// How often denials are written.
const DENIALS_INTERVAL: Duration = Duration::from_secs(5);

/// The audit log of a server.
#[derive(Debug)]
pub struct Audit {
    queue: mpsc::Sender<Job>,
    jobs: Mutex<mpsc::Receiver<Job>>,
    writer: Mutex<Writer>,
    denials: Denials,
    required: bool,
    counters: Counters,
    /// Why the last write failed, if it did.
    problem: parking_lot::Mutex<Option<String>>,
}

/// Where a server's log is.
#[derive(Clone, Debug)]
pub struct AuditPlace {
    /// The database.
    pub database: String,
    /// The file of anchors; without one, a cut off end of the log is not found.
    pub anchors: Option<PathBuf>,
}

/// Why an entry is not in the log.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the audit log cannot be written: {0}")]
pub struct AuditError(String);

/// An entry, and who waits for it to be written.
#[derive(Debug)]
struct Job {
    entry: AuditEntry,
    written: oneshot::Sender<Result<(), AuditError>>,
}

#[derive(Debug, Default)]
struct Counters {
    written: AtomicU64,
    failed: AtomicU64,
}

impl Audit {
    /// The log at a place. Nothing is opened before the first entry.
    pub fn new(place: AuditPlace, config: &AuditConfig) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let retention = AuditRetention {
            max_age_ms: config.max_age_ms(),
            max_rows: config.max_rows(),
        };
        Self {
            queue,
            jobs: Mutex::new(jobs),
            writer: Mutex::new(Writer::new(place, retention)),
            denials: Denials::default(),
            required: config.required,
            counters: Counters::default(),
            problem: parking_lot::Mutex::default(),
        }
    }

    /// Writes an entry, and returns once it is on disk.
    ///
    /// # Errors
    /// [`AuditError`] if the database does not take it in time; it may still do so later.
    pub async fn record(&self, entry: AuditEntry) -> Result<(), AuditError> {
        let (written, answer) = oneshot::channel();
        let recording = async {
            let job = Job { entry, written };
            // Both ends are in this value, so neither is gone.
            let _ = self.queue.send(job).await;
            answer.await.unwrap_or_else(|_| Err(stopped()))
        };
        let outcome = tokio::time::timeout(RECORD_TIMEOUT, recording).await;
        let outcome = outcome.unwrap_or_else(|_| {
            let problem = format!("the database did not answer within {RECORD_TIMEOUT:?}");
            Err(AuditError(problem))
        });
        if outcome.is_err() {
            self.counters.failed.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    /// Counts a denied request; it is written within seconds. Never waits.
    pub fn deny(&self, denial: Denial<'_>) {
        self.denials.count(denial);
    }

    /// Whether an action is refused while the log cannot be written.
    pub fn is_required(&self) -> bool {
        self.required
    }

    /// The database of the log, for whoever reads it.
    ///
    /// # Errors
    /// [`AuditError`] if it cannot be opened in time.
    pub async fn store(&self) -> Result<Store, AuditError> {
        let opening = async { self.writer.lock().await.store().await };
        match tokio::time::timeout(RECORD_TIMEOUT, opening).await {
            Ok(opened) => opened.map_err(|error| AuditError(error.to_string())),
            Err(_) => {
                let problem = format!("the database did not answer within {RECORD_TIMEOUT:?}");
                Err(AuditError(problem))
            }
        }
    }

    /// Why the last write failed, if it did.
    pub fn problem(&self) -> Option<String> {
        self.problem.lock().clone()
    }

    /// Entries that were written, could not be written, and denials that were dropped, so far.
    pub fn counts(&self) -> AuditCounts {
        AuditCounts {
            written: self.counters.written.load(Ordering::Relaxed),
            failed: self.counters.failed.load(Ordering::Relaxed),
            dropped: self.denials.dropped(),
        }
    }

    /// Writes what is recorded, for as long as the server lives.
    pub async fn run(&self) {
        let mut jobs = self.jobs.lock().await;
        self.writer.lock().await.maintain_existing().await;
        let mut tick = tokio::time::interval(DENIALS_INTERVAL);
        // After a slow write there is nothing to make up for: one tick takes all denials that were
        // counted.
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                count = jobs.recv_many(&mut batch, QUEUE) => {
                    if count == 0 {
                        return;
                    }
                    self.write(std::mem::take(&mut batch)).await;
                }
                _ = tick.tick() => {
                    self.write_denials().await;
                    self.writer.lock().await.maintain().await;
                }
            }
        }
    }

    /// Writes what is left, and the last anchor, at the end of the server.
    pub async fn finish(&self) {
        let mut left = Vec::new();
        // `run` has ended and released it.
        if let Ok(mut jobs) = self.jobs.try_lock() {
            while let Ok(job) = jobs.try_recv() {
                left.push(job);
            }
        }
        let finishing = async {
            self.write(left).await;
            self.write_all_denials().await;
            self.writer.lock().await.close().await;
        };
        // A database that does not answer must not hold up the end of the server.
        let _ = tokio::time::timeout(Duration::from_secs(3), finishing).await;
    }

    async fn write(&self, jobs: Vec<Job>) {
        if jobs.is_empty() {
            return;
        }
        let (entries, waiting): (Vec<_>, Vec<_>) =
            jobs.into_iter().map(|job| (job.entry, job.written)).unzip();
        let outcome = self.append(&entries).await;
        for written in waiting {
            // Whoever gave up waiting needs no answer.
            let _ = written.send(outcome.clone());
        }
    }

    async fn write_denials(&self) {
        self.write_denied(self.denials.take()).await;
    }

    async fn write_all_denials(&self) {
        self.write_denied(self.denials.take_all()).await;
    }

    async fn write_denied(&self, entries: Vec<AuditEntry>) {
        if !entries.is_empty() && self.append(&entries).await.is_err() {
            self.denials.drop_written(&entries);
        }
    }

    async fn append(&self, entries: &[AuditEntry]) -> Result<(), AuditError> {
        let outcome = self.writer.lock().await.append(entries).await;
        *self.problem.lock() = outcome.as_ref().err().map(|error| error.0.clone());
        outcome?;
        let count = entries.len() as u64;
        self.counters.written.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }
}

/// See [`Audit::counts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditCounts {
    /// Entries that were written.
    pub written: u64,
    /// Entries that an action waited for in vain.
    pub failed: u64,
    /// Denials that are not in the log.
    pub dropped: u64,
}

fn stopped() -> AuditError {
    AuditError("the server is stopping".to_owned())
}

#[cfg(test)]
mod tests;
