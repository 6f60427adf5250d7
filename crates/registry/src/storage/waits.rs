//! Who waits for the object store, and since when: a store that hangs says nothing by itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The answers that are waited for now.
#[derive(Clone, Debug, Default)]
pub(super) struct Waits(Arc<Mutex<BTreeMap<u64, Instant>>>);

/// Ends a wait, however it ends.
struct Wait<'a> {
    waits: &'a Waits,
    number: u64,
}

impl Waits {
    /// Waits for an answer.
    pub(super) async fn watch<T>(&self, answer: impl Future<Output = T>) -> T {
        let _wait = self.begin();
        answer.await
    }

    /// How long the oldest answer has been waited for.
    pub(super) fn longest(&self) -> Option<Duration> {
        let waits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waits.values().map(Instant::elapsed).max()
    }

    fn begin(&self) -> Wait<'_> {
        let mut waits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = waits.last_key_value().map_or(0, |(last, _)| last + 1);
        waits.insert(number, Instant::now());
        Wait {
            waits: self,
            number,
        }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        // A panic elsewhere leaves the map whole: no change of it can fail halfway.
        let mut waits = self.waits.0.lock().unwrap_or_else(PoisonError::into_inner);
        waits.remove(&self.number);
    }
}
