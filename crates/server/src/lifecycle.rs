//! The state of the server: starting, ready, stopping.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tidegate_serving::Serving;
use tokio::sync::watch;

/// Whether the server has started, is ready for traffic, or is stopping.
pub(crate) struct Lifecycle {
    serving: Arc<Serving>,
    has_started: AtomicBool,
    is_stopping: watch::Sender<bool>,
    /// Longest that a server that is stopping waits for a client that sends or reads nothing.
    client_timeout: Duration,
}

impl Lifecycle {
    /// A server that has not started.
    pub(crate) fn new(serving: Arc<Serving>, client_timeout: Duration) -> Self {
        Self {
            serving,
            has_started: AtomicBool::new(false),
            is_stopping: watch::channel(false).0,
            client_timeout,
        }
    }

    /// Whether traffic should be sent here: every model that was found is ready, the keys of callers
    /// are known where they are required, and the server is not stopping.
    pub(crate) fn is_ready(&self) -> bool {
        self.has_started()
            && !self.is_stopping()
            && self.serving.gateway().knows_required_keys()
            && self.serving.is_ready()
    }

    /// Whether each model of the start was loaded, or has failed to load.
    pub(crate) fn has_started(&self) -> bool {
        self.has_started.load(Ordering::Relaxed)
    }

    pub(crate) fn set_started(&self) {
        self.has_started.store(true, Ordering::Relaxed);
    }

    /// Whether the server is stopping: it answers what it has accepted and accepts nothing new.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.is_stopping.borrow()
    }

    /// Begins to stop.
    pub(crate) fn stop(&self) {
        self.is_stopping.send_replace(true);
    }

    /// Waits until the server is stopping.
    pub(crate) fn stopping(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut is_stopping = self.is_stopping.subscribe();
        // An error means that the server is gone, which ends the wait too.
        async move { drop(is_stopping.wait_for(|is_stopping| *is_stopping).await) }
    }

    /// Waits until the server has been stopping for as long as it waits for a client.
    pub(crate) fn stopping_for_long(&self) -> BoxFuture<'static, ()> {
        let (stopping, client_timeout) = (self.stopping(), self.client_timeout);
        Box::pin(async move {
            stopping.await;
            tokio::time::sleep(client_timeout).await;
        })
    }
}
