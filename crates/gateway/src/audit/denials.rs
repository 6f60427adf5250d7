//! Denials, counted until they are written.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tidegate_store::AuditEntry;

/// Most different denials between two writes; further ones are only counted as dropped.
const MAX_DIFFERENT: usize = 256;
/// Most rows of denials in an hour, which is half of the rows that are kept for 400 days by default.
/// Then denials are counted together until the hour is over: strangers must not push the rows of
/// administrative actions out of the log.
const MAX_ROWS_PER_HOUR: usize = 60;
const HOUR: Duration = Duration::from_secs(3600);

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
    hour: Mutex<Option<Hour>>,
    dropped: AtomicU64,
}

/// The rows that were made since a time.
#[derive(Clone, Copy, Debug)]
struct Hour {
    began: Instant,
    rows: usize,
}

impl Denials {
    pub(super) fn count(&self, denial: Denial<'_>) {
        let key = Key {
            actor: denial.actor.to_owned(),
            tenant: denial.tenant.to_owned(),
            source: denial.source.map(network),
            action: denial.action.to_owned(),
            code: denial.code.to_owned(),
        };
        let mut counts = self.counts.lock();
        // Callers choose what they are denied, so that they could fill the memory. What is known is
        // still counted exactly.
        if counts.len() >= MAX_DIFFERENT && !counts.contains_key(&key) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        *counts.entry(key).or_default() += 1;
    }

    /// One entry for each kind of denial since the last call; none while there were too many in this
    /// hour.
    pub(super) fn take(&self) -> Vec<AuditEntry> {
        let new = self.counts.lock().len();
        if new == 0 || !self.has_room(new, Instant::now()) {
            return Vec::new();
        }
        self.take_all()
    }

    fn has_room(&self, new: usize, now: Instant) -> bool {
        let mut hour = self.hour.lock();
        let mut current = hour
            .filter(|hour| now.duration_since(hour.began) < HOUR)
            .unwrap_or(Hour {
                began: now,
                rows: 0,
            });
        // Those of a new hour are written however many they are: at most as many as are kept apart.
        if current.rows > 0 && current.rows + new > MAX_ROWS_PER_HOUR {
            return false;
        }
        current.rows += new;
        *hour = Some(current);
        true
    }

    /// The same for all that there are, at the end of a server.
    pub(super) fn take_all(&self) -> Vec<AuditEntry> {
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

/// What one client can choose its addresses from: an address of IPv4, a /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let bits = u128::from(address) >> 64 << 64;
            IpAddr::V6(bits.into())
        }
        other => other,
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
