//! Looks at the folders of models from time to time, where it is configured.

use std::sync::Arc;
use std::time::Duration;

use tidegate_serving::{RepositoryPoll, Serving};
use tokio::task::JoinSet;

use crate::blocking::run_blocking;
use crate::component::Component;
use crate::lifecycle::Lifecycle;

/// The shortest time between two looks.
const SHORTEST: Duration = Duration::from_millis(100);

/// Loads and unloads models as their files come, change and go.
pub(crate) struct RepositoryPoller {
    serving: Arc<Serving>,
    lifecycle: Arc<Lifecycle>,
    /// `None` where models are loaded only at the start and on request.
    interval: Option<Duration>,
}

impl RepositoryPoller {
    /// Looks every `interval_ms` milliseconds; 0 is never.
    pub(crate) fn new(serving: Arc<Serving>, lifecycle: Arc<Lifecycle>, interval_ms: u64) -> Self {
        let interval = (interval_ms > 0).then(|| Duration::from_millis(interval_ms).max(SHORTEST));
        Self {
            serving,
            lifecycle,
            interval,
        }
    }

    async fn run(self: Arc<Self>, interval: Duration) {
        let mut poll = None;
        loop {
            tokio::time::sleep(interval).await;
            if !self.lifecycle.has_started() {
                continue;
            }
            let serving = self.serving.clone();
            let looked = run_blocking(move || {
                let models = serving.models();
                let mut poll = poll.unwrap_or_else(|| RepositoryPoll::new(models));
                poll.look(models);
                poll
            });
            // A panic ends the looks, not the server.
            match looked.await {
                Ok(looked) => poll = Some(looked),
                Err(_) => return,
            }
        }
    }
}

impl Component for RepositoryPoller {
    fn name(&self) -> &'static str {
        "repository_poll"
    }

    fn start(self: Arc<Self>, background: &mut JoinSet<()>) {
        if let Some(interval) = self.interval {
            background.spawn(self.run(interval));
        }
    }
}
