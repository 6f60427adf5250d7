//! Ends sequences that are over: those without requests, and those of versions that were replaced.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::live::EndReason;
use super::table::{Entries, Entry, SequenceKey, SequenceTable};
use crate::Models;

/// Between two looks at all sequences.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Starts the sweeper if there is none. It ends by itself once there are no sequences, and with the
/// runtime that it was started on.
pub(super) fn keep_running(table: &Arc<SequenceTable>, entries: &mut Entries) {
    let is_running = entries
        .sweeper
        .as_ref()
        .is_some_and(|task| !task.is_finished());
    if !is_running && let Ok(runtime) = Handle::try_current() {
        entries.sweeper = Some(spawn(&runtime, Arc::downgrade(table)));
    }
}

fn spawn(runtime: &Handle, table: Weak<SequenceTable>) -> JoinHandle<()> {
    runtime.spawn(async move {
        while let Some(pause) = table.upgrade().and_then(|table| table.sweep()) {
            tokio::time::sleep(pause).await;
        }
    })
}

impl SequenceTable {
    /// Ends what is over. Returns when to look again; `None` once there are no sequences.
    fn sweep(&self) -> Option<Duration> {
        let now = Instant::now();
        let mut next = now + LONGEST_PAUSE;
        let mut over = Vec::new();
        let mut entries = self.entries().lock();
        entries.by_key.retain(|key, entry| {
            let Some(reason) = reason_to_end(&self.models, key, entry, now) else {
                next = next.min(entry.idle_at().unwrap_or(next));
                return true;
            };
            over.push((entry.sequence.clone(), reason));
            false
        });
        let is_empty = entries.by_key.is_empty();
        if is_empty {
            entries.sweeper = None;
        }
        drop(entries);
        if !over.is_empty() {
            // Their version may go with them, which takes an engine some time.
            tokio::task::spawn_blocking(move || {
                for (sequence, reason) in over {
                    sequence.end(reason);
                }
            });
        }
        let pause = next.saturating_duration_since(now);
        (!is_empty).then(|| pause.max(SHORTEST_PAUSE))
    }
}

impl Entry {
    /// When it is idle for too long; `None` while requests use it.
    fn idle_at(&self) -> Option<Instant> {
        if self.users > 0 {
            return None;
        }
        let live = self.sequence.live.lock();
        let timeout = live.as_ref()?.limits().idle_timeout;
        Some(self.sequence.last_used.get() + timeout)
    }
}

fn reason_to_end(
    models: &Models,
    key: &SequenceKey,
    entry: &Entry,
    now: Instant,
) -> Option<EndReason> {
    if is_replaced(models, key, entry, now) {
        // A request that has its turn is answered; the next one finds no sequence.
        entry.sequence.is_over.store(true, Ordering::Relaxed);
        return (entry.users == 0).then_some(EndReason::Replaced);
    }
    let is_idle = entry.idle_at().is_some_and(|at| at <= now);
    is_idle.then_some(EndReason::Idle)
}

/// Whether new sequences have begun on another version, or on none, for too long.
fn is_replaced(models: &Models, key: &SequenceKey, entry: &Entry, now: Instant) -> bool {
    let mut live = entry.sequence.live.lock();
    let Some(live) = live.as_mut() else {
        return false;
    };
    let target = &key.target;
    let current = models.version(&target.endpoint, target.version.as_deref());
    if current.is_ok_and(|current| Arc::ptr_eq(&current, live.version())) {
        // It may have come back.
        live.replaced_at = None;
        return false;
    }
    let since = *live.replaced_at.get_or_insert(now);
    since + live.limits().replaced_timeout <= now
}
