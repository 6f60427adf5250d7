//! Denials, counted until they are written.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tidegate_store::AuditEntry;

/// Most different denials between two writes. Whoever sends more cannot fill the log.
const MAX_DIFFERENT: usize = 256;

/// A request that was denied.
#[derive(Clone, Copy, Debug)]
pub struct Denial<'a> {
    /// The name of the principal.
    pub actor: &'a str,
    /// The actor's tenant; empty if there is none.
    pub tenant: &'a str,
    /// The address that the request came from.
    pub source: Option<IpAddr>,
    /// What was asked for: the name of an action, or of a permission.
    pub action: &'a str,
    /// The code of the error that it was answered with.
    pub code: &'a str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    actor: String,
    tenant: String,
    source: Option<IpAddr>,
    action: String,
    code: String,
}

#[derive(Debug, Default)]
pub(super) struct Denials {
    counts: Mutex<HashMap<Key, i64>>,
    dropped: AtomicU64,
}

impl Denials {
    pub(super) fn count(&self, denial: Denial<'_>) {
        let key = Key {
            actor: denial.actor.to_owned(),
            tenant: denial.tenant.to_owned(),
            source: denial.source,
            action: denial.action.to_owned(),
            code: denial.code.to_owned(),
        };
        let mut counts = self.counts.lock();
        if counts.len() >= MAX_DIFFERENT && !counts.contains_key(&key) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        *counts.entry(key).or_default() += 1;
    }

    /// One entry for each kind of denial since the last call.
    pub(super) fn take(&self) -> Vec<AuditEntry> {
        let counts = std::mem::take(&mut *self.counts.lock());
        counts
            .into_iter()
            .map(|(key, occurrences)| entry(key, occurrences))
            .collect()
    }

    /// Counts entries that could not be written.
    pub(super) fn drop_written(&self, entries: &[AuditEntry]) {
        let count: i64 = entries.iter().map(|entry| entry.occurrences).sum();
        let count = u64::try_from(count).unwrap_or(0);
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

fn entry(key: Key, occurrences: i64) -> AuditEntry {
    let mut entry =
        AuditEntry::new(&key.actor, "request.denied", "denied").about("action", &key.action);
    entry.tenant = key.tenant;
    entry.source = key
        .source
        .map_or_else(String::new, |source| source.to_string());
    entry.code = key.code;
    entry.occurrences = occurrences;
    entry
}
