//! The request path as a component: its finished requests are counted, its problems reported.

use std::sync::Arc;
use std::time::Duration;

use tidegate_serving::Serving;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::component::Component;

/// How often finished requests are counted if nobody reads the figures: often enough that the
/// queues of observations do not become full.
const DRAIN_EVERY: Duration = Duration::from_millis(50);

/// Watches the request path.
pub(crate) struct ServingMonitor(Arc<Serving>);

impl ServingMonitor {
    pub(crate) fn new(serving: Arc<Serving>) -> Self {
        Self(serving)
    }

    async fn run(self: Arc<Self>) {
        let mut tick = tokio::time::interval(DRAIN_EVERY);
        // After a pause of the process, one drain is enough: missed ticks need no catching up.
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.0.metrics().observations().drain();
        }
    }
}

impl Component for ServingMonitor {
    fn name(&self) -> &'static str {
        "serving"
    }

    fn start(self: Arc<Self>, background: &mut JoinSet<()>) {
        background.spawn(self.run());
    }

    fn problems(&self) -> Vec<String> {
        self.0.problems()
    }
}
