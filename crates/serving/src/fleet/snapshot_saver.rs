//! Saves the snapshot of the registry in the local cache, for a start without the registry.
//!
//! A snapshot of thousands of versions has megabytes, and every change makes a new one: the last one
//! is written, and writing takes a small share of the time at most.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tidegate_registry::{Cache, Snapshot};
use tracing::warn;

/// How long nothing is written after a write, in times of that write.
const REST: u32 = 20;

#[derive(Clone, Debug)]
pub(super) struct SnapshotSaver {
    cache: Cache,
    state: Arc<Mutex<SaverState>>,
}

#[derive(Debug, Default)]
struct SaverState {
    waiting: Option<Arc<Snapshot>>,
    is_running: bool,
}

impl SnapshotSaver {
    pub(super) fn new(cache: Cache) -> Self {
        Self {
            cache,
            state: Arc::default(),
        }
    }

    /// Saves a snapshot soon, unless a newer one comes first.
    pub(super) fn save(&self, snapshot: Arc<Snapshot>) {
        let mut state = self.state.lock();
        state.waiting = Some(snapshot);
        if !std::mem::replace(&mut state.is_running, true) {
            tokio::spawn(self.clone().run());
        }
    }

    /// Saves what waits, now.
    pub(super) async fn finish(&self) {
        let waiting = self.state.lock().waiting.take();
        if let Some(snapshot) = waiting {
            self.write(snapshot).await;
        }
    }

    async fn run(self) {
        while let Some(snapshot) = self.take() {
            let took = self.write(snapshot).await;
            tokio::time::sleep(took * REST).await;
        }
    }

    fn take(&self) -> Option<Arc<Snapshot>> {
        let mut state = self.state.lock();
        let next = state.waiting.take();
        state.is_running = next.is_some();
        next
    }

    async fn write(&self, snapshot: Arc<Snapshot>) -> Duration {
        let (cache, start) = (self.cache.clone(), Instant::now());
        let writing = tokio::task::spawn_blocking(move || cache.keep_snapshot(&snapshot));
        if let Ok(Err(error)) = writing.await {
            warn!(%error, "cannot save the snapshot of the registry in the local cache");
        }
        start.elapsed()
    }
}
