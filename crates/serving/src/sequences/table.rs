//! All sequences that a server remembers.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tidegate_gateway::{Caller, Principal};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::live::{EndReason, LiveSequence};
use super::turn::Turn;
use super::{SequenceId, sweep};
use crate::version::LastUsed;
use crate::{ErrorCode, InferError, Models, Target};

/// Most requests of one sequence that wait for their turn.
const MAX_WAITING: usize = 1024;

/// Whose sequence it is. Another caller, endpoint or version has another sequence of the same id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SequenceKey {
    pub(super) target: Target,
    tenant: Box<str>,
    principal: Principal,
    id: SequenceId,
}

/// The sequences of a server.
pub(crate) struct SequenceTable {
    entries: Mutex<Entries>,
    /// Which versions begin new sequences.
    pub(super) models: Arc<Models>,
}

/// Invariant: an entry that nobody uses is live.
#[derive(Default)]
pub(super) struct Entries {
    pub(super) by_key: HashMap<Arc<SequenceKey>, Entry>,
    /// Ends sequences that are over; runs while there are entries.
    pub(super) sweeper: Option<JoinHandle<()>>,
}

pub(super) struct Entry {
    pub(super) sequence: Arc<Sequence>,
    /// Requests that have its turn, or wait for it.
    pub(super) users: usize,
}

/// The requests of one id.
pub(super) struct Sequence {
    /// One permit: requests take turns in order of arrival.
    pub(super) turns: Semaphore,
    /// `None` before its first request was answered, and once it is over.
    pub(super) live: Mutex<Option<LiveSequence>>,
    pub(super) last_used: LastUsed,
    pub(super) next_ticket: AtomicU64,
    /// Requests with smaller tickets waited while one before them failed.
    pub(super) interrupted_before: AtomicU64,
    /// Whether its version was replaced for too long while requests used it.
    pub(super) is_over: AtomicBool,
}

impl SequenceKey {
    pub(crate) fn new(target: &Target, caller: &Caller, id: SequenceId) -> Self {
        Self {
            target: target.clone(),
            tenant: caller.tenant().into(),
            principal: caller.principal().clone(),
            id,
        }
    }

    /// The error of a request of a sequence that is not there.
    pub(crate) fn unknown(&self) -> InferError {
        let message = format!(
            "there is no sequence {} of \"{}\": it was never started, has ended or expired, or the \
             server was restarted; send its first request with sequence_start",
            self.id, self.target.endpoint
        );
        InferError::new(ErrorCode::UnknownSequence, message)
    }

    /// The error of a request that waited behind one that has failed.
    pub(crate) fn interrupted(&self) -> InferError {
        let message = format!(
            "an earlier request of sequence {} failed while this one waited: the state is as before \
             that one; send it again, then this one",
            self.id
        );
        InferError::new(ErrorCode::SequenceInterrupted, message)
    }
}

impl SequenceTable {
    pub(crate) fn new(models: Arc<Models>) -> Self {
        Self {
            entries: Mutex::default(),
            models,
        }
    }

    /// A request joins those of a sequence that is known; `None` if it is not.
    ///
    /// # Errors
    /// [`ErrorCode::QueueFull`] if too many wait.
    pub(crate) fn join(
        self: &Arc<Self>,
        key: &Arc<SequenceKey>,
    ) -> Result<Option<Turn>, InferError> {
        let mut entries = self.entries.lock();
        let Some(entry) = entries.by_key.get_mut(key) else {
            return Ok(None);
        };
        if entry.users == 0 && entry.sequence.is_idle(Instant::now()) {
            let over = entries.by_key.remove(key);
            drop(entries);
            if let Some(entry) = over {
                entry.sequence.end(EndReason::Idle);
            }
            return Ok(None);
        }
        if entry.users >= MAX_WAITING {
            let message = format!("{MAX_WAITING} requests of the sequence wait for their turn");
            return Err(InferError::new(ErrorCode::QueueFull, message));
        }
        entry.users += 1;
        Ok(Some(Turn::new(self.clone(), key.clone(), &entry.sequence)))
    }

    /// As [`join`](Self::join); a sequence that is not known can begin with the request.
    pub(crate) fn join_or_begin(
        self: &Arc<Self>,
        key: &Arc<SequenceKey>,
    ) -> Result<Turn, InferError> {
        if let Some(turn) = self.join(key)? {
            return Ok(turn);
        }
        let mut entries = self.entries.lock();
        // Another request of the same id may have come first.
        let entry = entries.by_key.entry(key.clone()).or_insert_with(|| Entry {
            sequence: Arc::new(Sequence::new()),
            users: 0,
        });
        entry.users += 1;
        let turn = Turn::new(self.clone(), key.clone(), &entry.sequence);
        sweep::keep_running(self, &mut entries);
        Ok(turn)
    }

    /// A request of a sequence has ended.
    pub(super) fn leave(&self, key: &SequenceKey) {
        let mut entries = self.entries.lock();
        let Some(entry) = entries.by_key.get_mut(key) else {
            return;
        };
        entry.users -= 1;
        if entry.users == 0 && entry.sequence.live.lock().is_none() {
            entries.by_key.remove(key);
        }
    }

    pub(super) fn entries(&self) -> &Mutex<Entries> {
        &self.entries
    }
}

impl Sequence {
    fn new() -> Self {
        Self {
            turns: Semaphore::new(1),
            live: Mutex::new(None),
            last_used: LastUsed::now(),
            next_ticket: AtomicU64::new(0),
            interrupted_before: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        }
    }

    /// Whether it had no request for too long.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        let live = self.live.lock();
        let timeout = live.as_ref().map(|live| live.limits().idle_timeout);
        timeout.is_some_and(|timeout| self.last_used.get() + timeout <= now)
    }

    /// Forgets the state.
    pub(super) fn end(&self, reason: EndReason) {
        // Not under its lock: the version may go with it.
        let live = self.live.lock().take();
        if let Some(live) = live {
            live.end(reason);
        }
        self.is_over.store(false, Ordering::Relaxed);
    }
}
