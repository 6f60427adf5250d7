//! Event loops, one a core, each with connections of its own.
//!
//! A request that is decoded, run and answered on one thread costs no wake-up of another, and
//! requests that are ready in the same turn of one loop can run as one batch. The runtime that
//! calls [`Workers::start`] accepts and controls.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// Longest that the end of a thread is waited for.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// Most threads of a loop for work that must not run on it. Each keeps memory of its own; further
/// work waits for a free one.
const MAX_BLOCKING_THREADS: usize = 16;

/// The event loops. Dropping them ends their threads and what still runs on them.
pub(crate) struct Workers(Vec<Worker>);

struct Worker {
    runtime: Handle,
    /// Connections that are its own now.
    connections: Arc<AtomicUsize>,
    /// Dropped to end the thread.
    alive: Mutex<Option<oneshot::Sender<()>>>,
    /// Closed when the thread has ended.
    ended: Mutex<mpsc::Receiver<()>>,
}

impl Workers {
    /// Starts the threads.
    pub(crate) fn start(count: usize) -> std::io::Result<Self> {
        (0..count.max(1))
            .map(Worker::start)
            .collect::<std::io::Result<_>>()
            .map(Self)
    }

    /// Runs a connection on the loop that has the fewest; `connection` is called and polled there.
    pub(crate) fn spawn<F: Future<Output = ()> + Send + 'static>(
        &self,
        connection: impl FnOnce() -> F + Send + 'static,
    ) {
        // Relaxed: the counts only spread the load, and a stale one does no harm.
        let fewest = self
            .0
            .iter()
            .min_by_key(|worker| worker.connections.load(Ordering::Relaxed));
        let worker = fewest.expect("there is at least one worker");
        let place = Place::take(&worker.connections);
        worker.runtime.spawn(async move {
            connection().await;
            drop(place);
        });
    }

    /// Runs something short on every loop.
    pub(crate) fn on_each(&self, work: fn()) {
        for worker in &self.0 {
            worker.runtime.spawn(async move { work() });
        }
    }

    /// Ends the threads, and with them what still runs on their loops; waits a moment for that.
    /// From then on no request is answered.
    pub(crate) fn end(&self) {
        self.0
            .iter()
            .for_each(|worker| drop(worker.alive.lock().take()));
        for worker in &self.0 {
            // It ends by being closed.
            let _ = worker.ended.lock().recv_timeout(SHUTDOWN_TIMEOUT);
        }
    }

    /// Waits until every loop has read from the sockets of the connections that it was given before.
    pub(crate) async fn drain(&self) {
        for worker in &self.0 {
            // The first turn polls the new connections, the second sees what has arrived on them,
            // the third reads it.
            let turns = worker.runtime.spawn(async {
                for _ in 0..3 {
                    tokio::task::yield_now().await;
                }
            });
            let _ = turns.await;
        }
    }
}

impl Worker {
    fn start(number: usize) -> std::io::Result<Self> {
        let (alive, stop) = oneshot::channel();
        let (ending, ended) = mpsc::channel();
        let runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(MAX_BLOCKING_THREADS)
            .build()?;
        let handle = runtime.handle().clone();
        std::thread::Builder::new()
            .name(format!("worker {number}"))
            .spawn(move || {
                // The sender is dropped to end the loop, so this is always an error.
                let _ = runtime.block_on(stop);
                // Blocking work that hangs must not hold up the end of the process.
                runtime.shutdown_background();
                drop(ending);
            })?;
        let (alive, ended) = (Mutex::new(Some(alive)), Mutex::new(ended));
        Ok(Self {
            runtime: handle,
            connections: Arc::default(),
            alive,
            ended,
        })
    }
}

/// A connection's place in the count of its worker.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
