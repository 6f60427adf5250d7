//! How far a job is, for those who watch it from another thread.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counts of a job that runs.
#[derive(Debug, Default)]
pub struct Progress {
    rows: AtomicU64,
    done_before: AtomicU64,
    done: AtomicU64,
    bad: AtomicU64,
    is_stopped: AtomicBool,
}

impl Progress {
    /// The rows of the whole job.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Rows that an earlier run has finished.
    pub fn done_before(&self) -> u64 {
        self.done_before.load(Ordering::Relaxed)
    }

    /// Rows that this run has done, in units that may not be finished.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Rows without predictions, those of earlier runs included.
    pub fn bad(&self) -> u64 {
        self.bad.load(Ordering::Relaxed)
    }

    /// Asks the job to stop soon. What it has finished stays.
    pub fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }

    pub(super) fn begin(&self, rows: u64, done_before: u64, bad_before: u64) {
        self.rows.store(rows, Ordering::Relaxed);
        self.done_before.store(done_before, Ordering::Relaxed);
        self.bad.store(bad_before, Ordering::Relaxed);
    }

    /// Adds rows, and gives how many of all rows are bad.
    pub(super) fn add(&self, rows: u64, bad: u64) -> u64 {
        self.done.fetch_add(rows, Ordering::Relaxed);
        self.bad.fetch_add(bad, Ordering::Relaxed) + bad
    }
}
