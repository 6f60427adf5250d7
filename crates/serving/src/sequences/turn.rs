//! One request at a time has the turn of a sequence.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tidegate_core::Tensor;

use super::live::{EndReason, LiveSequence};
use super::table::{Sequence, SequenceKey, SequenceTable};
use super::version_sequences::VersionSequences;
use crate::{ErrorCode, InferError, Version};

/// The place of a request among those of its sequence. If it is dropped without
/// [`commit`](Self::commit), the state stays as it was, and requests that wait behind it fail: an
/// answer must not leave out a request.
pub(crate) struct Turn {
    table: Arc<SequenceTable>,
    key: Arc<SequenceKey>,
    sequence: Arc<Sequence>,
    /// Its number among the requests of the sequence.
    ticket: u64,
    stage: Stage,
    /// The sequence that begins with this request.
    begun: Option<LiveSequence>,
    /// The states after this request.
    next: Vec<Tensor>,
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It waits for its turn.
    Waiting,
    /// It has the turn, and has not looked at the state.
    Turn,
    /// It works with the state.
    Working,
    Committed,
}

impl Turn {
    pub(super) fn new(
        table: Arc<SequenceTable>,
        key: Arc<SequenceKey>,
        sequence: &Arc<Sequence>,
    ) -> Self {
        Self {
            table,
            key,
            ticket: sequence.next_ticket.fetch_add(1, Ordering::Relaxed),
            sequence: sequence.clone(),
            stage: Stage::Waiting,
            begun: None,
            next: Vec::new(),
        }
    }

    /// Waits for the turn.
    ///
    /// # Errors
    /// [`ErrorCode::DeadlineExceeded`].
    pub(crate) async fn wait(&mut self, deadline: Option<Instant>) -> Result<(), InferError> {
        let acquire = self.sequence.turns.acquire();
        let acquired = match deadline {
            None => acquire.await,
            Some(deadline) => tokio::time::timeout_at(deadline.into(), acquire)
                .await
                .map_err(|_| late())?,
        };
        // The drop of this gives it back.
        acquired.expect("nobody closes it").forget();
        self.stage = Stage::Turn;
        Ok(())
    }

    /// The version of the live sequence; `None` if there is none.
    ///
    /// # Errors
    /// [`ErrorCode::SequenceInterrupted`].
    pub(crate) fn resume(&mut self) -> Result<Option<Arc<Version>>, InferError> {
        if self.ticket < self.sequence.interrupted_before.load(Ordering::Relaxed) {
            if let Some(live) = self.sequence.live.lock().as_ref() {
                live.limits().count_refused(ErrorCode::SequenceInterrupted);
            }
            return Err(self.key.interrupted());
        }
        if self.sequence.is_over.load(Ordering::Relaxed) {
            self.sequence.end(EndReason::Replaced);
        }
        let live = self.sequence.live.lock();
        let version = live.as_ref().map(|live| live.version().clone());
        if version.is_some() {
            self.stage = Stage::Working;
        }
        Ok(version)
    }

    /// Ends the live sequence of this id, if there is one, for a new one.
    pub(crate) fn restart(&mut self) {
        self.sequence.end(EndReason::Restart);
        self.stage = Stage::Working;
    }

    /// Begins on a version that keeps states.
    ///
    /// # Errors
    /// [`ErrorCode::SequencesFull`].
    pub(crate) fn begin(
        &mut self,
        version: &Arc<Version>,
        sequences: &VersionSequences,
    ) -> Result<(), InferError> {
        let initial = sequences.wiring.initial();
        let live = LiveSequence::begin(version.clone(), &sequences.limits, initial)?;
        self.begun = Some(live);
        Ok(())
    }

    /// The states that the request runs with.
    pub(crate) fn states(&self) -> Vec<Tensor> {
        match &self.begun {
            Some(begun) => begun.states().to_vec(),
            None => {
                let live = self.sequence.live.lock();
                live.as_ref()
                    .map_or_else(Vec::new, |live| live.states().to_vec())
            }
        }
    }

    /// Reserves the memory of the next states. They get memory of their own if they are parts of a
    /// batch, all of which they would keep.
    ///
    /// # Errors
    /// [`ErrorCode::SequencesFull`].
    pub(crate) fn prepare(&mut self, next: Vec<Tensor>, is_shared: bool) -> Result<(), InferError> {
        match &mut self.begun {
            Some(begun) => begun.reserve(&next)?,
            None => {
                if let Some(live) = self.sequence.live.lock().as_mut() {
                    live.reserve(&next)?;
                }
            }
        }
        self.next = next;
        if is_shared {
            for state in &mut self.next {
                *state = state.detached();
            }
        }
        Ok(())
    }

    /// The answer is ready: the sequence goes on with the next states, or ends.
    pub(crate) fn commit(mut self, is_end: bool) {
        let next = std::mem::take(&mut self.next);
        let mut live = self.sequence.live.lock();
        if let Some(mut begun) = self.begun.take() {
            begun.start();
            *live = Some(begun);
            // Those that wait behind it belong to the new sequence.
            let interrupted = &self.sequence.interrupted_before;
            interrupted.store(self.ticket, Ordering::Relaxed);
        }
        if let Some(live) = live.as_mut() {
            live.advance(next);
        }
        drop(live);
        if is_end {
            self.sequence.end(EndReason::End);
        }
        self.stage = Stage::Committed;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.stage == Stage::Working {
            if let Some(live) = self.sequence.live.lock().as_mut() {
                live.release();
            }
            let waiting = self.sequence.next_ticket.load(Ordering::Relaxed);
            let interrupted = &self.sequence.interrupted_before;
            interrupted.store(waiting, Ordering::Relaxed);
        }
        if self.stage != Stage::Waiting {
            self.sequence.last_used.set(Instant::now());
            self.sequence.turns.add_permits(1);
        }
        self.table.leave(&self.key);
    }
}

fn late() -> InferError {
    let message = "the deadline passed while earlier requests of the sequence ran";
    InferError::new(ErrorCode::DeadlineExceeded, message)
}
